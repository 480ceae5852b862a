//! Ethernet and up to two VLAN tags: what is in the frame, and where.

use core::ops::ControlFlow;

use vip_common::net::ethernet::{self, EthernetHeader, VlanTag};

use crate::packet::Packet;
use crate::verdict::Verdict;

/// What the Ethernet header and the tags say.
pub struct Frame {
    /// EtherType of the network header. After a third tag this is still a tag's, which no later
    /// stage knows, so that such a frame passes.
    pub ether_type: u16,
    /// Identifier of the outer VLAN, 0 when untagged.
    pub vlan: u16,
}

/// Finds the network header. A frame too short to have one is not ours.
#[inline(always)]
pub fn frame(packet: &mut Packet<'_>) -> ControlFlow<Verdict, Frame> {
    const TAG: usize = size_of::<VlanTag>();

    let mut network = size_of::<EthernetHeader>();
    let Some(header) = packet.at::<EthernetHeader>(0) else {
        return IGNORE;
    };
    let mut ether_type = header.ether_type();
    let mut vlan = 0;
    if ethernet::is_vlan(ether_type) {
        let Some(outer) = packet.at::<VlanTag>(network) else {
            return IGNORE;
        };
        (ether_type, vlan) = (outer.ether_type(), outer.identifier());
        network += TAG;
        if ethernet::is_vlan(ether_type) {
            let Some(inner) = packet.at::<VlanTag>(network) else {
                return IGNORE;
            };
            ether_type = inner.ether_type();
            network += TAG;
        }
    }
    packet.set_network(network);
    ControlFlow::Continue(Frame { ether_type, vlan })
}

const IGNORE: ControlFlow<Verdict, Frame> = ControlFlow::Break(Verdict::Ignore);
