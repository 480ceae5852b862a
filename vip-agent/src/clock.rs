//! The only reader of the clock.

use std::time::Duration;

use rustix::time::{ClockId, clock_getres, clock_gettime};
use vip_proto::Instant;

/// The time on `CLOCK_MONOTONIC`, the clock of leases and of the data plane.
#[must_use]
pub fn now() -> Instant {
    Instant::from_nanos(nanoseconds(clock_gettime(ClockId::Monotonic)))
}

/// How far the kernel's coarse monotonic clock may lag behind the precise one: one scheduler tick.
#[must_use]
pub fn coarse_tick() -> Duration {
    Duration::from_nanos(nanoseconds(clock_getres(ClockId::MonotonicCoarse)))
}

/// A kernel timespec as nanoseconds; the monotonic clock is never negative.
fn nanoseconds(time: rustix::time::Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_does_not_go_back() {
        let first = now();
        assert!(now() >= first);
    }

    #[test]
    fn the_coarse_clock_ticks_between_one_and_ten_milliseconds() {
        let tick = coarse_tick();
        assert!(
            tick >= Duration::from_millis(1) && tick <= Duration::from_millis(10),
            "{tick:?}"
        );
    }
}
