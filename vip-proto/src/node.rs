//! One node: all its elections, its view of the peers, and the adverts between them.

use alloc::vec::Vec;
use core::time::Duration;

use crate::election::{Command, InstanceStatus, Refusal, State, TransitionReason};
use crate::native::{Keyring, RejectReason};
use crate::{Epoch, Incarnation, Instant, NodeAddress, Priority, Vrid};

/// What a node knows of itself; see `docs/election.md`.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// The address the node's adverts come from.
    pub address: NodeAddress,
    /// Random number of this start of the agent.
    pub incarnation: Incarnation,
    /// Time between adverts: 1 ms – 40.95 s.
    pub advert_interval: Duration,
    /// How many intervals may pass without an advert before the Active node is taken to be dead
    /// (RFC 9568: 3): 2–10.
    pub down_factor: u8,
    /// How long the node only listens after its start.
    pub startup_delay: Duration,
    /// The only addresses adverts are accepted from; empty: any authenticated sender (multicast).
    pub peers: Vec<NodeAddress>,
    /// Keys of the cluster.
    pub keys: Keyring,
}

/// One instance as the election sees it.
#[derive(Debug, Clone, Copy)]
pub struct InstanceConfig {
    /// Identifier of the instance.
    pub vrid: Vrid,
    /// This node's priority for it.
    pub priority: Priority,
    /// Whether this node takes the instance from an Active node of lower priority (RFC 9568 §6.1).
    pub preempt: bool,
    /// How long an Active node of lower priority must have been seen before it is preempted.
    pub preempt_delay: Duration,
    /// Digest of the instance's VIPs; nodes report when theirs differ.
    pub vips_digest: u32,
}

/// What the driver has to do. The order within one drain is part of the contract:
/// becoming Active is Claim, Transmit, Announce; leaving is Release, Transmit; staying Active is
/// Transmit, Renew (so that the lease never outlives the advert that warrants it).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Flip: write the lease of a new claim into the data plane.
    Claim {
        /// Which instance.
        vrid: Vrid,
        /// Epoch of the claim.
        epoch: Epoch,
        /// End of the lease.
        lease_until: Instant,
    },
    /// Extend the lease.
    Renew {
        /// Which instance.
        vrid: Vrid,
        /// New end of the lease.
        lease_until: Instant,
    },
    /// Flip: end the lease now.
    Release {
        /// Which instance.
        vrid: Vrid,
    },
    /// Call [`Node::encode_advert`] and send it to all peers.
    Transmit,
    /// Tell the neighbours where the instance's VIPs are now (gratuitous ARP, unsolicited NA).
    Announce {
        /// Which instance.
        vrid: Vrid,
    },
    /// Something to tell the operator.
    Report(Report),
}

/// What the operator should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// An instance changed state.
    Transition {
        /// Which instance.
        vrid: Vrid,
        /// The state before.
        from: State,
        /// The state now.
        to: State,
        /// Why.
        reason: TransitionReason,
        /// Epoch of the instance.
        epoch: Epoch,
    },
    /// A peer is heard for the first time, or again after having been lost.
    PeerUp {
        /// Which peer.
        peer: NodeAddress,
    },
    /// A peer was not heard for its down interval.
    PeerDown {
        /// Which peer.
        peer: NodeAddress,
    },
    /// Two nodes were Active for the instance at once.
    SplitBrain {
        /// Which instance.
        vrid: Vrid,
        /// The other Active node.
        peer: NodeAddress,
        /// Whether this node stays Active.
        kept: bool,
    },
    /// A peer has other VIPs configured for the instance.
    VipsDiffer {
        /// Which instance.
        vrid: Vrid,
        /// Which peer.
        peer: NodeAddress,
    },
    /// A datagram was not accepted. Reported once per sender and reason, counted always.
    Rejected {
        /// Source address of the datagram.
        from: NodeAddress,
        /// Why.
        reason: RejectReason,
    },
}

/// Why an instance cannot be Active on this node although its agent runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// The interface is there and has carrier.
    Up,
    /// The interface is down or has no carrier: Backup, not eligible.
    Down,
    /// The interface does not exist: Initialize.
    Gone,
}

/// A peer, for `status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// Address of the peer.
    pub address: NodeAddress,
    /// When it was last heard; `None`: never.
    pub last_heard: Option<Instant>,
    /// Whether it is within its down interval.
    pub alive: bool,
    /// Its advert interval, if heard.
    pub advert_interval: Option<Duration>,
    /// Accepted adverts.
    pub adverts: u64,
    /// Per instance: priority, whether it says it is Active, epoch.
    pub instances: Vec<PeerInstance>,
}

/// What a peer says of one instance, for `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerInstance {
    /// Which instance.
    pub vrid: Vrid,
    /// The peer's priority; 0: it is leaving.
    pub priority: u8,
    /// The peer's state.
    pub state: State,
    /// The epoch it knows.
    pub epoch: Epoch,
}

/// Counts of one node's protocol engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeCounters {
    /// Adverts encoded for sending.
    pub adverts_sent: u64,
    /// Adverts accepted.
    pub adverts_received: u64,
    /// Datagrams rejected, for any reason.
    pub rejected: u64,
    /// Adverts that could not be sent.
    pub transmit_failed: u64,
}

/// Everything `status` shows, as of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus {
    /// Each instance.
    pub instances: Vec<InstanceStatus>,
    /// Each peer, in the order of its address.
    pub peers: Vec<PeerStatus>,
    /// Counts.
    pub counters: NodeCounters,
}

/// The machine. See the [crate] for how to drive it.
#[derive(Debug)]
pub struct Node {}

#[expect(unused_variables, clippy::todo, missing_docs, reason = "sketch")]
impl Node {
    #[must_use]
    pub fn new(config: NodeConfig, instances: &[InstanceConfig]) -> Self {
        todo!()
    }

    /// Starts the elections: listens for `startup_delay`, then takes part.
    pub fn handle_startup(&mut self, now: Instant) {
        todo!()
    }

    /// A datagram arrived on the advert port from this source address.
    pub fn handle_datagram(&mut self, from: NodeAddress, datagram: &[u8], now: Instant) {
        todo!()
    }

    /// The time [`Self::poll_timeout`] named has come (harmless if it has not).
    pub fn handle_timeout(&mut self, now: Instant) {
        todo!()
    }

    /// The instance's interface changed.
    pub fn handle_link(&mut self, vrid: Vrid, link: LinkState, now: Instant) {
        todo!()
    }

    /// The operator asks for something.
    pub fn handle_command(&mut self, vrid: Vrid, command: Command, now: Instant) -> Result<(), Refusal> {
        todo!()
    }

    /// A claim or renewal could not be written to the data plane: the instance steps down.
    pub fn handle_dataplane_failure(&mut self, vrid: Vrid, now: Instant) {
        todo!()
    }

    /// An advert could not be sent to any peer.
    pub fn handle_transmit_failure(&mut self, now: Instant) {
        todo!()
    }

    /// The agent stops: releases everything and says so to the peers.
    pub fn handle_shutdown(&mut self, now: Instant) {
        todo!()
    }

    /// The next thing to do; drain until `None` after every `handle_*`.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<Action> {
        todo!()
    }

    /// When to call [`Self::handle_timeout`], if no input comes before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!()
    }

    /// Writes the current advert (authenticated, with the next sequence number) into `buffer`.
    /// Does not allocate.
    pub fn encode_advert<'b>(&mut self, buffer: &'b mut [u8; crate::native::MAX_DATAGRAM]) -> &'b [u8] {
        todo!()
    }

    /// What is known now.
    #[must_use]
    pub fn status(&self, now: Instant) -> NodeStatus {
        todo!()
    }
}
