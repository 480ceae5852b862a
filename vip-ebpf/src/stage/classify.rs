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
    /// Offset of the network header.
    pub network: usize,
    /// Identifier of the outer VLAN, 0 when untagged.
    pub vlan: u16,
}

/// Finds the network header. A frame too short to have one is not ours.
#[inline(always)]
pub fn frame(packet: &mut Packet<'_>) -> ControlFlow<Verdict, Frame> {
    const OUTER: usize = size_of::<EthernetHeader>();
    const INNER: usize = OUTER + size_of::<VlanTag>();

    let Some(header) = packet.at::<EthernetHeader>(0) else { return IGNORE };
    let ether_type = header.ether_type();
    if !ethernet::is_vlan(ether_type) {
        return ControlFlow::Continue(Frame { ether_type, network: OUTER, vlan: 0 });
    }
    let Some(outer) = packet.at::<VlanTag>(OUTER) else { return IGNORE };
    let (ether_type, vlan) = (outer.ether_type(), outer.identifier());
    if !ethernet::is_vlan(ether_type) {
        return ControlFlow::Continue(Frame { ether_type, network: INNER, vlan });
    }
    let Some(inner) = packet.at::<VlanTag>(INNER) else { return IGNORE };
    let ether_type = inner.ether_type();
    ControlFlow::Continue(Frame { ether_type, network: INNER + size_of::<VlanTag>(), vlan })
}

const IGNORE: ControlFlow<Verdict, Frame> = ControlFlow::Break(Verdict::Ignore);
