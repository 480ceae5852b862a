//! Packets that still come to a node that has handed its instance over: forwarded to the successor.

use vip_common::abi::Counter;
use vip_common::net::MacAddress;
use vip_common::net::ethernet::{self, EthernetHeader};

use crate::maps::Instance;
use crate::packet::Packet;
use crate::verdict::Verdict;

/// Forwards a frame for a VIP of an instance that this node does not act for, `mac` being the VIP's
/// hardware address and `now` the coarse clock, to the station that does; drops it if there is none.
///
/// The frame goes from one station of the link to another, as a bridge would send it: the packet in
/// it stays as it is, its TTL too. It cannot circle: a node forwards only to one that claimed the
/// instance later, stops when it claims it itself, and returns nothing to where it came from. An
/// instance that is claimed under a lease that is over has no successor that we know of.
#[inline(always)]
pub fn to_successor(
    packet: &mut Packet<'_>,
    instance: Instance,
    mac: MacAddress,
    now: u64,
) -> Verdict {
    const NOT_ACTIVE: Verdict = Verdict::Drop(Counter::DropNotActive);

    if instance.claim() != 0 || now >= instance.drain_until_ns() {
        return NOT_ACTIVE;
    }
    let Some(successor) = instance.successor() else {
        return NOT_ACTIVE;
    };
    if packet.ifindex() != instance.ifindex() {
        return NOT_ACTIVE;
    }
    let station = instance.station();
    let Some(header) = packet.at::<EthernetHeader>(0) else {
        return NOT_ACTIVE;
    };
    // Frames to a group reach the successor anyway.
    if ethernet::is_group(header.destination) || !header.is_for_either(mac, station) {
        return NOT_ACTIVE;
    }
    if ethernet::is_same(header.source, successor) {
        return Verdict::Drop(Counter::DropDrainLoop);
    }
    header.destination = successor;
    header.source = station;
    instance.set_drained(now);
    Verdict::Transmit(Counter::DrainForwarded)
}
