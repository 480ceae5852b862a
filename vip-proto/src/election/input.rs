//! What an election is told.

use core::time::Duration;

use super::State;
use super::timing::Pace;
use crate::native::{Flags, InstanceRecord};
use crate::node::LinkState;
use crate::{Epoch, Incarnation, Instant, NodeAddress};

/// What happened to an instance.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Input {
    /// Comes before any other input of the same moment: was a timer slept through?
    Woken,
    /// The agent's lease is over: the data plane acts for nothing any more.
    LeaseEnded,
    /// The startup delay is over.
    Started,
    /// An advert of a peer speaks of this instance.
    Heard(Heard),
    /// The data plane of a peer has answered a probe.
    Echo(Answer),
    /// The data plane of this peer answers no probes any more.
    NodeDead(NodeAddress),
    /// A timer may be due.
    Timeout,
    /// A peer was lost, or is no longer what it was: whoever waits for it need not.
    CandidatesChanged,
    /// The instance's interface changed.
    Link(LinkState),
    /// The data plane did not take a write.
    DataplaneFailed,
    /// Somebody outside the cluster claims the instance.
    ForeignClaim,
    /// The data plane still acts for the instance, under this epoch, for an agent before this one.
    Resumed(Epoch),
    /// The agent is about to be started anew.
    Restart,
    /// The agent stops.
    Shutdown,
}

/// What the data plane of a peer says of itself and the instance.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) peer: NodeAddress,
    pub(crate) incarnation: Incarnation,
    /// When it was asked.
    pub(crate) sent: Instant,
    /// Its lease is over: what was claimed under it is not acted for any more.
    pub(crate) lease_over: bool,
    /// Whether it acts for the instance; `None`: it was not asked.
    pub(crate) active: Option<bool>,
}

/// A peer that can take over, in the start of its agent that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Successor {
    pub(crate) peer: NodeAddress,
    pub(crate) incarnation: Incarnation,
}

impl Successor {
    pub(crate) const fn of(heard: &Heard) -> Self {
        Self {
            peer: heard.peer,
            incarnation: heard.incarnation,
        }
    }
}

/// What a peer says of the instance.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heard {
    pub(crate) peer: NodeAddress,
    pub(crate) incarnation: Incarnation,
    /// Whether the advert is known to have been made after this node's start.
    pub(crate) verified: bool,
    pub(crate) pace: Pace,
    /// How much longer than by its pace it may be silent.
    pub(crate) grace: Duration,
    pub(crate) record: InstanceRecord,
}

impl Heard {
    /// Whether the peer says it is Active, and has a priority that allows it.
    pub(crate) fn claims(&self) -> bool {
        self.record.state == State::Active && self.record.priority > 0
    }

    /// Whether it hands over to the start of an agent with this incarnation, as far as it says.
    pub(crate) fn hands_over_to(&self, incarnation: Incarnation) -> bool {
        self.claims()
            && self.record.flags.contains(Flags::HANDOVER)
            && self.record.successor == Some(incarnation)
    }

    /// Where the peer stands among the candidates.
    pub(crate) const fn claim(&self) -> Claim {
        Claim {
            insists: !self.record.flags.contains(Flags::YIELD),
            priority: self.record.priority,
            address: self.peer,
        }
    }
}

/// Who goes first among those who could become Active: greater is better. RFC 9568 §6.4.3, save for
/// nodes that give way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Claim {
    /// Whether the node does not give way to all others.
    pub(crate) insists: bool,
    pub(crate) priority: u8,
    pub(crate) address: NodeAddress,
}

/// What an election may know when it decides.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) now: Instant,
    pub(crate) address: NodeAddress,
    pub(crate) incarnation: Incarnation,
    pub(crate) pace: Pace,
    /// The agent was stopped a moment ago: what it reads before this may be old.
    pub(crate) stalled_until: Instant,
    /// How long a node that hears nobody waits, after its start or the link's, before it believes it.
    pub(crate) alone_delay: Duration,
    /// How long stray packets are sent on after a hand-over.
    pub(crate) drain: Duration,
    pub(crate) peers: &'a dyn Peers,
}

/// The peers, as seen by one instance. A *candidate* is a peer heard within its down interval that
/// is Backup and can become Active.
pub(crate) trait Peers {
    /// How many candidates go before a node of this claim: those with a better one, and the heir
    /// the last Active node has named.
    fn candidates_before(&self, claim: Claim, heir: Option<Incarnation>) -> u32;
    /// The best claim of the candidates that are about to become Active.
    fn best_intent(&self) -> Option<Claim>;
    /// The candidate with the best claim among those whose session is verified.
    fn successor(&self) -> Option<Successor>;
    /// This peer, if it is a candidate whose session is verified.
    fn ready(&self, peer: NodeAddress) -> Option<Successor>;
    /// Whether there can be no other peer than this one.
    fn only(&self, peer: NodeAddress) -> bool;
    /// What the best other live peer says that is Active, if any.
    fn other_active(&self, not: NodeAddress) -> Option<Heard>;
    /// Whether the peer was heard within its down interval.
    fn present(&self, peer: NodeAddress) -> bool;
}
