//! Counters, statistics and events.

use vip_common::abi::{ConflictKind, Counter, Event, VipEntry};
use vip_common::net::MacAddress;

use crate::maps;
use crate::packet::Packet;
use crate::stage::classify::Frame;
use crate::verdict::Verdict;

/// Raises the counter that names the verdict's reason.
#[inline(always)]
pub fn count(verdict: Verdict) {
    if let Some(counter) = verdict.counter() {
        maps::raise(counter);
    }
}

/// Tells the agent that the station `mac` claims the VIP `address` (IPv4 in mapped form).
#[inline(always)]
pub fn report_conflict(
    packet: &Packet<'_>,
    frame: &Frame,
    kind: ConflictKind,
    vip: VipEntry,
    address: [u8; 16],
    mac: MacAddress,
) {
    let event = Event {
        kind: kind as u32,
        ifindex: packet.ifindex(),
        address,
        mac,
        vlan: frame.vlan,
        instance: vip.instance,
        reserved: 0,
    };
    if !maps::publish(&event) {
        maps::raise(Counter::EventLost);
    }
}
