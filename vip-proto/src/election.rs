//! The election of one instance: RFC 9568's states, made safe by leases and named successors.

use crate::{Epoch, Instant, NodeAddress, Priority, Vrid};

mod handover;
pub(crate) mod input;
mod leaving;
mod liveness;
mod state;
pub mod timing;
mod transition;
mod waiting;

#[cfg(test)]
mod tests;

pub(crate) use state::Election;

/// State of an instance on a node (RFC 9568 §6.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    /// Not taking part: starting, stopped, or without its interface.
    Initialize = 0,
    /// Watching the Active node.
    Backup = 1,
    /// Answering for the VIPs, while its lease lasts.
    Active = 2,
}

impl State {
    /// The state with this number in an advert.
    #[must_use]
    pub const fn from_wire(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Initialize),
            1 => Some(Self::Backup),
            2 => Some(Self::Active),
            _ => None,
        }
    }
}

/// Why an instance changed state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransitionReason {
    /// The agent started and its startup delay is over.
    Started,
    /// No advert from an Active node within the down interval.
    ActiveDown,
    /// The Active node named this node its successor.
    Successor,
    /// The Active node gave the instance up without naming this node.
    ActiveLeft,
    /// This node handed over to a node of higher priority that asked for it.
    Preempted,
    /// This node handed over because the operator said so.
    Switchover,
    /// Another Active node has the better claim (priority, then address).
    LostConflict,
    /// The lease ended before it was renewed: this agent was stopped or late.
    LeaseExpired,
    /// The interface went down.
    LinkDown,
    /// The interface is gone.
    LinkGone,
    /// The interface is back.
    LinkUp,
    /// The data plane did not take a write.
    DataplaneFailed,
    /// The agent stops.
    Shutdown,
    /// The data plane of the Active node answers no probes.
    NodeDead,
    /// The data plane of the Active node answers that its agent's lease is over.
    AgentDead,
    /// This agent goes on where a former one stopped.
    Resumed,
    /// Somebody outside the cluster claims the instance, and the policy is to yield.
    Conflict,
}

/// What an operator can ask of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Hand over to a peer: the one named, else the best one alive.
    Switchover {
        /// The peer to hand over to.
        to: Option<NodeAddress>,
    },
}

/// Why a command was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No instance has this identifier.
    #[error("no such instance")]
    NoSuchInstance,
    /// Only the Active node can hand over.
    #[error("this node is not Active for the instance")]
    NotActive {
        /// The node that is, if known.
        active: Option<NodeAddress>,
    },
    /// There is nobody to hand over to.
    #[error("no live peer takes part in the instance")]
    NoPeer,
    /// The peer named is not heard, or not ready to take over.
    #[error("the peer is not alive or does not take part in the instance")]
    PeerNotReady,
    /// It is being handed over to another peer already.
    #[error("the instance is being handed over to {to} already")]
    HandingOver {
        /// Who is to take over.
        to: NodeAddress,
    },
}

/// An instance, for `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstanceStatus {
    /// Which instance.
    pub vrid: Vrid,
    /// Its state.
    pub state: State,
    /// Since when.
    pub since: Instant,
    /// Why it came into this state.
    pub reason: TransitionReason,
    /// This node's priority.
    pub priority: Priority,
    /// Highest epoch known.
    pub epoch: Epoch,
    /// End of the lease, while Active.
    pub lease_until: Option<Instant>,
    /// The Active node, if known (this node's own address when it is Active).
    pub active: Option<NodeAddress>,
    /// Whether an operator's switchover keeps this node from preempting.
    pub held: bool,
    /// Whether the instance's interface lets it be Active.
    pub eligible: bool,
    /// Whether this node is Active and waits for a successor to claim.
    pub handing_over: bool,
    /// Whether this node has claimed, and leaves answering to the node that hands over.
    pub accepting: bool,
}
