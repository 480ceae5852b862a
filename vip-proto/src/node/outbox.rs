//! Actions on their way out, in the order the contract promises.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::{Action, Drain, PROBED_INSTANCES, Report};
use crate::{Epoch, Incarnation, Instant, NodeAddress, Vrid};

/// Collects what one handler wants done, then queues it in the promised order whatever the order in
/// which several instances asked: releases, a new lease, claims, one advert, the lease's renewal,
/// announcements, sessions and probes, reports.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outbox {
    queue: VecDeque<Action>,
    flips: Vec<Action>,
    /// How many adverts.
    transmit: u8,
    after: Vec<Action>,
    asks: Vec<Action>,
    announces: Vec<Action>,
    reports: Vec<Action>,
}

impl Outbox {
    /// Room for the usual case, so that a running node does not allocate.
    pub(crate) fn with_capacity(instances: usize) -> Self {
        Self {
            queue: VecDeque::with_capacity(8 * (instances + 1)),
            flips: Vec::with_capacity(2 * instances),
            transmit: 0,
            after: Vec::with_capacity(instances + 1),
            asks: Vec::with_capacity(8),
            announces: Vec::with_capacity(instances),
            reports: Vec::with_capacity(4 * (instances + 1)),
        }
    }

    pub(crate) fn claim(&mut self, vrid: Vrid, epoch: Epoch, answering: bool) {
        self.flips.push(Action::Claim {
            vrid,
            epoch,
            answering,
        });
    }

    /// Whatever was claimed before in this handler is not.
    pub(crate) fn release(&mut self, vrid: Vrid, drain: Option<Drain>) {
        self.flips.retain(
            |action| !matches!(action, Action::Claim { vrid: claimed, .. } if *claimed == vrid),
        );
        self.announces
            .retain(|action| *action != Action::Announce { vrid });
        self.flips.push(Action::Release { vrid, drain });
    }

    /// Whether this handler claims anything.
    pub(crate) fn claims(&self) -> bool {
        self.flips
            .iter()
            .any(|action| matches!(action, Action::Claim { .. }))
    }

    /// Begins a new lease: before anything is claimed under it.
    pub(crate) fn begin_lease(&mut self, until: Instant) {
        self.flips.push(Action::Lease { until, anew: true });
    }

    pub(crate) fn transmit(&mut self) {
        self.transmit = self.transmit.max(1);
    }

    /// One of the two may be lost.
    pub(crate) const fn transmit_twice(&mut self) {
        self.transmit = 2;
    }

    /// Ends the lease earlier: before anything is sent.
    pub(crate) fn shorten_lease(&mut self, until: Instant) {
        self.flips.push(Action::Lease { until, anew: false });
    }

    pub(crate) fn renew_lease(&mut self, until: Instant) {
        self.after.push(Action::Lease { until, anew: false });
    }

    pub(crate) fn announce(&mut self, vrid: Vrid) {
        self.announces.push(Action::Announce { vrid });
    }

    pub(crate) fn session(&mut self, peer: NodeAddress, incarnation: Incarnation, key_id: u8) {
        self.asks.push(Action::Session {
            peer,
            incarnation,
            key_id,
        });
    }

    pub(crate) fn probe(&mut self, peer: NodeAddress, vrids: [u8; PROBED_INSTANCES]) {
        self.asks.push(Action::Probe { peer, vrids });
    }

    pub(crate) fn report(&mut self, report: Report) {
        self.reports.push(Action::Report(report));
    }

    /// Ends a handler.
    pub(crate) fn flush(&mut self) {
        // Releases first: a node never has more than it should, not even between two actions.
        self.flips.sort_by_key(|action| match action {
            Action::Release { .. } => 0,
            Action::Lease { .. } => 1,
            Action::Claim { .. }
            | Action::Probe { .. }
            | Action::Session { .. }
            | Action::Transmit
            | Action::Announce { .. }
            | Action::Report(_) => 2,
        });
        self.queue.extend(self.flips.drain(..));
        for _ in 0..core::mem::take(&mut self.transmit) {
            self.queue.push_back(Action::Transmit);
        }
        self.queue.extend(self.after.drain(..));
        self.queue.extend(self.announces.drain(..));
        self.queue.extend(self.asks.drain(..));
        self.queue.extend(self.reports.drain(..));
    }

    pub(crate) fn pop(&mut self) -> Option<Action> {
        self.queue.pop_front()
    }
}
