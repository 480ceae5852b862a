//! The clock all measurements use: the kernel's monotonic one, in nanoseconds.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Nanoseconds since boot (`CLOCK_MONOTONIC`), the clock of the agent and of the XDP program.
#[must_use]
pub fn now_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// What must be subtracted from a wall-clock time stamp (`CLOCK_REALTIME`, as in a capture file) to
/// get nanoseconds of [`now_ns`].
#[must_use]
pub fn realtime_offset_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::Realtime)).saturating_sub(now_ns())
}

/// A time stamp as one number.
fn nanoseconds(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}
