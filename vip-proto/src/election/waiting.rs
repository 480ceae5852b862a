//! A Backup's wait: how long, who goes before, and when the turn has come.

use core::time::Duration;

use super::State;
use super::input::{Context, Heard};
use super::state::{Election, Wait};
use super::timing::Pace;
use crate::Instant;
use crate::node::outbox::Outbox;

impl Election {
    /// The usual claim comes at the deadline, with nobody going before. After any other wait the
    /// nodes' orders may be out of step, so the intent is stated first, and the better one goes on.
    pub(super) fn turn_may_have_come(&mut self, wait: Wait, ctx: &Context<'_>, out: &mut Outbox) {
        // After a stall the news may still wait in a queue: look again once it has been read.
        let due = self.due(&wait, ctx).max(ctx.stalled_until);
        let intent = ctx.peers.best_intent();
        let again = ctx.now + wait.pace.slower(ctx.pace).intent();
        if ctx.now < due {
            self.wait = Some(Wait {
                check_at: due,
                deferred: true,
                intends: false,
                ..wait
            });
        } else if wait.intends && intent.is_none_or(|best| best < self.claim(ctx))
            || !(wait.intends || wait.deferred || wait.yields || intent.is_some())
        {
            self.become_active(wait.reason, ctx, out);
        } else {
            let intends = !wait.intends && intent.is_none();
            self.wait = Some(Wait {
                check_at: again,
                deferred: true,
                intends,
                ..wait
            });
            out.transmit();
        }
    }

    /// When this node's turn comes, as things stand.
    pub(super) fn due(&self, wait: &Wait, ctx: &Context<'_>) -> Instant {
        let before = ctx.peers.candidates_before(self.claim(ctx), wait.heir);
        wait.deadline + wait.pace.slower(ctx.pace).rank_wait() * before
    }

    pub(super) fn candidates_changed(&mut self, ctx: &Context<'_>) {
        if let Some(wait) = self.wait.filter(|wait| wait.deferred) {
            // Nodes learn of this at different times: they begin to count again, in their order.
            let deadline = ctx.now + wait.pace.skew(self.config.priority);
            self.wait = Some(Wait {
                deadline,
                check_at: deadline,
                intends: false,
                ..wait
            });
        }
        // Somebody who cannot become Active has no timer that would end following a dead node.
        if self.wait.is_none()
            && self
                .followed
                .is_some_and(|active| !ctx.peers.present(active.peer))
        {
            self.unfollow();
        }
    }

    /// Ends the doubt whether this node is alone; a recording cannot, as long as it lasts.
    pub(super) fn somebody_is_there(&mut self, heard: &Heard, ctx: &Context<'_>) {
        let ends = |until: &mut Instant| heard.verified || ctx.now >= *until;
        if self.alone_until.take_if(ends).is_some() {
            let earlier = self.wait.filter(|_| !heard.verified);
            self.wait_afresh(ctx);
            self.wait = self.wait.map(|wait| wait.on_top_of(earlier));
        }
    }

    /// A full down interval from now, if this node takes part; longer as long as it is too early to
    /// believe that nobody is there.
    pub(super) fn wait_afresh(&mut self, ctx: &Context<'_>) {
        let pace = self.followed.map_or(ctx.pace, |active| active.pace);
        let down = pace.down_interval(self.config.priority);
        self.wait = (self.state == State::Backup && self.eligible()).then(|| {
            let alone = self
                .alone_until
                .map_or(Duration::ZERO, |until| until.saturating_since(ctx.now));
            Wait::new(ctx.now, down.max(alone), pace)
        });
        if self.wait.is_none() {
            self.requesting = false;
        }
    }

    /// As [`Self::wait_afresh`], and all candidates go first.
    pub(super) fn wait_last(&mut self, pace: Pace, ctx: &Context<'_>) {
        let down = pace.down_interval(self.config.priority);
        self.wait = (self.state == State::Backup && self.eligible()).then(|| Wait {
            yields: true,
            ..Wait::new(ctx.now, down, pace)
        });
    }
}
