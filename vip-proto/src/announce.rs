//! When the neighbours are told (again) that an instance's VIPs are here.

use alloc::collections::BTreeMap;
use core::time::Duration;

use crate::Instant;

/// A claim of a VIP by another station is answered at most once in this time (compare the
/// `DEFEND_INTERVAL` of RFC 5227 §2.4, which is ten seconds for hosts that have one address each).
pub const DEFEND_INTERVAL: Duration = Duration::from_secs(1);

/// When each of some addresses was last defended against a claim by another station.
#[derive(Debug, Clone)]
pub struct Defence<A>(BTreeMap<A, Instant>);

impl<A: Ord> Defence<A> {
    /// Nothing was defended yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Whether to defend the address now: not if that was done within [`DEFEND_INTERVAL`], however
    /// many claims come.
    pub fn handle_claim(&mut self, address: A, now: Instant) -> bool {
        let is_too_early = |last: &Instant| now < *last + DEFEND_INTERVAL;
        if self.0.get(&address).is_some_and(is_too_early) {
            return false;
        }
        self.0.insert(address, now);
        true
    }
}

impl<A: Ord> Default for Defence<A> {
    fn default() -> Self {
        Self::new()
    }
}

/// How neighbours are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announce {
    /// Rounds of announcements after a claim; 0 counts as 1.
    pub repeat: u8,
    /// Time between these rounds.
    pub interval: Duration,
    /// Time between single rounds afterwards; `None`, or no time at all: never again.
    pub refresh: Option<Duration>,
}

/// The schedule of one instance. Start it when the instance is claimed, stop it when it is released;
/// in between, announce whenever [`Self::poll_round`] says so.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    announce: Announce,
    next: Option<Next>,
}

#[derive(Debug, Clone, Copy)]
struct Next {
    at: Instant,
    /// Rounds left of the repetitions, the next one included; 0: refreshing.
    rounds: u8,
}

impl Schedule {
    /// A schedule that has not been started.
    #[must_use]
    pub const fn new(announce: Announce) -> Self {
        Self {
            announce,
            next: None,
        }
    }

    /// The instance was claimed (or is to be announced afresh): the first round is due at once.
    pub fn start(&mut self, now: Instant) {
        self.next = Some(Next {
            at: now,
            rounds: self.announce.repeat.max(1),
        });
    }

    /// The instance was released: nothing is announced any more.
    pub const fn stop(&mut self) {
        self.next = None;
    }

    /// When the next round is due, if any.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next.map(|next| next.at)
    }

    /// Whether a round is due now; it counts as done then. Rounds that were missed are not made up
    /// for: the next one comes a full interval after this one.
    pub fn poll_round(&mut self, now: Instant) -> bool {
        let Some(next) = self.next.filter(|next| now >= next.at) else {
            return false;
        };
        let rounds = next.rounds.saturating_sub(1);
        let pause = if rounds > 0 {
            Some(self.announce.interval)
        } else {
            self.announce.refresh
        };
        let refreshes = pause.filter(|pause| rounds > 0 || !pause.is_zero());
        self.next = refreshes.map(|pause| Next {
            at: now + pause,
            rounds,
        });
        true
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    const ANNOUNCE: Announce = Announce {
        repeat: 3,
        interval: Duration::from_millis(10),
        refresh: Some(Duration::from_millis(100)),
    };

    fn at(milliseconds: u64) -> Instant {
        Instant::from_nanos(milliseconds * 1_000_000)
    }

    /// The milliseconds below `end` at which rounds take place, woken when the schedule asks for it.
    fn rounds(schedule: &mut Schedule, end: u64) -> Vec<u64> {
        let mut rounds = Vec::new();
        while let Some(due) = schedule.poll_timeout().filter(|due| *due < at(end)) {
            assert!(schedule.poll_round(due), "a round is done when it is due");
            rounds.push(due.as_nanos() / 1_000_000);
        }
        rounds
    }

    #[test]
    fn rounds_are_repeated_and_then_refreshed() {
        let mut schedule = Schedule::new(ANNOUNCE);
        schedule.start(at(5));
        assert_eq!(rounds(&mut schedule, 300), [5, 15, 25, 125, 225]);
    }

    #[test]
    fn without_refresh_the_repetitions_are_all() {
        let mut schedule = Schedule::new(Announce {
            refresh: None,
            ..ANNOUNCE
        });
        schedule.start(at(0));
        assert_eq!(rounds(&mut schedule, 1000), [0, 10, 20]);
        assert_eq!(schedule.poll_timeout(), None);
    }

    #[test]
    fn nothing_is_announced_before_the_start_or_after_the_stop() {
        let mut schedule = Schedule::new(ANNOUNCE);
        assert!(!schedule.poll_round(at(1)));
        schedule.start(at(2));
        assert!(schedule.poll_round(at(2)));
        schedule.stop();
        assert!(!schedule.poll_round(at(1000)));
        assert_eq!(schedule.poll_timeout(), None);
    }

    #[test]
    fn a_round_is_not_done_twice_and_missed_rounds_are_not_made_up_for() {
        let mut schedule = Schedule::new(ANNOUNCE);
        schedule.start(at(0));
        assert!(schedule.poll_round(at(0)));
        assert!(!schedule.poll_round(at(9)));
        assert!(schedule.poll_round(at(95)));
        assert!(!schedule.poll_round(at(95)));
        assert_eq!(schedule.poll_timeout(), Some(at(105)));
    }

    #[test]
    fn a_flood_of_claims_is_answered_once_a_second_for_each_address() {
        let mut defence = Defence::new();
        let defended = |defence: &mut Defence<u8>, address, from: u64, to: u64| {
            (from..to)
                .filter(|millisecond| defence.handle_claim(address, at(*millisecond)))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            defended(&mut defence, 1, 500, 3000),
            [500, 1500, 2500],
            "the first at once"
        );
        assert_eq!(defended(&mut defence, 2, 2999, 3001), [2999]);
        assert_eq!(defended(&mut defence, 1, 3000, 3600), [3500]);
    }

    #[test]
    fn degenerate_settings_still_announce_once_and_never_spin() {
        let refresh = Some(Duration::ZERO);
        let mut schedule = Schedule::new(Announce {
            repeat: 0,
            interval: Duration::ZERO,
            refresh,
        });
        schedule.start(at(0));
        assert_eq!(rounds(&mut schedule, 1000), [0]);
    }
}
