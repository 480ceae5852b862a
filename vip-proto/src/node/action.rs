//! What a node wants done, and what it has to tell.

use crate::election::{State, TransitionReason};
use crate::native::RejectReason;
#[cfg(doc)]
use crate::node::Node;
use crate::{Epoch, Instant, NodeAddress, Vrid};

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
    /// A datagram was not accepted. Reported at most every ten minutes per sender and kind of
    /// reason, counted always.
    Rejected {
        /// Source address of the datagram.
        from: NodeAddress,
        /// Why.
        reason: RejectReason,
    },
}
