//! The addresses of the fixtures.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::frame::Mac;

/// Interface of the test runs' frames: what the kernel gives them unasked is loopback.
pub const INGRESS: u32 = 1;
/// Some interface other than [`INGRESS`].
pub const ELSEWHERE: u32 = 4711;

/// The MAC of the VIPs.
pub const OURS: Mac = [0x02, 0, 0x5e, 0, 0, 0x01];
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
