//! Ethernet header and VLAN tag.

use bytemuck::{Pod, Zeroable};

use super::MacAddress;

/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;
/// EtherType that announces a customer VLAN tag (IEEE 802.1Q).
pub const VLAN: u16 = 0x8100;
/// EtherType that announces a service VLAN tag (IEEE 802.1ad).
pub const SERVICE_VLAN: u16 = 0x88a8;

/// The hardware address of every station.
pub const BROADCAST: MacAddress = [0xff; 6];

/// Ethernet header. (`network-types` has one too, but with a `u16` in it, which may not be viewed
/// at an odd address.)
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct EthernetHeader {
    /// Receiving station or group.
    pub destination: MacAddress,
    /// Sending station.
    pub source: MacAddress,
    /// What follows, in network byte order.
    pub ether_type: [u8; 2],
}

/// What follows the addresses of a tagged frame's Ethernet header, repeated for each tag: the tag's
/// own EtherType stands before it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct VlanTag {
    /// Priority (3 bits), drop eligible (1 bit), VLAN identifier (12 bits), in network byte order.
    pub control: [u8; 2],
    /// What follows, in network byte order.
    pub ether_type: [u8; 2],
}

impl EthernetHeader {
    /// EtherType of what follows.
    #[must_use]
    pub const fn ether_type(&self) -> u16 {
        u16::from_be_bytes(self.ether_type)
    }

    /// Whether the frame is for the station `mac`: addressed to it, or to a group (of which
    /// broadcast is one).
    #[must_use]
    pub const fn is_for(&self, mac: MacAddress) -> bool {
        is_group(self.destination) || is_same(self.destination, mac)
    }

    /// Whether the frame is for one station that has both addresses, or for a group.
    #[must_use]
    pub const fn is_for_either(&self, one: MacAddress, other: MacAddress) -> bool {
        self.is_for(one) || is_same(self.destination, other)
    }

    /// Sends the frame back to its sender.
    pub const fn send_back(&mut self) {
        (self.destination, self.source) = (self.source, self.destination);
    }

    /// Makes the frame an answer to its sender.
    pub fn answer_from(&mut self, mac: MacAddress) {
        self.destination = self.source;
        self.source = mac;
    }
}

impl VlanTag {
    /// EtherType of what follows.
    #[must_use]
    pub const fn ether_type(&self) -> u16 {
        u16::from_be_bytes(self.ether_type)
    }

    /// VLAN identifier, 12 bits.
    #[must_use]
    pub const fn identifier(&self) -> u16 {
        u16::from_be_bytes(self.control) & 0x0fff
    }
}

/// Whether the address is a group's (multicast or broadcast) and not one station's.
#[must_use]
pub const fn is_group(mac: MacAddress) -> bool {
    mac[0] & 1 != 0
}

/// Whether two addresses are the same. (Compared as one number: the comparison of arrays is a loop
/// inside the XDP program.)
#[must_use]
pub const fn is_same(one: MacAddress, other: MacAddress) -> bool {
    as_number(one) == as_number(other)
}

const fn as_number([a, b, c, d, e, f]: MacAddress) -> u64 {
    u64::from_ne_bytes([a, b, c, d, e, f, 0, 0])
}

/// Whether the EtherType announces a VLAN tag.
#[must_use]
pub const fn is_vlan(ether_type: u16) -> bool {
    matches!(ether_type, VLAN | SERVICE_VLAN)
}
