//! Probes and echoes, byte by byte, authenticated by an independent implementation of SipHash.

use std::hash::Hasher as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use siphasher::sip::SipHasher24;

use crate::frame::{Ipv4, Ipv6, Mac, Tags, ethernet, udp, udpv6};
use crate::world::{LOCAL4, LOCAL6, OURS, PEER4, PEER6, PORT};

/// Where the peers are.
pub const PEER_MAC: Mac = [0x02, 0xee, 0, 0, 0, 0x66];
/// Time between two nonces, at least, in nanoseconds.
pub const STEP: u64 = 20_000;

/// The payload.
#[derive(Debug, Clone, Copy)]
pub struct Message {
    pub magic: [u8; 2],
    pub version: u8,
    pub kind: u8,
    pub nonce: u64,
    pub incarnation: u64,
    pub lease_left_ns: u64,
    pub instances: [[u8; 8]; 8],
}

impl Message {
    pub fn probe(nonce: u64, vrids: [u8; 8]) -> Self {
        Self {
            magic: *b"VP",
            version: 1,
            kind: 1,
            nonce,
            incarnation: 0x7766_5544_3322_1100,
            lease_left_ns: 0,
            instances: vrids.map(|vrid| [vrid, 0, 0, 0, 0, 0, 0, 0]),
        }
    }

    pub const fn echo(
        nonce: u64,
        incarnation: u64,
        lease_left_ns: u64,
        instances: [[u8; 8]; 8],
    ) -> Self {
        Self {
            magic: *b"VP",
            version: 1,
            kind: 2,
            nonce,
            incarnation,
            lease_left_ns,
            instances,
        }
    }

    pub fn bytes(&self, key: [u64; 2]) -> Vec<u8> {
        let mut bytes = [
            &self.magic[..],
            &[self.version, self.kind, 0, 0, 0, 0],
            &self.nonce.to_be_bytes(),
            &self.incarnation.to_be_bytes(),
            &self.lease_left_ns.to_be_bytes(),
            self.instances.as_flattened(),
        ]
        .concat();
        let mut hasher = SipHasher24::new_with_keys(key[0], key[1]);
        hasher.write(&bytes);
        bytes.extend(hasher.finish().to_le_bytes());
        bytes
    }
}

/// What a payload is sent in.
#[derive(Debug, Clone, Copy)]
pub struct Datagram {
    pub v6: bool,
    pub tags: Tags,
    pub to: Mac,
    pub source4: Ipv4Addr,
    pub source6: Ipv6Addr,
    pub destination4: Ipv4Addr,
    pub destination6: Ipv6Addr,
    pub source_port: u16,
    pub port: u16,
}

impl Datagram {
    /// From a peer to us.
    pub const fn probe(v6: bool, tags: Tags) -> Self {
        Self {
            v6,
            tags,
            to: OURS,
            source4: PEER4,
            source6: PEER6,
            destination4: LOCAL4,
            destination6: LOCAL6,
            source_port: 40_000,
            port: PORT,
        }
    }

    /// Where the payload begins in the frame.
    pub fn payload_at(&self) -> usize {
        self.frame(&[]).len()
    }

    /// The frame with a payload. With IPv4 its UDP checksum is nonsense, as it may be on a link
    /// where the sender leaves it to hardware.
    pub fn frame(&self, payload: &[u8]) -> Vec<u8> {
        if self.v6 {
            let (source, destination) = (self.source6, self.destination6);
            let udp = udpv6(source, destination, self.source_port, self.port, payload);
            let ip = Ipv6 {
                first_word: 0x6b8f_fff0,
                hop_limit: 3,
                ..Ipv6::new(source, destination, 17)
            };
            return ethernet(self.to, PEER_MAC, self.tags, 0x86dd, &ip.bytes(&udp));
        }
        let mut udp = udp(self.source_port, self.port, payload);
        udp[6..8].copy_from_slice(&[0xde, 0xad]);
        let ip = Ipv4 {
            ttl: 3,
            ..Ipv4::new(self.source4, self.destination4, 17)
        };
        ethernet(self.to, PEER_MAC, self.tags, 0x0800, &ip.bytes(&udp))
    }

    /// The frame that comes back.
    pub fn answer(&self, payload: &[u8]) -> Vec<u8> {
        let (source_port, port) = (self.port, self.source_port);
        if self.v6 {
            let (source, destination) = (self.destination6, self.source6);
            let udp = udpv6(source, destination, source_port, port, payload);
            let ip = Ipv6 {
                first_word: 0x6b8f_fff0,
                ..Ipv6::new(source, destination, 17)
            };
            return ethernet(PEER_MAC, self.to, self.tags, 0x86dd, &ip.bytes(&udp));
        }
        let udp = udp(source_port, port, payload);
        let ip = Ipv4::new(self.destination4, self.source4, 17);
        ethernet(PEER_MAC, self.to, self.tags, 0x0800, &ip.bytes(&udp))
    }
}
