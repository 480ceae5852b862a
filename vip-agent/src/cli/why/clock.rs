//! When something happened, by the clock on the wall.

use std::time::{SystemTime, UNIX_EPOCH};

use vip_proto::Instant;

use crate::clock;

const SECOND: i128 = 1_000_000_000;

/// The wall clock as it goes now, extended into the past: a clock that was set since shows other
/// times than the log did.
#[derive(Debug, Clone, Copy)]
pub(super) struct WallClock {
    /// The moment of asking, on the monotonic clock.
    pub(super) now: Instant,
    /// What is to be added to the monotonic clock, in nanoseconds.
    offset: i128,
}

impl WallClock {
    /// Both clocks read at once.
    pub(super) fn now() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        // A clock before 1970 was never set.
        let unix = unix.map_or(0, |unix| unix.as_nanos().cast_signed());
        Self::at(clock::now(), unix)
    }

    /// Nanoseconds since 1970 at a moment.
    pub(super) fn at(now: Instant, unix: i128) -> Self {
        Self {
            now,
            offset: unix - i128::from(now.as_nanos()),
        }
    }

    /// Date and time in UTC with nanoseconds, as RFC 3339 has it.
    pub(super) fn full(&self, at: Instant) -> String {
        let (day, second, nanosecond) = self.parts(at);
        let (year, month, date) = date(day);
        format!(
            "{year:04}-{month:02}-{date:02}T{}.{nanosecond:09}Z",
            time(second)
        )
    }

    /// The time of day in UTC with microseconds.
    pub(super) fn time(&self, at: Instant) -> String {
        let (_, second, nanosecond) = self.parts(at);
        format!("{}.{:06}", time(second), nanosecond / 1000)
    }

    /// Days since 1970, seconds of the day, nanoseconds of the second.
    fn parts(&self, at: Instant) -> (i128, i128, i128) {
        let unix = i128::from(at.as_nanos()) + self.offset;
        let seconds = unix.div_euclid(SECOND);
        (
            seconds.div_euclid(86_400),
            seconds.rem_euclid(86_400),
            unix.rem_euclid(SECOND),
        )
    }
}

fn time(second: i128) -> String {
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{hour:02}:{minute:02}:{:02}", second % 60)
}

/// Year, month and day of the month, from days since 1970 in the Gregorian calendar. Counted in
/// years that begin in March, so that the leap day is the last.
fn date(day: i128) -> (i128, i128, i128) {
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let of_era = day.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i128::from(month <= 2), month, date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        let shown = |unix: i128| {
            let now = Instant::from_nanos(5 * 1_000_000_000);
            WallClock::at(now, unix * SECOND).full(now)
        };
        // From `date --utc --date=@SECONDS`.
        assert_eq!(shown(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(shown(951_782_399), "2000-02-28T23:59:59.000000000Z");
        assert_eq!(shown(951_782_400), "2000-02-29T00:00:00.000000000Z");
        assert_eq!(shown(1_735_689_599), "2024-12-31T23:59:59.000000000Z");
        assert_eq!(shown(4_107_542_400), "2100-03-01T00:00:00.000000000Z");
    }

    #[test]
    fn the_past_is_counted_back_from_now() {
        let clock = WallClock::at(Instant::from_nanos(2_000_000_000), 1_700_000_000 * SECOND);
        let at = Instant::from_nanos(1_999_998_999);
        assert_eq!(clock.full(at), "2023-11-14T22:13:19.999998999Z");
        assert_eq!(clock.time(at), "22:13:19.999998");
        assert_eq!(
            clock.full(Instant::default()),
            "2023-11-14T22:13:18.000000000Z"
        );
    }
}
