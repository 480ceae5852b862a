//! Counters, statistics and events.

use aya_log_ebpf::debug;
use vip_common::abi::{ConflictKind, Counter, Event, VipEntry};
use vip_common::net::MacAddress;

use crate::maps;
use crate::packet::Packet;
use crate::stage::classify::Frame;
use crate::verdict::Verdict;

/// Raises the counter that names the verdict's reason, and logs the decision.
///
/// The one log statement of the program: each costs a few hundred instructions, which the verifier
/// removes while the log level is off, but has to walk through before.
#[inline(always)]
pub fn decided(packet: &Packet<'_>, verdict: Verdict) {
    let Some(counter) = verdict.counter() else {
        return;
    };
    maps::raise(counter);
    debug!(
        packet.context(),
        "interface {}, {} bytes: counter {}",
        packet.ifindex(),
        packet.len(),
        counter.index()
    );
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
