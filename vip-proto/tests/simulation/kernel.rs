//! What a host's data plane does by itself: it answers probes, whether its agent runs or not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use vip_proto::node::{Drain, EchoInstance, EchoSeen, PROBED_INSTANCES};
use vip_proto::{Epoch, Incarnation, Instant, Vrid};

use crate::world::VRID;

/// What is claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) epoch: Epoch,
    pub(crate) answering: bool,
}

/// The slots of `vip-common`, and the XDP program that reads them.
#[derive(Debug, Default)]
pub(crate) struct Kernel {
    lease_until: Instant,
    generation: u64,
    ended: u64,
    pub(crate) incarnation: Option<Incarnation>,
    pub(crate) sequence: u64,
    pub(crate) claim: Option<Claim>,
    pub(crate) drain: Option<Drain>,
    /// Whose probes are answered: the incarnation the keys of each peer are made of.
    pub(crate) sessions: BTreeMap<usize, Incarnation>,
    /// The latest echo of each peer.
    stamps: BTreeMap<usize, EchoSeen>,
    /// Whose the agent has not seen yet.
    unseen: BTreeSet<usize>,
}

/// A probe under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Probe {
    pub(crate) prober: Incarnation,
    pub(crate) sent: Instant,
    pub(crate) vrids: [u8; PROBED_INSTANCES],
}

/// Its answer under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Echo {
    sent: Instant,
    incarnation: Incarnation,
    lease_left: Duration,
    /// Whether [`VRID`] was asked about, then whether the node acts for it, and the epoch.
    answer: Option<(bool, Epoch)>,
}

impl Kernel {
    /// A new agent has taken the slots over, and nothing of what was in them.
    pub(crate) fn begins(&mut self, incarnation: Incarnation) {
        self.incarnation = Some(incarnation);
        self.lease_until = Instant::default();
        self.claim = None;
        self.drain = None;
    }

    pub(crate) fn renew(&mut self, until: Instant, anew: bool) {
        if anew {
            self.generation = self.generation.max(self.ended) + 1;
        }
        self.lease_until = until;
    }

    pub(crate) fn was_told_over(&self) -> bool {
        self.ended == self.generation
    }

    pub(crate) const fn lease_until(&self) -> Instant {
        self.lease_until
    }

    pub(crate) fn valid(&self, now: Instant) -> bool {
        now < self.lease_until && !self.was_told_over()
    }

    /// Whether it takes packets.
    pub(crate) fn accepts(&self, now: Instant) -> bool {
        self.claim.is_some() && self.valid(now)
    }

    /// Whether it answers ARP and Neighbor Discovery.
    pub(crate) fn answers(&self, now: Instant) -> bool {
        self.claim.is_some_and(|claim| claim.answering) && self.valid(now)
    }

    /// Answers a probe, if its sender's key is known; a lease that is over is over for good then.
    pub(crate) fn answer(&mut self, from: usize, probe: &Probe, now: Instant) -> Option<Echo> {
        if self.sessions.get(&from) != Some(&probe.prober) {
            return None;
        }
        let valid = self.valid(now);
        if !valid {
            self.ended = self.generation;
        }
        let epoch = self.claim.map_or(Epoch(0), |claim| claim.epoch);
        let asked = probe.vrids.contains(&VRID.get());
        Some(Echo {
            sent: probe.sent,
            incarnation: self.incarnation?,
            lease_left: if valid {
                self.lease_until.saturating_since(now)
            } else {
                Duration::ZERO
            },
            answer: asked.then_some((self.accepts(now), epoch)),
        })
    }

    /// Stamps an echo's arrival, if it is newer than the one before.
    pub(crate) fn stamp(&mut self, from: usize, echo: &Echo, now: Instant) {
        let newer = |seen: &EchoSeen| seen.sent < echo.sent;
        if !self.stamps.get(&from).is_none_or(newer) {
            return;
        }
        let mut instances = [None; PROBED_INSTANCES];
        instances[0] = echo.answer.map(|(active, epoch)| EchoInstance {
            vrid: Vrid::new(VRID.get()).unwrap(),
            active,
            epoch,
        });
        let seen = EchoSeen {
            sent: echo.sent,
            arrived: now,
            incarnation: echo.incarnation,
            lease_left: echo.lease_left,
            instances,
        };
        self.stamps.insert(from, seen);
        self.unseen.insert(from);
    }

    /// The stamps that are new to the agent.
    pub(crate) fn news(&mut self) -> Vec<(usize, EchoSeen)> {
        let unseen = core::mem::take(&mut self.unseen);
        let stamps = unseen.into_iter();
        stamps.map(|from| (from, self.stamps[&from])).collect()
    }
}
