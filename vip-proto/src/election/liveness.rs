//! What the data plane of the node followed says, or does not say any more.

use super::input::{Answer, Context, Heard, Successor};
use super::state::{Election, Wait};
use super::{State, TransitionReason};
use crate::NodeAddress;
use crate::node::outbox::Outbox;

impl Election {
    /// Whose data plane this instance wants to be probed.
    pub(crate) fn watched(&self) -> Option<NodeAddress> {
        let watches =
            self.accepting.is_some() || (self.state == State::Backup && self.wait.is_some());
        self.followed
            .filter(|active| watches && active.verified)
            .map(|active| active.peer)
    }

    pub(super) fn answered(&mut self, answer: &Answer, ctx: &Context<'_>, out: &mut Outbox) {
        let Some(active) = self.followed.filter(|active| {
            self.watched() == Some(answer.peer) && active.incarnation == answer.incarnation
        }) else {
            return;
        };
        // Asked before the claim was known, the answer may be about what was before; asked long ago,
        // it may have been overtaken.
        let age = ctx.now.saturating_since(answer.sent);
        if answer.sent < active.since || age > ctx.pace.lateness() {
            return;
        }
        let released = answer.active == Some(false);
        if self.accepting.is_some() && (answer.lease_over || released) {
            self.relieve(active.who(), ctx);
            self.complete(ctx, out);
        } else if answer.lease_over {
            self.relieve(active.who(), ctx);
            self.verdict(TransitionReason::AgentDead, ctx, out);
        } else if answer.active == Some(true) {
            self.still_active(ctx);
        }
    }

    pub(super) fn node_dead(&mut self, peer: NodeAddress, ctx: &Context<'_>, out: &mut Outbox) {
        if self.watched() != Some(peer) {
            return;
        }
        if self.accepting.is_some() {
            self.complete(ctx, out);
        } else {
            self.verdict(TransitionReason::NodeDead, ctx, out);
        }
    }

    fn relieve(&mut self, who: Successor, ctx: &Context<'_>) {
        self.relieved = Some((who, ctx.now + ctx.pace.interval));
    }

    /// Whether this was said before the sender's data plane said the opposite.
    pub(super) fn is_outdated(&self, heard: &Heard, ctx: &Context<'_>) -> bool {
        let by = Successor::of(heard);
        heard.record.epoch < self.claimed
            && self
                .relieved
                .is_some_and(|(who, until)| who == by && ctx.now < until)
    }

    /// Its data plane acts for the instance: as good as an advert.
    fn still_active(&mut self, ctx: &Context<'_>) {
        self.wait = self.wait.map(|wait| {
            let down = wait.pace.down_interval(self.config.priority);
            let deadline = wait.deadline.max(ctx.now + down);
            Wait {
                deadline,
                check_at: deadline,
                reason: TransitionReason::ActiveDown,
                deferred: false,
                intends: false,
                ..wait
            }
        });
    }

    /// The node followed does not act for the instance any more: no need to wait longer, save for
    /// those who go before.
    fn verdict(&mut self, reason: TransitionReason, ctx: &Context<'_>, out: &mut Outbox) {
        let (Some(wait), Some(active)) = (self.wait, self.followed) else {
            return;
        };
        let passed = matches!(
            wait.reason,
            TransitionReason::NodeDead | TransitionReason::AgentDead
        );
        // Said before, or the down timer has ended already.
        if passed || wait.deferred {
            return;
        }
        if let Some(other) = ctx.peers.other_active(active.peer) {
            self.follow_instead(&other, ctx);
            return;
        }
        let due = if ctx.peers.only(active.peer) {
            ctx.now
        } else {
            self.settled_at.min(wait.deadline).max(ctx.now)
        };
        let wait = Wait {
            deadline: due,
            check_at: due,
            reason,
            heir: active.heir,
            ..wait
        };
        self.wait = Some(wait);
        if ctx.now >= due {
            self.turn_may_have_come(wait, ctx, out);
        }
    }
}
