//! Whether this node may act for an instance: the dead-man's switch.

use aya_ebpf::helpers::generated::{bpf_ktime_get_coarse_ns, bpf_ktime_get_ns};

use crate::maps::{self, Instance};

/// Whether the instance's lease is valid now.
///
/// The coarse clock costs nothing but is up to one tick behind the precise one; the precise one
/// costs more than steering a packet. So the coarse one decides as long as its error cannot matter,
/// and only in the lease's last tick is the precise one asked. The answer is always that of the
/// precise clock.
#[inline(always)]
pub fn is_valid(instance: Instance) -> bool {
    let until = instance.lease_until_ns();
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
