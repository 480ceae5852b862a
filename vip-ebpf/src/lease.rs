//! Whether this node may act for an instance: the dead-man's switch.

use aya_ebpf::helpers::generated::{bpf_ktime_get_coarse_ns, bpf_ktime_get_ns};

use vip_common::abi::ANSWERING;

use crate::maps::{self, Agent, Instance};

/// What this node is for an instance.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing: not Active, or the agent's lease is over.
    NotActive,
    /// Taking it over: it takes packets, the node that hands over still answers.
    TakingOver,
    /// Active, and the one that answers.
    Answering,
}

/// What this node is for the instance, the coarse clock having just been read.
#[inline(always)]
pub fn standing(instance: Instance, coarse: u64) -> Standing {
    let claim = instance.claim();
    if claim == 0 || !is_valid(coarse) {
        Standing::NotActive
    } else if claim & ANSWERING == 0 {
        Standing::TakingOver
    } else {
        Standing::Answering
    }
}

/// Whether this node acts for the instance, and answers for it.
#[inline(always)]
pub fn is_answering(instance: Instance) -> bool {
    instance.claim() & ANSWERING != 0 && is_valid(coarse_now())
}

/// Whether the agent's lease is valid, the coarse clock having just been read.
///
/// The coarse clock costs nothing but is up to one tick behind the precise one; the precise one
/// costs more than steering a packet. So the coarse one decides as long as its error cannot matter,
/// and only in the lease's last tick is the precise one asked. The answer is always that of the
/// precise clock.
#[inline(always)]
fn is_valid(coarse: u64) -> bool {
    let Some(agent) = maps::agent() else {
        return false;
    };
    if agent.ended_generation() == agent.generation() {
        return false;
    }
    let until = agent.lease_until_ns();
    if coarse >= until {
        return false;
    }
    if until - coarse > maps::coarse_tick_ns() {
        return true;
    }
    now() < until
}

/// What a prober is told of the agent's lease: how much of it is left at the time `now` of the
/// precise clock, in nanoseconds.
///
/// What is told must stay true, because a Backup acts on it: a lease that is said to be over is
/// ended here, before anybody is told, and no renewal revives it. The generation is read before the
/// lease, so that a lease begun in between is not taken for the one that is over.
#[inline(always)]
pub fn left_for_good(agent: Agent, now: u64) -> u64 {
    let generation = agent.generation();
    if agent.ended_generation() == generation {
        return 0;
    }
    let left = agent.lease_until_ns().saturating_sub(now);
    if left == 0 {
        agent.end(generation);
    }
    left
}

/// The precise monotonic clock, in nanoseconds.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: the helper takes nothing and returns a number.
    unsafe { bpf_ktime_get_ns() }
}

/// The coarse monotonic clock, up to a tick behind the precise one, in nanoseconds.
#[inline(always)]
pub fn coarse_now() -> u64 {
    // SAFETY: the helper takes nothing and returns a number.
    unsafe { bpf_ktime_get_coarse_ns() }
}
