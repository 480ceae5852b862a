//! What a node wants done, and what it has to tell.

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
    /// Flip: the node acts for the instance from now on, as long as the agent's lease is valid.
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
    /// A datagram was not accepted. Reported at most every ten minutes per sender and kind of
    /// reason, counted always.
    Rejected {
        /// Source address of the datagram.
        from: NodeAddress,
        /// Why.
        reason: RejectReason,
    },
}
