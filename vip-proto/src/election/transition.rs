//! What an election does with what it is told: all edges of the diagram in `docs/election.md`.

use core::time::Duration;

use super::input::{Context, Heard, Input};
use super::state::{Departure, Election, Followed, Wait};
use super::{Refusal, State, TransitionReason};
use crate::native::Flags;
use crate::node::outbox::Outbox;
use crate::node::{LinkState, Report};
use crate::{Incarnation, NodeAddress};

/// How long an instance stays out after its data plane failed.
const DATAPLANE_RETRY: Duration = Duration::from_secs(1);

impl Election {
    /// Takes one input. The only other way to change an election is [`Self::switchover`].
    pub(crate) fn handle(&mut self, input: Input, ctx: &Context<'_>, out: &mut Outbox) {
        if self.stopped {
            return;
        }
        match input {
            Input::Woken => self.woken(ctx, out),
            Input::Started => self.start(ctx, out),
            Input::Heard(heard) => self.heard(&heard, ctx, out),
            Input::Timeout => self.timed_out(ctx, out),
            Input::LeaseEnded => self.lease_ended(ctx, out),
            Input::CandidatesChanged => self.candidates_changed(ctx),
            Input::Link(link) => self.link_changed(link, ctx, out),
            Input::DataplaneFailed => self.dataplane_failed(ctx, out),
            Input::Shutdown => self.shut_down(ctx, out),
        }
    }

    /// Hands over because the operator says so.
    pub(crate) fn switchover(
        &mut self,
        to: Option<NodeAddress>,
        ctx: &Context<'_>,
        out: &mut Outbox,
    ) -> Result<(), Refusal> {
        if self.state != State::Active {
            let active = self.followed.map(|followed| followed.peer);
            return Err(Refusal::NotActive { active });
        }
        let successor = match to {
            Some(peer) => ctx.peers.ready(peer).ok_or(Refusal::PeerNotReady)?,
            None => ctx.peers.successor().ok_or(Refusal::NoPeer)?,
        };
        self.held = true;
        self.step_down(
            State::Backup,
            TransitionReason::Switchover,
            Some(successor),
            ctx,
            out,
        );
        Ok(())
    }

    fn lease_ended(&mut self, ctx: &Context<'_>, out: &mut Outbox) {
        if self.state == State::Active {
            // Whoever follows this node has counted on for a while: no successor may be named now.
            self.step_down(
                State::Backup,
                TransitionReason::LeaseExpired,
                None,
                ctx,
                out,
            );
        }
    }

    /// Before anything else is decided: a turn that was slept through is lost.
    fn woken(&mut self, ctx: &Context<'_>, out: &mut Outbox) {
        if let Some(wait) = self.wait
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
            State::Active => {
                if heard.verified && heard.claims() {
                    // What counts is the epoch of the own claim, not what was just heard.
                    self.epoch = known;
                    self.meet_active(heard, ctx, out);
                } else if heard.verified && self.is_outranked_by(heard) {
                    let successor = Some(heard.incarnation);
                    self.step_down(
                        State::Backup,
                        TransitionReason::Preempted,
                        successor,
                        ctx,
                        out,
                    );
                }
            }
            State::Backup if heard.claims() => {
                self.follow(heard, ctx);
                if self.eligible() {
                    let pace = heard
                        .pace
                        .slower(ctx.pace.with_interval(heard.pace.interval));
                    let down = pace.down_interval(self.config.priority);
                    let earlier = self.wait.filter(|_| !heard.verified);
                    let wait = Wait::new(ctx.now, down, pace);
                    self.wait = Some(wait.on_top_of(earlier));
                }
                self.update_request(ctx, out);
            }
            State::Backup if heard.verified => {
                let following_another = self
                    .followed
                    .is_some_and(|active| active.peer != heard.peer);
                let named = heard.record.successor == Some(ctx.incarnation)
                    && heard.record.epoch >= known
                    && !following_another;
                if named && self.eligible() && ctx.now >= ctx.stalled_until {
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
            State::Backup => {}
        }
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
    fn follow(&mut self, heard: &Heard, ctx: &Context<'_>) {
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
        self.followed = Some(Followed::new(heard));
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
            self.follow(&other, ctx);
            let down = other.pace.down_interval(self.config.priority);
            self.wait = Some(Wait::new(ctx.now, down, other.pace));
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

    fn is_outranked_by(&self, heard: &Heard) -> bool {
        heard.record.flags.contains(Flags::REQUEST)
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
            self.step_down(
                State::Backup,
                TransitionReason::LostConflict,
                None,
                ctx,
                out,
            );
            self.epoch = self.epoch.max(heard.record.epoch);
            self.follow(heard, ctx);
            // Who follows this node learns at once whom to follow now.
            let until = ctx.now + ctx.pace.departure();
            self.departure = Some(Departure {
                successor: Some(heard.incarnation),
                until,
            });
            self.wait_afresh(ctx);
            return;
        }
        if heard.record.epoch >= self.epoch {
            self.epoch = heard.record.epoch.next();
            self.renew_claim(out);
        } else if !known {
            out.transmit();
            out.announce(self.config.vrid);
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
        if let Some(wait) = self.wait.filter(|wait| ctx.now >= wait.check_at) {
            self.turn_may_have_come(wait, ctx, out);
        }
        self.update_request(ctx, out);
    }

    fn link_changed(&mut self, link: LinkState, ctx: &Context<'_>, out: &mut Outbox) {
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
            self.step_down(state, reason, ctx.peers.successor(), ctx, out);
        } else {
            self.enter(state, reason, ctx, out);
            self.wait_afresh(ctx);
            out.transmit();
        }
    }

    fn dataplane_failed(&mut self, ctx: &Context<'_>, out: &mut Outbox) {
        self.retry_at = Some(ctx.now + DATAPLANE_RETRY);
        match self.state {
            State::Active => {
                let successor = ctx.peers.successor();
                self.step_down(
                    State::Backup,
                    TransitionReason::DataplaneFailed,
                    successor,
                    ctx,
                    out,
                );
            }
            State::Backup => {
                self.wait_afresh(ctx);
                out.transmit();
            }
            State::Initialize => {}
        }
    }

    fn shut_down(&mut self, ctx: &Context<'_>, out: &mut Outbox) {
        self.stopped = true;
        if self.state == State::Active {
            let successor = ctx.peers.successor();
            self.step_down(
                State::Initialize,
                TransitionReason::Shutdown,
                successor,
                ctx,
                out,
            );
        } else {
            self.enter(State::Initialize, TransitionReason::Shutdown, ctx, out);
            self.wait_afresh(ctx);
            out.transmit();
        }
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
    fn renew_claim(&self, out: &mut Outbox) {
        out.claim(self.config.vrid, self.epoch, true);
        out.transmit();
        out.announce(self.config.vrid);
    }

    /// Stops being Active, in favour of `successor`.
    fn step_down(
        &mut self,
        state: State,
        reason: TransitionReason,
        successor: Option<Incarnation>,
        ctx: &Context<'_>,
        out: &mut Outbox,
    ) {
        self.departure = Some(Departure {
            successor,
            until: ctx.now + ctx.pace.departure(),
        });
        out.release(self.config.vrid, None);
        out.transmit();
        self.enter(state, reason, ctx, out);
        self.wait_last(ctx.pace, ctx);
    }

    pub(super) fn unfollow(&mut self) {
        self.followed = None;
        self.outranks_since = None;
        self.requesting = false;
    }

    /// Asks for preemption once its conditions have held for long enough.
    fn update_request(&mut self, ctx: &Context<'_>, out: &mut Outbox) {
        if self.outranks_since.is_none() || !self.may_preempt() {
            self.requesting = false;
        } else if self.request_at().is_some_and(|at| ctx.now >= at) {
            self.requesting = true;
            out.transmit();
        }
    }

    fn enter(
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
