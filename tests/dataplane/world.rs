//! The addresses of the fixtures.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::frame::Mac;

/// Interface of the test runs' frames: what the kernel gives them unasked is loopback.
pub const INGRESS: u32 = 1;
/// Some interface other than [`INGRESS`].
pub const ELSEWHERE: u32 = 4711;

/// The MAC of our interface, and of the VIPs unless they have virtual ones.
pub const OURS: Mac = [0x02, 0, 0x5e, 0, 0, 0x01];
/// The virtual MAC of the IPv4 VIPs.
pub const VIRTUAL4: Mac = [0x00, 0x00, 0x5e, 0x00, 0x01, VRID];
/// The virtual MAC of the IPv6 VIPs.
pub const VIRTUAL6: Mac = [0x00, 0x00, 0x5e, 0x00, 0x02, VRID];
/// The node that took instance 0 over.
pub const SUCCESSOR: Mac = [0x02, 0xad, 0, 0, 0, 0x55];
/// A station that asks.
pub const CLIENT: Mac = [0x02, 0xc1, 0, 0, 0, 0x11];
/// Another station.
pub const STRANGER: Mac = [0x02, 0xbb, 0, 0, 0, 0x22];
/// Where backend 0 is.
pub const BACKEND: Mac = [0x02, 0xba, 0, 0, 0, 0x33];
/// The MAC of the interface that backend 0 is behind.
pub const EGRESS: Mac = [0x02, 0xe9, 0, 0, 0, 0x44];
/// All stations.
pub const BROADCAST: Mac = [0xff; 6];

/// The IPv4 VIP of instance 0: service 0, statistics 0.
pub const VIP4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
/// The IPv6 VIP of instance 0: service 0, statistics 1.
pub const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0xab, 0xcdef);
/// VIPs of instance 1, which is never Active.
pub const STANDBY4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 20);
/// See [`STANDBY4`].
pub const STANDBY6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x20);
/// VIPs whose entry names an instance that does not exist.
pub const NO_INSTANCE4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 30);
/// See [`NO_INSTANCE4`].
pub const NO_INSTANCE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x30);
/// VIPs of instance 0 whose entry names a service that does not exist.
pub const NO_SERVICE4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 40);
/// See [`NO_SERVICE4`].
pub const NO_SERVICE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x40);

/// A client's address.
pub const CLIENT4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
/// A client's address.
pub const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x77);
/// An address that is nobody's VIP.
pub const PLAIN4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 200);
/// An address that is nobody's VIP.
pub const PLAIN6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x200);
/// The solicited-node group of [`VIP6`].
pub const VIP6_GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xffab, 0xcdef);
/// The Ethernet group of [`VIP6_GROUP`].
pub const VIP6_GROUP_MAC: Mac = [0x33, 0x33, 0xff, 0xab, 0xcd, 0xef];
/// All nodes on the link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// The Ethernet group of [`ALL_NODES`].
pub const ALL_NODES_MAC: Mac = [0x33, 0x33, 0, 0, 0, 1];

/// The identifier of instance 0.
pub const VRID: u8 = 10;
/// The identifier of instance 1.
pub const STANDBY_VRID: u8 = 20;
/// An identifier whose entry names an instance that does not exist.
pub const NO_INSTANCE_VRID: u8 = 30;
/// An identifier that no instance has.
pub const OTHER_VRID: u8 = 99;
/// The epoch of the claim of instance 0.
pub const EPOCH: u32 = 0x0102_0304;
/// The incarnation of our agent.
pub const INCARNATION: u64 = 0x1122_3344_5566_7788;
/// Number of the agent's lease.
pub const GENERATION: u64 = 7;

/// UDP port of liveness probes.
pub const PORT: u16 = 8113;
/// Our own address on the links to the peers.
pub const LOCAL4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// See [`LOCAL4`].
pub const LOCAL6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
/// A peer: link 0.
pub const PEER4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// A peer: link 1.
pub const PEER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
/// A peer without keys: link 2.
pub const KEYLESS4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 3);
/// A peer without keys: link 3.
pub const KEYLESS6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 3);
/// A peer whose entry names a link that does not exist.
pub const NO_LINK4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 4);
/// See [`NO_LINK4`].
pub const NO_LINK6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 4);
/// Key of the probes of links 0 and 1.
pub const PROBE_KEY: [u64; 2] = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
/// Key of the echoes of links 0 and 1.
pub const ECHO_KEY: [u64; 2] = [0x1716_1514_1312_1110, 0x1f1e_1d1c_1b1a_1918];
/// Nonce of the last probe that was answered on links 0 and 1.
pub const LAST_PROBE: u64 = 5_000_000_000;
/// Nonce of the last echo on links 0 and 1: soon after boot.
pub const LAST_ECHO: u64 = 1_000_000;
