//! What the data plane reports to the agent through the ring buffer.

use bytemuck::{Pod, Zeroable};

/// How another station claimed one of our VIPs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum ConflictKind {
    /// An ARP packet whose sender address is the VIP and whose sender MAC is not ours (RFC 5227).
    Arp = 1,
    /// A Neighbor Advertisement for the VIP that is not ours (RFC 4861 §7.2.5).
    NeighborAdvertisement = 2,
    /// A VRRP advertisement (IP protocol 112) with the VRID of one of our instances; the address is
    /// its sender's.
    Vrrp = 3,
}

impl ConflictKind {
    /// The kind with this number, if there is one.
    #[must_use]
    pub const fn from_u32(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Arp),
            2 => Some(Self::NeighborAdvertisement),
            3 => Some(Self::Vrrp),
            _ => None,
        }
    }
}

/// One record of the `EVENTS` ring buffer: another station claimed a VIP, or the identifier of an
/// instance, while this node was Active for it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct Event {
    /// Number of a [`ConflictKind`].
    pub kind: u32,
    /// Interface the frame arrived on.
    pub ifindex: u32,
    /// The VIP (of a VRRP advertisement: its sender); an IPv4 address as an IPv4-mapped one (`::ffff:a.b.c.d`).
    pub address: [u8; 16],
    /// The other station's MAC address.
    pub mac: [u8; 6],
    /// Outer VLAN identifier (12 bits), 0 when untagged.
    pub vlan: u16,
    /// Index into `INSTANCES`.
    pub instance: u32,
    /// Zero.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Event>() == 40);
