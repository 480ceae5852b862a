//! Make before break: the successor claims while the Active node still answers.
//!
//! The Active node says HANDOVER and names a successor; that one claims without answering
//! (*accepting*); the Active node hears of it, releases, and sends stray packets on; the successor
//! hears of that and answers. Wherever it stops, one of the two goes on: see `docs/election.md`.

use core::time::Duration;

use super::input::{Context, Heard, Successor};
use super::state::{Departure, Election, Wait};
use super::{Refusal, State, TransitionReason};
use crate::node::outbox::Outbox;
use crate::node::{Drain, Report};
use crate::{Instant, NodeAddress};

/// How long nobody preempts a node after a preempting one has not taken over.
const PREEMPTION_RETRY: Duration = Duration::from_secs(10);

/// What the Active node waits for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Handover {
    /// Who is to claim.
    pub(super) to: Successor,
    /// Why it is handed over.
    pub(super) reason: TransitionReason,
    /// When it is given up.
    pub(super) until: Instant,
}

/// A claim that leaves answering to the node followed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Accepting {
    /// When it was made.
    pub(super) since: Instant,
    /// When this node stops, whatever has become of it; `None`: it does not stop.
    pub(super) until: Option<Instant>,
}

impl Election {
    /// Hands over because the operator says so.
    pub(crate) fn switchover(
        &mut self,
        to: Option<NodeAddress>,
        ctx: &Context<'_>,
        out: &mut Outbox,
    ) -> Result<(), Refusal> {
        if self.state != State::Active || self.accepting.is_some() {
            let active = self.followed.map(|followed| followed.peer);
            return Err(Refusal::NotActive { active });
        }
        if let Some(handover) = self.handover {
            let peer = handover.to.peer;
            return match to {
                Some(to) if to != peer => Err(Refusal::HandingOver { to: peer }),
                _ => Ok(()),
            };
        }
        let successor = match to {
            Some(peer) => ctx.peers.ready(peer).ok_or(Refusal::PeerNotReady)?,
            None => ctx.peers.successor().ok_or(Refusal::NoPeer)?,
        };
        self.hand_over(successor, TransitionReason::Switchover, ctx, out);
        Ok(())
    }

    /// Invites the successor; nothing changes until it has claimed.
    pub(super) fn hand_over(
        &mut self,
        to: Successor,
        reason: TransitionReason,
        ctx: &Context<'_>,
        out: &mut Outbox,
    ) {
        self.handover = Some(Handover {
            to,
            reason,
            until: ctx.now + ctx.pace.handover(),
        });
        out.transmit();
    }

    /// Whether this is the successor's claim.
    pub(super) fn is_taken_over_by(&self, heard: &Heard) -> bool {
        let to = Some(Successor::of(heard));
        heard.claims()
            && self.handover.map(|handover| handover.to) == to
            && heard.record.epoch > self.claimed
    }

    /// The successor has claimed: it has the instance, this node sends on what still comes.
    pub(super) fn handed_over(&mut self, heard: &Heard, ctx: &Context<'_>, out: &mut Outbox) {
        let reason = self
            .handover
            .map_or(TransitionReason::Switchover, |handover| handover.reason);
        self.held |= reason == TransitionReason::Switchover;
        let mac = heard.record.mac;
        let drains = mac != [0; 6] && !ctx.drain.is_zero();
        let drain = drains.then(|| Drain {
            mac,
            until: ctx.now + ctx.drain,
        });
        self.leave_to(heard, reason, drain, ctx, out);
    }

    /// Releases in favour of a node that is Active, and follows it.
    pub(super) fn leave_to(
        &mut self,
        heard: &Heard,
        reason: TransitionReason,
        drain: Option<Drain>,
        ctx: &Context<'_>,
        out: &mut Outbox,
    ) {
        self.release(State::Backup, reason, drain, ctx, out);
        self.epoch = self.epoch.max(heard.record.epoch);
        self.follow(heard, ctx);
        // Who follows this node learns at once whom to follow now.
        self.departure = Some(Departure {
            successor: Some(heard.incarnation),
            // It has claimed already; if it leaves again soon, nobody may call it back by this.
            invites: false,
            until: ctx.now + ctx.pace.departure(),
        });
        self.wait_afresh(ctx);
    }

    /// The successor cannot claim: a node that stops leaves to another.
    pub(super) fn handover_refused(&mut self, ctx: &Context<'_>, out: &mut Outbox) {
        if self.stopping {
            self.handover = None;
            self.step_down(State::Initialize, TransitionReason::Shutdown, ctx, out);
        } else {
            self.give_up_handover(ctx, out);
        }
    }

    /// The successor was not heard to claim: a node that stops leaves now, and names it, for it may
    /// have claimed; another stays Active.
    pub(super) fn give_up_handover(&mut self, ctx: &Context<'_>, out: &mut Outbox) {
        if self.stopping {
            self.step_down(State::Initialize, TransitionReason::Shutdown, ctx, out);
            return;
        }
        let Some(handover) = self.handover.take() else {
            return;
        };
        if handover.reason == TransitionReason::Preempted {
            self.unpreempted_until = ctx.now + PREEMPTION_RETRY;
        }
        let (vrid, peer) = (self.config.vrid, handover.to.peer);
        out.report(Report::HandoverFailed { vrid, peer });
        out.transmit();
    }

    /// Claims what the node followed hands over, and leaves answering to it.
    pub(super) fn accept(&mut self, ctx: &Context<'_>, out: &mut Outbox) {
        self.epoch = self.epoch.next();
        self.claimed = self.epoch;
        self.accepting = Some(Accepting {
            since: ctx.now,
            until: None,
        });
        self.departure = None;
        self.outranks_since = None;
        self.requesting = false;
        out.claim(self.config.vrid, self.claimed, false);
        out.transmit();
        self.enter(State::Active, TransitionReason::Successor, ctx, out);
    }

    /// The other one does not answer any more. Who stops hands the instance back to it.
    pub(super) fn complete(&mut self, ctx: &Context<'_>, out: &mut Outbox) {
        let giver = self.followed.map(|active| active.who());
        self.accepting = None;
        self.wait = None;
        self.held = false;
        self.unfollow();
        out.claim(self.config.vrid, self.claimed, true);
        out.announce(self.config.vrid);
        if let Some(giver) = giver.filter(|_| self.stopping) {
            self.hand_over(giver, TransitionReason::Shutdown, ctx, out);
        }
    }

    /// While accepting: what the node says that hands over.
    pub(super) fn predecessor_heard(
        &mut self,
        accepting: Accepting,
        heard: &Heard,
        ctx: &Context<'_>,
        out: &mut Outbox,
    ) {
        // It knows of a later claim than this node's: its own, or another's.
        if heard.record.epoch > self.claimed {
            self.give_back(heard, ctx, out);
        } else if heard.record.state != State::Active {
            self.complete(ctx, out);
        } else if !heard.hands_over_to(ctx.incarnation)
            && ctx.now.saturating_since(accepting.since) > ctx.pace.silence()
        {
            // It has given up, and does not hear this node.
            self.give_back(heard, ctx, out);
        } else {
            let wait = self.down_timer(heard, ctx);
            self.wait = Some(wait);
        }
    }

    /// While accepting: the node that hands over has been silent for longer than its lease.
    pub(super) fn predecessor_silent(&mut self, wait: Wait, ctx: &Context<'_>, out: &mut Outbox) {
        if ctx.now < ctx.stalled_until {
            // What it says may still wait in a queue.
            let check_at = ctx.stalled_until;
            self.wait = Some(Wait { check_at, ..wait });
        } else {
            self.complete(ctx, out);
        }
    }

    fn give_back(&mut self, heard: &Heard, ctx: &Context<'_>, out: &mut Outbox) {
        if heard.claims() {
            self.leave_to(heard, TransitionReason::LostConflict, None, ctx, out);
        } else {
            self.release(
                State::Backup,
                TransitionReason::LostConflict,
                None,
                ctx,
                out,
            );
            self.epoch = self.epoch.max(heard.record.epoch);
            self.unfollow();
            self.wait_afresh(ctx);
        }
    }

    /// A full down interval from an advert of the Active node.
    pub(super) fn down_timer(&self, heard: &Heard, ctx: &Context<'_>) -> Wait {
        let pace = heard
            .pace
            .slower(ctx.pace.with_interval(heard.pace.interval));
        let down = pace.down_interval(self.config.priority) + heard.grace;
        Wait {
            heir: self.followed.and_then(|active| active.heir),
            ..Wait::new(ctx.now, down, pace)
        }
    }
}
