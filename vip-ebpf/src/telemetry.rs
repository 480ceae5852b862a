//! Counters, statistics and events.

use aya_log_ebpf::debug;
use vip_common::abi::{ConflictKind, Counter, Event, VipEntry};
use vip_common::net::MacAddress;

use crate::lease;
use crate::maps::{self, Instance};
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

/// Tells the agent that the station `mac` claims the VIP `address` (IPv4 in mapped form) or, being at
/// `address`, the identifier of the instance with this index.
#[inline(always)]
pub fn report_conflict(
    packet: &Packet<'_>,
    frame: &Frame,
    kind: ConflictKind,
    instance: u32,
    address: [u8; 16],
    mac: MacAddress,
) {
    let event = Event {
        kind: kind as u32,
        ifindex: packet.ifindex(),
        address,
        mac,
        vlan: frame.vlan,
        instance,
        reserved: 0,
    };
    if !maps::publish(&event) {
        maps::raise(Counter::EventLost);
    }
}

/// Time between two notes that a VIP is wanted.
const WANTED_STEP_NS: u64 = 1_000_000_000;

/// Notes that somebody asks for the VIP, or sends to it, `now` by the coarse clock: once a second, so that a busy VIP
/// costs a look and not a store.
#[inline(always)]
pub fn wanted(vip: VipEntry, now: u64) {
    if let Some(seen) = maps::seen(vip.stats)
        && now.saturating_sub(seen.wanted_ns()) >= WANTED_STEP_NS
    {
        seen.set_wanted(now);
    }
}

/// Notes the first packet that is accepted for the VIP after the instance was claimed.
#[inline(always)]
pub fn accepted(vip: VipEntry, instance: Instance) {
    if let Some(seen) = maps::seen(vip.stats)
        && seen.first_packet_ns() < instance.claimed_at_ns()
    {
        seen.set_first_packet(lease::now());
    }
}
