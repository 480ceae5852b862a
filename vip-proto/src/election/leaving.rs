//! How an instance stops being Active on this node, other than by a completed hand-over.

use core::time::Duration;

use super::input::Context;
use super::state::{Departure, Election};
use super::{State, TransitionReason};
use crate::node::outbox::Outbox;
use crate::node::{Drain, LinkState};

/// How long an instance stays out after its data plane failed.
const DATAPLANE_RETRY: Duration = Duration::from_secs(1);
/// How long it stays out after it has yielded to somebody outside the cluster.
const YIELD_RETRY: Duration = Duration::from_mins(1);

impl Election {
    pub(super) fn lease_ended(&mut self, ctx: &Context<'_>, out: &mut Outbox) {
        if self.state == State::Active {
            self.step_down(State::Backup, TransitionReason::LeaseExpired, ctx, out);
        }
    }

    pub(super) fn link_changed(&mut self, link: LinkState, ctx: &Context<'_>, out: &mut Outbox) {
        if core::mem::replace(&mut self.link, link) == link || !self.started {
            return;
        }
        let (state, reason) = match link {
            LinkState::Up => (State::Backup, TransitionReason::LinkUp),
            LinkState::Down => (State::Backup, TransitionReason::LinkDown),
            LinkState::Gone => (State::Initialize, TransitionReason::LinkGone),
        };
        self.alone_until = (link == LinkState::Up).then_some(ctx.now + ctx.alone_delay);
        if self.state == State::Active {
            self.step_down(state, reason, ctx, out);
        } else {
            self.enter(state, reason, ctx, out);
            self.wait_afresh(ctx);
            out.transmit();
        }
    }

    pub(super) fn dataplane_failed(&mut self, ctx: &Context<'_>, out: &mut Outbox) {
        self.retry_at = Some(ctx.now + DATAPLANE_RETRY);
        match self.state {
            State::Active => {
                self.step_down(State::Backup, TransitionReason::DataplaneFailed, ctx, out);
            }
            State::Backup => {
                self.wait_afresh(ctx);
                out.transmit();
            }
            State::Initialize => {}
        }
    }

    pub(super) fn foreign_claim(&mut self, ctx: &Context<'_>, out: &mut Outbox) {
        if self.state == State::Active {
            self.retry_at = Some(ctx.now + YIELD_RETRY);
            self.step_down(State::Backup, TransitionReason::Conflict, ctx, out);
        }
    }

    /// What this node is Active for stays as it is; for all else it is as good as gone.
    pub(super) fn restart(&mut self, ctx: &Context<'_>, out: &mut Outbox) {
        self.handover = None;
        if self.state != State::Active || self.accepting.is_some() {
            self.stop_at_once(ctx, out);
        }
    }

    /// Hands over first, where somebody is ready; told again, it does not wait.
    pub(super) fn shut_down(&mut self, ctx: &Context<'_>, out: &mut Outbox) {
        let again = core::mem::replace(&mut self.stopping, true);
        let invited = self.handover.map(|handover| handover.to);
        let successor = invited.or_else(|| ctx.peers.successor());
        match (successor, &mut self.accepting) {
            // The other one may be about to release: it gets the instance back after that.
            (_, Some(accepting)) if !again => {
                accepting.until = Some(ctx.now + ctx.pace.handover());
            }
            (Some(to), None) if self.state == State::Active && !again => {
                self.hand_over(to, TransitionReason::Shutdown, ctx, out);
            }
            _ => self.stop_at_once(ctx, out),
        }
    }

    pub(super) fn stop_at_once(&mut self, ctx: &Context<'_>, out: &mut Outbox) {
        self.stopping = true;
        if self.state == State::Active {
            self.step_down(State::Initialize, TransitionReason::Shutdown, ctx, out);
        } else {
            self.stopped = true;
            self.enter(State::Initialize, TransitionReason::Shutdown, ctx, out);
            self.wait_afresh(ctx);
            out.transmit();
        }
    }

    /// Stops being Active at once, in favour of whoever takes part in a hand-over, else of the best.
    pub(super) fn step_down(
        &mut self,
        state: State,
        reason: TransitionReason,
        ctx: &Context<'_>,
        out: &mut Outbox,
    ) {
        let invited = self.handover.map(|handover| handover.to.incarnation);
        let giver = self.followed.filter(|_| self.accepting.is_some());
        let partner = invited.or_else(|| giver.map(|active| active.incarnation));
        // Whoever follows this node has counted on while the lease was over: nobody may be made to
        // claim now.
        let too_late = reason == TransitionReason::LeaseExpired;
        let best = || ctx.peers.successor().filter(|_| !too_late);
        let successor = partner.or_else(|| best().map(|best| best.incarnation));
        self.departure = Some(Departure {
            successor,
            invites: !too_late,
            until: ctx.now + ctx.pace.departure(),
        });
        self.release(state, reason, None, ctx, out);
        self.wait_last(ctx.pace, ctx);
    }

    /// Stops being Active. Whoever is stopping has stopped then.
    pub(super) fn release(
        &mut self,
        state: State,
        reason: TransitionReason,
        drain: Option<Drain>,
        ctx: &Context<'_>,
        out: &mut Outbox,
    ) {
        self.handover = None;
        self.accepting = None;
        self.stopped |= self.stopping;
        out.release(self.config.vrid, drain);
        out.transmit();
        let state = if self.stopped {
            State::Initialize
        } else {
            state
        };
        self.enter(state, reason, ctx, out);
    }
}
