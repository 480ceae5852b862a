//! What a node wants done, and what it has to tell.

use core::time::Duration;

use crate::election::{State, TransitionReason};
use crate::native::RejectReason;
#[cfg(doc)]
use crate::node::Node;
use crate::{Epoch, Incarnation, Instant, NodeAddress, Vrid};

/// What the driver has to do. The order within one drain is part of the contract:
/// becoming Active is (Lease,) Claim, Transmit, Announce; leaving is Release, Transmit; staying
/// Active is Transmit, Lease (so that the lease never outlives the advert that warrants it).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Extend the agent's lease, on which all claims depend. It is held by Backups too.
    Lease {
        /// New end of the lease.
        until: Instant,
        /// The lease before is over, and nothing is claimed: a new generation of it begins.
        anew: bool,
    },
    /// Flip: the node acts for the instance from now on, as long as the agent's lease is valid. Said
    /// again with the same epoch when it begins to answer.
    Claim {
        /// Which instance.
        vrid: Vrid,
        /// Epoch of the claim.
        epoch: Epoch,
        /// Whether the node also answers ARP and Neighbor Discovery: not yet while the node that
        /// hands over still does.
        answering: bool,
    },
    /// Flip: the node no longer acts for the instance.
    Release {
        /// Which instance.
        vrid: Vrid,
        /// Where packets that still come are forwarded to.
        drain: Option<Drain>,
    },
    /// Send a liveness probe over each link to this peer.
    Probe {
        /// Which peer.
        peer: NodeAddress,
        /// Identifiers of the instances to ask about; 0: none.
        vrids: [u8; PROBED_INSTANCES],
    },
    /// The peer's present incarnation is known for sure: keys for probes in both directions can be
    /// derived. Said again when the incarnation or the key has changed.
    Session {
        /// Which peer.
        peer: NodeAddress,
        /// Its incarnation: what its probes say.
        incarnation: Incarnation,
        /// The key it signs with.
        key_id: u8,
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

/// Most instances one probe asks about.
pub const PROBED_INSTANCES: usize = 8;

/// Where packets for a released instance are forwarded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// The successor's MAC address on the instance's link.
    pub mac: [u8; 6],
    /// The longest they are.
    pub until: Instant,
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
    /// This agent was late for a probe by more than an interval: what it has not seen answered may
    /// have been. At most once a second.
    OwnStall {
        /// How late.
        late: Duration,
    },
    /// The peer's adverts are missing for longer than its down interval, while its data plane says
    /// that it is Active: no reason to take over. Once until it is heard again.
    AgentLate {
        /// Which peer.
        peer: NodeAddress,
    },
    /// A peer has left probes unanswered: said of the first of a row (at most once a second), and
    /// when they are so many that the peer is taken to be dead.
    ProbesUnanswered {
        /// Which peer.
        peer: NodeAddress,
        /// How many.
        count: u32,
    },
    /// An advert of a peer is overdue by more than half its interval. Once until it is heard again,
    /// and at most once a second.
    AdvertMissed {
        /// Which peer.
        peer: NodeAddress,
        /// When it was last heard.
        since: Instant,
    },
    /// A lease has begun, under which nothing was claimed before.
    LeaseBegun {
        /// Its end, if it were not renewed.
        until: Instant,
    },
    /// The lease is over: the data plane acts for nothing any more.
    LeaseEnded {
        /// When it would have ended.
        until: Instant,
        /// The data plane has said so to a peer: a renewal would have come too late.
        told: bool,
    },
    /// A peer that was to take over has not; this node stays Active.
    HandoverFailed {
        /// Which instance.
        vrid: Vrid,
        /// Who was to take over.
        peer: NodeAddress,
    },
    /// A datagram was not accepted. Reported at most every ten minutes per sender and kind of
    /// reason, counted always.
    Rejected {
        /// Source address of the datagram.
        from: NodeAddress,
        /// Why.
        reason: RejectReason,
    },
}
