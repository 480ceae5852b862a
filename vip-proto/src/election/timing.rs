//! How long things take: the formulas of RFC 9568 §6.1, and those of the lease.

use core::time::Duration;

use crate::{Instant, Priority};

/// How often a node sends adverts, and how many may be missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Advert interval.
    pub interval: Duration,
    /// Down factor.
    pub factor: u8,
}

impl Pace {
    /// Skew_Time: the higher the priority, the sooner.
    #[must_use]
    pub fn skew(self, priority: Priority) -> Duration {
        self.interval * (256 - u32::from(priority.get())) / 256
    }

    /// Active_Down_Interval of a node with this priority that follows a node of this pace.
    #[must_use]
    pub fn down_interval(self, priority: Priority) -> Duration {
        self.interval * u32::from(self.factor) + self.skew(priority)
    }

    /// How long the data plane may go on after an advert was sent in time.
    ///
    /// Two things must fit before a peer may take over. A peer that has missed this advert counts
    /// from the one before, an interval earlier. And the lease may be renewed as late as its very
    /// end: that renewal is worth something only if its advert arrives in time, which may take
    /// [`Self::delay`]. An eighth of an interval more is left for clocks that differ in rate. With
    /// a factor of 2 there is no room for a lost advert.
    #[must_use]
    pub fn lease(self) -> Duration {
        let intervals = if self.loses_one() {
            self.factor - 1
        } else {
            self.factor
        };
        self.interval * u32::from(intervals) - self.delay() - self.interval / 8
    }

    /// End of the lease that an advert sent `now` warrants, if the one before was sent at `previous`:
    /// an advert that is late moves the end less far, for it may be the one that gets lost.
    pub(crate) fn renewed(self, previous: Instant, now: Instant) -> Instant {
        let counted = if self.loses_one() {
            now.min(previous + self.interval)
        } else {
            now
        };
        counted + self.lease()
    }

    /// The longest an advert may be under way, from the sender's decision to the receiver's: an
    /// eighth of an interval. More of it would shorten the lease, and so the lateness of a tick that
    /// a busy host is forgiven; less would ask more of the network.
    #[must_use]
    pub fn delay(self) -> Duration {
        self.interval / 8
    }

    const fn loses_one(self) -> bool {
        self.factor > 2
    }

    /// After this much silence a node is taken to be gone: longer than anybody's down interval.
    #[must_use]
    pub fn silence(self) -> Duration {
        self.interval * (u32::from(self.factor) + 1)
    }

    /// How much longer a node waits for each live candidate that goes before it.
    ///
    /// Long enough that the other's claim is heard first even if the two count from different
    /// adverts, one of them notices a loss only by [`Self::silence`], the other is late, and its
    /// first advert as Active is lost. It is paid only when a candidate lives and yet does not
    /// claim: one that is dead is noticed within the silence.
    pub(crate) fn rank_wait(self) -> Duration {
        self.interval * (u32::from(self.factor) + 4)
    }

    /// How long a node states its intent before it claims after an unusual wait: long enough that two
    /// that began without knowing of each other both hear of it, a lost advert each included.
    #[must_use]
    pub fn intent(self) -> Duration {
        self.interval * 3
    }

    /// How long a node that has handed over goes on naming its successor.
    pub(crate) fn departure(self) -> Duration {
        self.interval * 3
    }

    /// How long a node that hands over waits for its successor to claim: a lost advert in each
    /// direction included.
    pub(crate) fn handover(self) -> Duration {
        self.interval * 3
    }

    /// How late a node may act on a down timer. One that was stopped for longer has lost its turn.
    pub(crate) const fn lateness(self) -> Duration {
        self.interval
    }

    /// The same factor at another interval.
    pub(crate) const fn with_interval(self, interval: Duration) -> Self {
        Self { interval, ..self }
    }

    /// The slower of two paces in each respect.
    pub(crate) fn slower(self, other: Self) -> Self {
        Self {
            interval: self.interval.max(other.interval),
            factor: self.factor.max(other.factor),
        }
    }
}
