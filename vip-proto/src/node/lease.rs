//! The agent's lease: how long the data plane may act for what is claimed.

use core::time::Duration;

use super::{Node, Report};
use crate::Instant;
use crate::election::input::Input;
use crate::election::timing::Pace;

/// The one lease all claims depend on. A Backup holds it too: a claim is worth nothing without.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    /// Longest it is ever made, if shorter than what adverts warrant.
    longest: Option<Duration>,
    /// Its end; `None`: it is over.
    until: Option<Instant>,
    /// The latest end that the adverts sent so far allow.
    warranted: Instant,
    /// When it is renewed between adverts, if it is shorter.
    next_renewal: Instant,
}

impl Lease {
    pub(crate) fn new(longest: Option<Duration>, pace: Pace) -> Self {
        Self {
            longest: longest.filter(|longest| *longest < pace.lease()),
            until: None,
            warranted: Instant::default(),
            next_renewal: Instant::default(),
        }
    }

    /// Its end; `None`: it is over.
    pub(crate) const fn until(&self) -> Option<Instant> {
        self.until
    }

    /// When it is to be renewed apart from adverts.
    pub(super) fn timeout(&self) -> Option<Instant> {
        (self.longest.is_some() && self.until.is_some()).then_some(self.next_renewal)
    }

    /// What it can be at `now`.
    fn end(&self, now: Instant) -> Instant {
        self.longest
            .map_or(self.warranted, |longest| self.warranted.min(now + longest))
    }

    fn schedule(&mut self, now: Instant) {
        if let Some(longest) = self.longest {
            self.next_renewal = now + longest / 4;
        }
    }
}

impl Node {
    /// The advert of a tick goes out with this drain: the lease it warrants.
    pub(super) fn advance_lease(&mut self, now: Instant) {
        let previous = core::mem::replace(&mut self.last_tick, now);
        let warranted = self.pace.renewed(previous, now);
        self.lease.warranted = self.lease.warranted.max(warranted);
        if self.lease.until.is_some() {
            self.renew_lease(now);
        } else {
            self.begin_lease(now);
        }
    }

    /// A lease that is shorter than what adverts warrant is renewed in between.
    pub(super) fn renew_short_lease(&mut self, now: Instant) {
        if self.lease.timeout().is_some_and(|due| now >= due) {
            self.renew_lease(now);
        }
    }

    fn renew_lease(&mut self, now: Instant) {
        self.lease.schedule(now);
        let until = self.lease.end(now);
        if self.lease.until.is_some_and(|lease| until > lease) {
            self.lease.until = Some(until);
            self.out.renew_lease(until);
        }
    }

    /// A lease that depends on nothing before: nothing is claimed.
    pub(super) fn begin_lease(&mut self, now: Instant) {
        self.lease.warranted = now + self.pace.lease();
        self.lease.schedule(now);
        let until = self.lease.end(now);
        self.lease.until = Some(until);
        self.out.begin_lease(until);
        self.out.report(Report::LeaseBegun { until });
    }

    /// The lease of a former agent is this one's: as long as an advert sent now would allow if the
    /// former's last had been sent an interval ago and this one is lost.
    pub(super) fn adopt_lease(&mut self, former: Instant, now: Instant) {
        let interval = self.pace.interval;
        self.lease.warranted = (now + self.pace.lease()).min(former + interval);
        self.lease.schedule(now);
        let until = self.lease.end(now);
        self.lease.until = Some(until);
        if until < former {
            // What peers grant ends with the next advert: the lease ends earlier before.
            self.out.shorten_lease(until);
        } else {
            self.out.renew_lease(until);
        }
    }

    /// What the adverts just sent have told the peers to grant.
    pub(super) fn stretch_lease(&mut self, until: Instant) {
        if self.lease.until.is_some_and(|lease| until > lease) {
            self.lease.until = Some(until);
            self.out.renew_lease(until);
        }
    }

    /// Takes note of a lease that has run out.
    pub(super) fn check_lease(&mut self, now: Instant) {
        if self.lease.until.is_some_and(|until| now >= until) {
            self.end_lease(false, now);
        }
    }

    /// `told`: the data plane has told a peer.
    pub(super) fn end_lease(&mut self, told: bool, now: Instant) {
        if let Some(until) = self.lease.until.take() {
            self.out.report(Report::LeaseEnded { until, told });
            self.feed_all(Input::LeaseEnded, now);
        }
    }
}
