//! How fast announcements follow one another.

use std::time::Duration;

use vip_proto::Instant;

/// Frames in one [`WINDOW`]: 64,000 a second. Neighbours handle each broadcast in software, and their
/// backlog (1,000 frames on Linux) must not overflow.
const FRAMES: usize = 64;
const WINDOW: Duration = Duration::from_millis(1);

/// Counts the frames of the present millisecond. What was not used is not saved for later: no burst
/// is greater than one window's frames.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the present window began.
    begun: Instant,
    sent: usize,
}

impl Pace {
    /// How many frames may be sent now.
    pub(super) fn room(&mut self, now: Instant) -> usize {
        if now >= self.begun + WINDOW {
            self.begun = now;
            self.sent = 0;
        }
        FRAMES.saturating_sub(self.sent)
    }

    /// This many were sent.
    pub(super) const fn sent(&mut self, frames: usize) {
        self.sent = self.sent.saturating_add(frames);
    }

    /// The interface's queue is full: nothing more in this window.
    pub(super) const fn exhaust(&mut self) {
        self.sent = FRAMES;
    }

    /// When there is room again.
    pub(super) fn next(&self, now: Instant) -> Instant {
        if self.sent < FRAMES {
            now
        } else {
            self.begun + WINDOW
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Instant {
        Instant::from_nanos(micros * 1000)
    }

    #[test]
    fn a_window_is_used_up_and_the_next_one_begins() {
        let mut pace = Pace::default();
        assert_eq!(pace.room(at(5000)), FRAMES);
        pace.sent(FRAMES - 1);
        assert_eq!(pace.room(at(5100)), 1);
        assert_eq!(pace.next(at(5100)), at(5100));
        pace.sent(1);
        assert_eq!(pace.room(at(5999)), 0);
        assert_eq!(pace.next(at(5999)), at(6000));
        assert_eq!(pace.room(at(6000)), FRAMES);
    }

    #[test]
    fn what_was_not_used_is_not_saved() {
        let mut pace = Pace::default();
        assert_eq!(pace.room(at(5000)), FRAMES);
        assert_eq!(pace.room(at(900_000)), FRAMES);
        pace.exhaust();
        assert_eq!(pace.room(at(900_999)), 0);
    }
}
