//! Actions on their way out, in the order the contract promises.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::{Action, Report};
use crate::{Epoch, Instant, Vrid};

/// Collects what one handler wants done, then queues it in the promised order whatever the order in
/// which several instances asked: releases, claims, one advert, renewals, announcements, reports.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: VecDeque<Action>,
    flips: Vec<Action>,
    transmit: bool,
    after: Vec<Action>,
    announces: Vec<Action>,
    reports: Vec<Action>,
}

impl Outbox {
    /// Room for the usual case, so that a running node does not allocate.
    pub(crate) fn with_capacity(instances: usize) -> Self {
        Self {
            queue: VecDeque::with_capacity(8 * (instances + 1)),
            flips: Vec::with_capacity(2 * instances),
            transmit: false,
            after: Vec::with_capacity(instances),
            announces: Vec::with_capacity(instances),
            reports: Vec::with_capacity(4 * (instances + 1)),
        }
    }

    pub(crate) fn claim(&mut self, vrid: Vrid, epoch: Epoch, lease_until: Instant) {
        self.flips.push(Action::Claim {
            vrid,
            epoch,
            lease_until,
        });
    }

    pub(crate) fn release(&mut self, vrid: Vrid) {
        self.flips.push(Action::Release { vrid });
    }

    pub(crate) const fn transmit(&mut self) {
        self.transmit = true;
    }

    pub(crate) fn renew(&mut self, vrid: Vrid, lease_until: Instant) {
        self.after.push(Action::Renew { vrid, lease_until });
    }

    pub(crate) fn announce(&mut self, vrid: Vrid) {
        self.announces.push(Action::Announce { vrid });
    }

    pub(crate) fn report(&mut self, report: Report) {
        self.reports.push(Action::Report(report));
    }

    /// Ends a handler.
    pub(crate) fn flush(&mut self) {
        // Releases first: a node never has more than it should, not even between two actions.
        self.flips
            .sort_by_key(|action| !matches!(action, Action::Release { .. }));
        self.queue.extend(self.flips.drain(..));
        if core::mem::take(&mut self.transmit) {
            self.queue.push_back(Action::Transmit);
        }
        self.queue.extend(self.after.drain(..));
        self.queue.extend(self.announces.drain(..));
        self.queue.extend(self.reports.drain(..));
    }

    pub(crate) fn pop(&mut self) -> Option<Action> {
        self.queue.pop_front()
    }
}
