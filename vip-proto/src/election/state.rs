//! What an election remembers.

use core::time::Duration;

use super::handover::{Accepting, Handover};
use super::input::{Claim, Context, Heard, Successor};
use super::timing::Pace;
use super::{InstanceStatus, State, TransitionReason};
use crate::native::{Flags, InstanceRecord};
use crate::node::{InstanceConfig, LinkState};
use crate::{Epoch, Incarnation, Instant, NodeAddress};

/// The election of one instance on this node.
#[derive(Debug, Clone)]
pub(crate) struct Election {
    pub(super) config: InstanceConfig,
    pub(super) state: State,
    pub(super) since: Instant,
    pub(super) reason: TransitionReason,
    /// Highest epoch known.
    pub(super) epoch: Epoch,
    /// Epoch of the claim, while Active.
    pub(super) claimed: Epoch,
    /// Whether the startup delay is over.
    pub(super) started: bool,
    /// Handing over is all that is left to do.
    pub(super) stopping: bool,
    pub(super) stopped: bool,
    pub(super) link: LinkState,
    /// The MAC address of the instance's interface; zero: unknown.
    pub(super) mac: [u8; 6],
    /// When this node takes part again, after a failure of the data plane or a foreign claim.
    pub(super) retry_at: Option<Instant>,
    /// An operator has moved the instance away: no preemption until it comes back by itself.
    pub(super) held: bool,
    /// The Active node as far as known.
    pub(super) followed: Option<Followed>,
    /// Active_Down_Timer; set exactly while Backup and eligible, or accepting.
    pub(super) wait: Option<Wait>,
    /// From then on all know this node's place among the candidates, and it knows theirs: before,
    /// what probes tell does not make it claim sooner.
    pub(super) settled_at: Instant,
    /// Since when a lower-priority Active node has been followed.
    pub(super) outranks_since: Option<Instant>,
    /// Whether this node's adverts ask the Active node to hand over.
    pub(super) requesting: bool,
    /// The successor that is to claim, while Active.
    pub(super) handover: Option<Handover>,
    /// Active, and the node handing over (the one followed) still answers.
    pub(super) accepting: Option<Accepting>,
    /// Who acted for the instance before, as its data plane has said, and until when adverts it sent
    /// before that may still arrive.
    pub(super) relieved: Option<(Successor, Instant)>,
    /// Until then nobody preempts this node: the last one that asked did not take over.
    pub(super) unpreempted_until: Instant,
    /// The hand-over to be repeated in the next adverts.
    pub(super) departure: Option<Departure>,
    /// The last other Active node met, and when it last said so.
    pub(super) conflict: Option<(NodeAddress, Instant)>,
    /// Until then hearing nobody does not mean that nobody is there; `None`: somebody was heard
    /// since the start and since the link came up.
    pub(super) alone_until: Option<Instant>,
}

/// The Active node as a Backup knows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Followed {
    pub(super) peer: NodeAddress,
    pub(super) incarnation: Incarnation,
    pub(super) verified: bool,
    pub(super) epoch: Epoch,
    pub(super) pace: Pace,
    /// Since when it is known under this epoch.
    pub(super) since: Instant,
    /// Whom it hands over to.
    pub(super) heir: Option<Incarnation>,
}

impl Followed {
    pub(super) fn new(heard: &Heard, now: Instant) -> Self {
        Self {
            peer: heard.peer,
            incarnation: heard.incarnation,
            verified: heard.verified,
            epoch: heard.record.epoch,
            pace: heard.pace,
            since: now,
            heir: heard
                .record
                .successor
                .filter(|_| heard.record.flags.contains(Flags::HANDOVER)),
        }
    }

    /// The start of the agent that is followed.
    pub(super) const fn who(&self) -> Successor {
        Successor {
            peer: self.peer,
            incarnation: self.incarnation,
        }
    }

    /// Whether `heard` comes from this node, and from the same start of its agent: a restarted
    /// agent says nothing about the lease its predecessor may have left behind.
    pub(super) fn is(&self, heard: &Heard) -> bool {
        self.peer == heard.peer && self.incarnation == heard.incarnation
    }
}

/// A Backup's timer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wait {
    /// The earliest moment at which this node may claim.
    pub(super) deadline: Instant,
    /// The next moment to look, later than the deadline while candidates go before.
    pub(super) check_at: Instant,
    /// Pace of the node waited for.
    pub(super) pace: Pace,
    /// Why this node will be Active if it comes to that.
    pub(super) reason: TransitionReason,
    /// This node gives way to all candidates, not only better ones; its adverts say so.
    pub(super) yields: bool,
    /// Goes before this node whatever its priority.
    pub(super) heir: Option<Incarnation>,
    /// The deadline has passed while candidates went before: the order may be out of step.
    pub(super) deferred: bool,
    /// This node's adverts say that it is about to claim.
    pub(super) intends: bool,
}

impl Wait {
    pub(super) fn new(now: Instant, duration: Duration, pace: Pace) -> Self {
        let deadline = now + duration;
        Self {
            deadline,
            check_at: deadline,
            pace,
            reason: TransitionReason::ActiveDown,
            yields: false,
            heir: None,
            deferred: false,
            intends: false,
        }
    }

    /// This wait, begun because of what may be a recording: nothing comes sooner by it than by the
    /// `earlier` one.
    pub(super) fn on_top_of(self, earlier: Option<Self>) -> Self {
        let Some(earlier) = earlier else {
            return self;
        };
        let deadline = self.deadline.max(earlier.deadline);
        Self {
            deadline,
            check_at: deadline.max(earlier.check_at),
            pace: self.pace.slower(earlier.pace),
            yields: earlier.yields,
            heir: earlier.heir,
            ..self
        }
    }
}

/// What the adverts after a hand-over say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Departure {
    pub(super) successor: Option<Incarnation>,
    /// Whether being named is a reason to claim; if not, the successor only goes before others.
    pub(super) invites: bool,
    pub(super) until: Instant,
}

impl Election {
    pub(crate) const fn new(config: InstanceConfig) -> Self {
        Self {
            config,
            state: State::Initialize,
            since: Instant::from_nanos(0),
            reason: TransitionReason::Started,
            epoch: Epoch(0),
            claimed: Epoch(0),
            started: false,
            stopping: false,
            stopped: false,
            link: LinkState::Up,
            mac: [0; 6],
            retry_at: None,
            held: false,
            followed: None,
            wait: None,
            settled_at: Instant::from_nanos(0),
            outranks_since: None,
            requesting: false,
            handover: None,
            accepting: None,
            relieved: None,
            unpreempted_until: Instant::from_nanos(0),
            departure: None,
            conflict: None,
            alone_until: None,
        }
    }

    pub(crate) const fn config(&self) -> &InstanceConfig {
        &self.config
    }

    pub(crate) const fn set_mac(&mut self, mac: [u8; 6]) {
        self.mac = mac;
    }

    /// No preemption until it has been Active again.
    pub(crate) fn hold(&mut self) {
        self.held = self.state != State::Active;
    }

    pub(crate) const fn is_held(&self) -> bool {
        self.held
    }

    pub(crate) const fn has_stopped(&self) -> bool {
        self.stopped
    }

    /// Whether nothing keeps this node from becoming Active.
    pub(super) fn eligible(&self) -> bool {
        self.started && !self.stopped && self.link == LinkState::Up && self.retry_at.is_none()
    }

    /// What the node's adverts say of the instance.
    pub(crate) fn record(&self) -> InstanceRecord {
        // Before the start the priority is already true; afterwards 0 says "not me" (RFC 9568 §5.2.4).
        let takes_part =
            self.eligible() || (!self.started && !self.stopped && self.link == LinkState::Up);
        InstanceRecord {
            vrid: self.config.vrid,
            priority: if takes_part {
                self.config.priority.get()
            } else {
                0
            },
            state: self.state,
            flags: self.flags(),
            epoch: self.epoch,
            successor: self.named(),
            vips_digest: self.config.vips_digest,
            mac: self.mac,
        }
    }

    fn named(&self) -> Option<Incarnation> {
        match self.handover {
            Some(handover) => Some(handover.to.incarnation),
            None => self.departure?.successor,
        }
    }

    /// When to give it [`Input::Timeout`](super::input::Input::Timeout) next.
    pub(crate) fn timeout(&self) -> Option<Instant> {
        let wait = self.wait.map(|wait| wait.check_at);
        let handover = self.handover.map(|handover| handover.until);
        let accepting = self.accepting.and_then(|accepting| accepting.until);
        [wait, self.retry_at, self.request_at(), handover, accepting]
            .into_iter()
            .flatten()
            .min()
    }

    /// When the preemption delay ends, if it is running.
    pub(super) fn request_at(&self) -> Option<Instant> {
        let since = self
            .outranks_since
            .filter(|_| self.may_preempt() && !self.requesting)?;
        Some(since + self.config.preempt_delay)
    }

    pub(super) fn may_preempt(&self) -> bool {
        self.config.preempt && !self.held && self.state == State::Backup && self.eligible()
    }

    /// Where this node stands among those who could become Active.
    pub(super) fn claim(&self, ctx: &Context<'_>) -> Claim {
        Claim {
            insists: !self.wait.is_some_and(|wait| wait.yields),
            priority: self.config.priority.get(),
            address: ctx.address,
        }
    }

    fn flags(&self) -> Flags {
        let wait = self.wait.as_ref();
        let informs = self
            .departure
            .is_some_and(|departure| departure.successor.is_some() && !departure.invites);
        [
            (self.handover.is_some() || informs, Flags::HANDOVER),
            (self.requesting, Flags::REQUEST),
            (wait.is_some_and(|wait| wait.yields), Flags::YIELD),
            (wait.is_some_and(|wait| wait.intends), Flags::INTENT),
        ]
        .into_iter()
        .filter_map(|(set, flag)| set.then_some(flag))
        .fold(Flags::default(), Flags::and)
    }

    pub(crate) fn status(&self, address: NodeAddress, lease: Option<Instant>) -> InstanceStatus {
        InstanceStatus {
            vrid: self.config.vrid,
            state: self.state,
            since: self.since,
            reason: self.reason,
            priority: self.config.priority,
            epoch: self.epoch,
            lease_until: lease.filter(|_| self.state == State::Active),
            active: match self.state {
                State::Active => Some(address),
                State::Backup | State::Initialize => self.followed.map(|followed| followed.peer),
            },
            held: self.held,
            eligible: self.eligible(),
            handing_over: self.handover.is_some(),
            accepting: self.accepting.is_some(),
        }
    }
}
