//! ARP for IPv4 over Ethernet (RFC 826): the answer in place, and the announcement.

use network_types::arp::ArpHdr;

use super::MacAddress;
use super::ethernet::{self, EthernetHeader};
use super::header::bytes_of;

/// `oper` of a request.
pub const REQUEST: u16 = 1;
/// `oper` of a reply.
pub const REPLY: u16 = 2;

/// Length of an ARP frame without VLAN tag and padding.
pub const FRAME_LEN: usize = size_of::<EthernetHeader>() + size_of::<ArpHdr>();

const HARDWARE_ETHERNET: u16 = 1;

/// Whether this is ARP between IPv4 and Ethernet addresses, the only kind a VIP can appear in.
#[must_use]
pub fn is_ipv4_over_ethernet(arp: &ArpHdr) -> bool {
    u16::from_be_bytes(arp.htype) == HARDWARE_ETHERNET
        && u16::from_be_bytes(arp.ptype) == ethernet::IPV4
        && arp.hlen == 6
        && arp.plen == 4
}

/// Whether this asks for its target's hardware address.
#[must_use]
pub const fn is_request(arp: &ArpHdr) -> bool {
    u16::from_be_bytes(arp.oper) == REQUEST
}

/// Turns a request into the reply that says its target address is at `mac` (RFC 826 "Packet
/// Reception"). A probe, whose sender address is 0.0.0.0, is answered like any other (RFC 5227
/// §2.1.1).
pub fn answer(arp: &mut ArpHdr, mac: MacAddress) {
    let target = arp.tpa;
    arp.oper = REPLY.to_be_bytes();
    arp.tha = arp.sha;
    arp.tpa = arp.spa;
    arp.sha = mac;
    arp.spa = target;
}

/// The frame that tells every station that `vip` is at `mac`.
///
/// A broadcast *request* for the own address (RFC 5227 §2.3 "ARP Announcement"): stations that have
/// an entry update it from a request's sender fields, while many of them ignore replies nobody asked
/// for. The target hardware address is unused in a request and carries the broadcast address.
#[must_use]
pub fn gratuitous_arp(mac: MacAddress, vip: [u8; 4]) -> [u8; FRAME_LEN] {
    let ethernet = EthernetHeader {
        destination: ethernet::BROADCAST,
        source: mac,
        ether_type: ethernet::ARP.to_be_bytes(),
    };
    let arp = ArpHdr {
        htype: HARDWARE_ETHERNET.to_be_bytes(),
        ptype: ethernet::IPV4.to_be_bytes(),
        hlen: 6,
        plen: 4,
        oper: REQUEST.to_be_bytes(),
        sha: mac,
        spa: vip,
        tha: ethernet::BROADCAST,
        tpa: vip,
    };
    concatenate(bytes_of(&ethernet), bytes_of(&arp))
}

/// Two headers, one after the other, as one frame of exactly their length together.
pub(super) fn concatenate<const N: usize>(first: &[u8], second: &[u8]) -> [u8; N] {
    let mut frame = [0; N];
    for (to, from) in frame.iter_mut().zip(first.iter().chain(second)) {
        *to = *from;
    }
    frame
}
