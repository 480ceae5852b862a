//! Whether this node may act for an instance: the dead-man's switch.

use aya_ebpf::helpers::generated::{bpf_ktime_get_coarse_ns, bpf_ktime_get_ns};

use vip_common::abi::ANSWERING;

use crate::maps::{self, Instance};

/// Whether this node acts for the instance, and answers for it.
#[inline(always)]
pub fn is_answering(instance: Instance) -> bool {
    instance.claim() & ANSWERING != 0 && is_valid()
}

/// Whether this node acts for the instance: it takes packets for its VIPs.
#[inline(always)]
pub fn is_claimed(instance: Instance) -> bool {
    instance.claim() != 0 && is_valid()
}

/// Whether the agent's lease is valid now.
///
/// The coarse clock costs nothing but is up to one tick behind the precise one; the precise one
/// costs more than steering a packet. So the coarse one decides as long as its error cannot matter,
/// and only in the lease's last tick is the precise one asked. The answer is always that of the
/// precise clock.
#[inline(always)]
pub fn is_valid() -> bool {
    let Some(agent) = maps::agent() else {
        return false;
    };
    if agent.was_told_over() {
        return false;
    }
    let until = agent.lease_until_ns();
    // SAFETY: the helper takes nothing and returns a number.
    let coarse = unsafe { bpf_ktime_get_coarse_ns() };
    if coarse >= until {
        return false;
    }
    if until - coarse > maps::coarse_tick_ns() {
        return true;
    }
    // SAFETY: the helper takes nothing and returns a number.
    unsafe { bpf_ktime_get_ns() < until }
}
