//! What an election does with what it is told: all edges of the diagram in `docs/election.md`.

use super::input::{Context, Heard, Input, Successor};
use super::state::{Election, Followed, Wait};
use super::{State, TransitionReason};
use crate::native::Flags;
use crate::node::outbox::Outbox;
use crate::node::{LinkState, Report};
use crate::{Epoch, Incarnation, NodeAddress};

/// What others must know of this node, and it of whom it follows, before a claim may come sooner than
/// by the down timer.
type Standing = (bool, Option<(NodeAddress, Incarnation, Epoch)>);

impl Election {
    /// Takes one input. The only other way to change an election is [`Self::switchover`].
    pub(crate) fn handle(&mut self, input: Input, ctx: &Context<'_>, out: &mut Outbox) {
        if self.stopped {
            return;
        }
        let before = self.standing();
        self.take(input, ctx, out);
        if self.standing() != before {
            let pace = self.followed.map_or(ctx.pace, |active| active.pace);
            self.settled_at = ctx.now + pace.slower(ctx.pace).silence();
        }
    }

    fn take(&mut self, input: Input, ctx: &Context<'_>, out: &mut Outbox) {
        match input {
            Input::Woken => self.woken(ctx, out),
            Input::Started => self.start(ctx, out),
            Input::Heard(heard) => self.heard(&heard, ctx, out),
            Input::Echo(answer) => self.answered(&answer, ctx, out),
            Input::NodeDead(peer) => self.node_dead(peer, ctx, out),
            Input::Timeout => self.timed_out(ctx, out),
            Input::LeaseEnded => self.lease_ended(ctx, out),
            Input::CandidatesChanged => self.candidates_changed(ctx),
            Input::Link(link) => self.link_changed(link, ctx, out),
            Input::DataplaneFailed => self.dataplane_failed(ctx, out),
            Input::ForeignClaim => self.foreign_claim(ctx, out),
            Input::Resumed(epoch) => self.resume(epoch, ctx, out),
            Input::Restart => self.restart(ctx, out),
            Input::Shutdown => self.shut_down(ctx, out),
        }
    }

    fn standing(&self) -> Standing {
        let insists = self.wait.is_some_and(|wait| !wait.yields);
        let active = self.followed;
        (
            self.state == State::Backup && insists,
            active.map(|active| (active.peer, active.incarnation, active.epoch)),
        )
    }

    /// Before anything else is decided: a turn that was slept through is lost.
    fn woken(&mut self, ctx: &Context<'_>, out: &mut Outbox) {
        // Who accepts has claimed already.
        if let Some(wait) = self.wait.filter(|_| self.accepting.is_none())
            && ctx.now > wait.check_at + ctx.pace.lateness()
        {
            self.wait_last(wait.pace, ctx);
            out.transmit();
        }
    }

    fn start(&mut self, ctx: &Context<'_>, out: &mut Outbox) {
        if core::mem::replace(&mut self.started, true) {
            return;
        }
        match self.link {
            LinkState::Up | LinkState::Down => {
                self.enter(State::Backup, TransitionReason::Started, ctx, out);
            }
            LinkState::Gone => self.reason = TransitionReason::LinkGone,
        }
        self.alone_until = Some(ctx.now + ctx.alone_delay);
        self.wait_afresh(ctx);
        out.transmit();
    }

    fn heard(&mut self, heard: &Heard, ctx: &Context<'_>, out: &mut Outbox) {
        self.somebody_is_there(heard, ctx);
        let known = self.epoch;
        if heard.verified {
            self.epoch = known.max(heard.record.epoch);
            if self.epoch > known {
                // Somebody has claimed since: whom this node named has had its turn.
                self.departure = None;
            }
        }
        match self.state {
            State::Initialize => self.observe(heard, ctx),
            State::Active if heard.verified => self.heard_while_active(known, heard, ctx, out),
            State::Backup if heard.claims() => self.heard_active(known, heard, ctx, out),
            State::Backup if heard.verified => self.heard_backup(known, heard, ctx, out),
            State::Active | State::Backup => {}
        }
    }

    /// A verified peer, heard while Active. `known`: the highest epoch before this was heard.
    fn heard_while_active(
        &mut self,
        known: Epoch,
        heard: &Heard,
        ctx: &Context<'_>,
        out: &mut Outbox,
    ) {
        let invited = self.handover.map(|handover| handover.to);
        let predecessor = self.followed.is_some_and(|active| active.is(heard));
        if let Some(accepting) = self.accepting.filter(|_| predecessor) {
            self.predecessor_heard(accepting, heard, ctx, out);
        } else if self.is_taken_over_by(heard) {
            self.handed_over(heard, ctx, out);
        } else if heard.claims() && !self.is_outdated(heard, ctx) {
            // What counts is the epoch of the own claim, not what was just heard.
            self.epoch = known;
            self.meet_active(heard, ctx, out);
        } else if invited == Some(Successor::of(heard)) {
            if heard.record.priority == 0 || heard.record.state == State::Initialize {
                self.handover_refused(ctx, out);
            }
        } else if self.is_outranked_by(heard, ctx) {
            let to = Successor::of(heard);
            self.hand_over(to, TransitionReason::Preempted, ctx, out);
        } else if invited.is_none()
            && heard.record.successor == Some(ctx.incarnation)
            && heard.record.epoch > self.claimed
        {
            // It was Active besides, and has given way before this node heard of it: neighbours may
            // have followed it.
            self.epoch = self.epoch.next();
            self.renew_claim(out);
        }
    }

    /// A peer that is Active, heard while Backup.
    fn heard_active(&mut self, known: Epoch, heard: &Heard, ctx: &Context<'_>, out: &mut Outbox) {
        self.follow(heard, ctx);
        if self.eligible() {
            let earlier = self.wait.filter(|_| !heard.verified);
            self.wait = Some(self.down_timer(heard, ctx).on_top_of(earlier));
        }
        if heard.verified
            && heard.hands_over_to(ctx.incarnation)
            && self.followed.is_some_and(|active| active.is(heard))
            && self.is_named_by(known, heard, ctx)
        {
            self.accept(ctx, out);
        }
        self.update_request(ctx, out);
    }

    /// A verified peer that is not Active, heard while Backup.
    fn heard_backup(&mut self, known: Epoch, heard: &Heard, ctx: &Context<'_>, out: &mut Outbox) {
        let invites = !heard.record.flags.contains(Flags::HANDOVER);
        if invites && self.is_named_by(known, heard, ctx) {
            self.become_active(TransitionReason::Successor, ctx, out);
        } else if self
            .followed
            .is_some_and(|active| active.verified && active.is(heard))
        {
            self.active_left(heard, ctx);
        } else if heard.record.epoch > known && self.wait.is_some() {
            // Somebody has claimed since, and this node has not heard it yet.
            let pace = heard.pace.slower(ctx.pace);
            let down = pace.down_interval(self.config.priority);
            let heir = heard.record.successor;
            self.wait = Some(Wait {
                heir,
                ..Wait::new(ctx.now, down, pace)
            });
        }
    }

    /// Whether a peer that knows of no less than this node names it, and it can follow that.
    fn is_named_by(&self, known: Epoch, heard: &Heard, ctx: &Context<'_>) -> bool {
        let following_another = self
            .followed
            .is_some_and(|active| active.peer != heard.peer);
        heard.record.successor == Some(ctx.incarnation)
            && heard.record.epoch >= known
            && !following_another
            && self.eligible()
            && ctx.now >= ctx.stalled_until
    }

    /// Keeps track of the Active node without taking part.
    fn observe(&mut self, heard: &Heard, ctx: &Context<'_>) {
        if heard.claims() {
            self.follow(heard, ctx);
        } else if self.followed.is_some_and(|active| active.is(heard)) {
            self.followed = None;
        }
    }

    /// Takes the sender for the Active node, unless one with a later claim is known.
    pub(super) fn follow(&mut self, heard: &Heard, ctx: &Context<'_>) {
        let before = self
            .followed
            .filter(|active| ctx.peers.present(active.peer));
        if before.is_some_and(|active| {
            active.peer != heard.peer
                && (active.verified, active.epoch) > (heard.verified, heard.record.epoch)
        }) {
            return;
        }
        let same = before.is_some_and(|active| active.peer == heard.peer);
        let known = self
            .followed
            .filter(|active| active.is(heard) && active.epoch == heard.record.epoch);
        self.followed = Some(Followed {
            since: known.map_or(ctx.now, |active| active.since),
            ..Followed::new(heard, ctx.now)
        });
        self.departure = None;
        let outranks = heard.verified && heard.record.priority < self.config.priority.get();
        self.outranks_since = match self.outranks_since {
            Some(since) if same && outranks => Some(since),
            _ => outranks.then_some(ctx.now),
        };
    }

    /// The Active node has said that it no longer is.
    fn active_left(&mut self, heard: &Heard, ctx: &Context<'_>) {
        let left = self
            .followed
            .map_or(heard.record.epoch, |active| active.epoch);
        self.unfollow();
        if !self.eligible() {
            return;
        }
        if let Some(other) = ctx.peers.other_active(heard.peer) {
            self.follow_instead(&other, ctx);
            return;
        }
        let pace = heard.pace;
        let (skew, down) = (
            pace.skew(self.config.priority),
            pace.down_interval(self.config.priority),
        );
        self.wait = Some(match heard.record.successor {
            // What was read may be old, and others may have claimed meanwhile.
            _ if ctx.now < ctx.stalled_until => Wait {
                yields: true,
                ..Wait::new(ctx.now, down, pace)
            },
            Some(heir) => Wait {
                heir: Some(heir),
                ..Wait::new(ctx.now, down, pace)
            },
            // It knows of a later claim: somebody is Active already.
            None if heard.record.epoch > left => Wait::new(ctx.now, down, pace),
            // RFC 9568 §6.4.2: priority 0 sets the timer to Skew_Time.
            None => {
                let reason = TransitionReason::ActiveLeft;
                Wait {
                    reason,
                    ..Wait::new(ctx.now, skew, pace)
                }
            }
        });
    }

    /// Another peer says that it is Active: so it is the one to wait for.
    pub(super) fn follow_instead(&mut self, other: &Heard, ctx: &Context<'_>) {
        self.unfollow();
        self.follow(other, ctx);
        let down = other.pace.down_interval(self.config.priority) + other.grace;
        self.wait = Some(Wait::new(ctx.now, down, other.pace));
    }

    /// Whether the peer asks this node to hand over, with reason.
    fn is_outranked_by(&self, heard: &Heard, ctx: &Context<'_>) -> bool {
        self.handover.is_none()
            && self.accepting.is_none()
            && ctx.now >= self.unpreempted_until
            && heard.record.flags.contains(Flags::REQUEST)
            && heard.record.state == State::Backup
            && heard.record.priority > self.config.priority.get()
    }

    /// Two nodes are Active: the better one keeps the instance, the other releases it at once.
    fn meet_active(&mut self, heard: &Heard, ctx: &Context<'_>, out: &mut Outbox) {
        let kept = self.claim(ctx) > heard.claim();
        let known = self.conflict.is_some_and(|(peer, last)| {
            peer == heard.peer && ctx.now.saturating_since(last) < heard.pace.silence()
        });
        self.conflict = Some((heard.peer, ctx.now));
        if !known || !kept {
            out.report(Report::SplitBrain {
                vrid: self.config.vrid,
                peer: heard.peer,
                kept,
            });
        }
        if !kept {
            self.leave_to(heard, TransitionReason::LostConflict, None, ctx, out);
            return;
        }
        if heard.record.epoch >= self.epoch {
            self.epoch = heard.record.epoch.next();
            self.renew_claim(out);
        } else if !known {
            out.transmit();
            self.announce(out);
        }
    }

    fn timed_out(&mut self, ctx: &Context<'_>, out: &mut Outbox) {
        if self
            .departure
            .is_some_and(|departure| ctx.now >= departure.until)
        {
            self.departure = None;
        }
        if self.retry_at.is_some_and(|at| ctx.now >= at) {
            self.retry_at = None;
            self.wait_afresh(ctx);
            out.transmit();
        }
        if self
            .handover
            .is_some_and(|handover| ctx.now >= handover.until)
        {
            self.give_up_handover(ctx, out);
        }
        if self
            .accepting
            .and_then(|accepting| accepting.until)
            .is_some_and(|until| ctx.now >= until)
        {
            self.stop_at_once(ctx, out);
        }
        match self.wait.filter(|wait| ctx.now >= wait.check_at) {
            Some(wait) if self.accepting.is_some() => self.predecessor_silent(wait, ctx, out),
            Some(wait) => self.turn_may_have_come(wait, ctx, out),
            None => {}
        }
        self.update_request(ctx, out);
    }

    /// Active from the start, under a claim that the data plane has kept.
    fn resume(&mut self, epoch: Epoch, ctx: &Context<'_>, out: &mut Outbox) {
        self.started = true;
        self.epoch = epoch;
        self.claimed = epoch;
        self.enter(State::Active, TransitionReason::Resumed, ctx, out);
    }

    pub(super) fn become_active(
        &mut self,
        reason: TransitionReason,
        ctx: &Context<'_>,
        out: &mut Outbox,
    ) {
        self.epoch = self.epoch.next();
        self.wait = None;
        self.departure = None;
        self.held = false;
        self.unfollow();
        self.renew_claim(out);
        self.enter(State::Active, reason, ctx, out);
    }

    /// Claims the instance under the current epoch and tells everybody.
    fn renew_claim(&mut self, out: &mut Outbox) {
        self.claimed = self.epoch;
        let answering = self.accepting.is_none();
        out.claim(self.config.vrid, self.epoch, answering);
        out.transmit();
        self.announce(out);
    }

    /// The neighbours hear only of who answers.
    fn announce(&self, out: &mut Outbox) {
        if self.accepting.is_none() {
            out.announce(self.config.vrid);
        }
    }

    pub(super) fn unfollow(&mut self) {
        self.followed = None;
        self.outranks_since = None;
        self.requesting = false;
    }

    /// Asks for preemption once its conditions have held for long enough.
    pub(super) fn update_request(&mut self, ctx: &Context<'_>, out: &mut Outbox) {
        if self.outranks_since.is_none() || !self.may_preempt() {
            self.requesting = false;
        } else if self.request_at().is_some_and(|at| ctx.now >= at) {
            self.requesting = true;
            out.transmit();
        }
    }

    pub(super) fn enter(
        &mut self,
        state: State,
        reason: TransitionReason,
        ctx: &Context<'_>,
        out: &mut Outbox,
    ) {
        self.reason = reason;
        let from = core::mem::replace(&mut self.state, state);
        if from != state {
            self.since = ctx.now;
            let (vrid, epoch) = (self.config.vrid, self.epoch);
            out.report(Report::Transition {
                vrid,
                from,
                to: state,
                reason,
                epoch,
            });
        }
    }
}
