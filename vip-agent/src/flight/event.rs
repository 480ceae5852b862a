//! What can be recorded.

use std::net::IpAddr;
use std::time::Duration;

use vip_common::abi::ConflictKind;
use vip_proto::election::{State, TransitionReason};
use vip_proto::native::RejectReason;
use vip_proto::{Epoch, Incarnation, Instant, Vrid};

/// Bytes of an instance's name in one record.
pub const NAME_PART: usize = size_of::<NamePart>();

/// A part of an instance's name, filled up with zeroes.
pub type NamePart = [[u8; 8]; 5];

/// One thing that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// An agent started from nothing.
    AgentStarted(AgentIdentity),
    /// An agent took over what another one had left, and goes on as the same node.
    AgentResumed(AgentIdentity),
    /// The agent ends in an orderly way.
    AgentStopping {
        /// Its process.
        pid: u32,
    },
    /// The agent ends and leaves its claims to the next one.
    AgentRestarting {
        /// Its process.
        pid: u32,
        /// How long the lease goes on without an agent.
        grace: Duration,
    },
    /// What an instance is called, in parts of [`NAME_PART`] bytes.
    InstanceNamed {
        /// Which instance.
        vrid: Vrid,
        /// The first part or the second.
        second: bool,
        /// The part.
        bytes: NamePart,
    },
    /// A peer is heard for the first time or again.
    PeerUp {
        /// Which peer.
        peer: IpAddr,
    },
    /// A peer was not heard for its down interval.
    PeerDown {
        /// Which peer.
        peer: IpAddr,
    },
    /// An advert of the followed node did not come.
    AdvertMissed {
        /// Which peer.
        peer: IpAddr,
        /// When the last one was heard.
        since: Instant,
    },
    /// Probes were not answered.
    ProbesUnanswered {
        /// Which peer.
        peer: IpAddr,
        /// How many in a row, at most.
        count: u64,
        /// When the last answer arrived.
        answered: Option<Instant>,
    },
    /// A peer's agent sends no adverts, but its data plane says that its lease lives.
    AgentLate {
        /// Which peer.
        peer: IpAddr,
    },
    /// A peer's data plane says that its agent's lease is over.
    PeerLeaseOver {
        /// Which peer.
        peer: IpAddr,
    },
    /// A datagram was not accepted.
    Rejected {
        /// Its sender.
        from: IpAddr,
        /// Why.
        reason: RejectReason,
    },
    /// A peer has other VIPs configured.
    VipsDiffer {
        /// Which instance.
        vrid: Vrid,
        /// Which peer.
        peer: IpAddr,
    },
    /// This agent itself was not woken in time.
    OwnStall {
        /// How late it was, at most.
        late: Duration,
    },
    /// The agent's lease began anew.
    LeaseBegun {
        /// Its end, if it is not renewed.
        until: Instant,
    },
    /// The lease was renewed shortly before its end.
    LeaseRenewedLate {
        /// What was left of it, at least.
        left: Duration,
    },
    /// The lease ended before it was renewed.
    LeaseEnded {
        /// When it did.
        until: Instant,
        /// The data plane has told a prober so: a renewal would have come too late.
        told: bool,
    },
    /// The link of an instance's interface.
    Link {
        /// Which instance.
        vrid: Vrid,
        /// How it is now.
        link: Link,
    },
    /// The data plane is no longer attached to an interface.
    Detached {
        /// Index of the interface.
        ifindex: u32,
    },
    /// The data plane is attached to an interface again.
    Attached {
        /// Index of the interface.
        ifindex: u32,
    },
    /// The data plane did not take a write.
    DataplaneFailed {
        /// Which instance.
        vrid: Vrid,
    },
    /// Adverts cannot be sent.
    TransmitFailed,
    /// Adverts can be sent again.
    TransmitWorks,
    /// The election decided.
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
    /// The flip to Active.
    Claimed {
        /// Which instance.
        vrid: Vrid,
        /// Epoch of the claim.
        epoch: Epoch,
        /// Whether ARP and Neighbor Discovery are answered, too.
        answering: bool,
    },
    /// The flip from Active.
    Released {
        /// Which instance.
        vrid: Vrid,
        /// Where packets that still come are forwarded to, and until when.
        drain: Option<([u8; 6], Instant)>,
    },
    /// The neighbours are told where the VIPs are.
    Announced {
        /// Which instance.
        vrid: Vrid,
    },
    /// The first packet for any VIP arrived after the flip.
    FirstPacket {
        /// Which instance.
        vrid: Vrid,
        /// Which VIP.
        vip: IpAddr,
        /// How long after the flip.
        after: Duration,
    },
    /// This node asks a peer to take over, and serves until it does.
    HandingOver {
        /// Which instance.
        vrid: Vrid,
        /// Which peer; `None`: the best one.
        peer: Option<IpAddr>,
    },
    /// The peer did not take over.
    HandoverFailed {
        /// Which instance.
        vrid: Vrid,
        /// Which peer.
        peer: IpAddr,
    },
    /// Two nodes were Active at once.
    SplitBrain {
        /// Which instance.
        vrid: Vrid,
        /// The other one.
        peer: IpAddr,
        /// Whether this node stays Active.
        kept: bool,
    },
    /// A station that is no node of the cluster claims a VIP, or the VRID.
    ForeignClaim {
        /// Which instance.
        vrid: Vrid,
        /// What it claims; of a VRRP advert, its sender.
        address: IpAddr,
        /// Its MAC address.
        mac: [u8; 6],
        /// How.
        kind: ConflictKind,
    },
    /// What this version has no word for.
    Unknown {
        /// Its number.
        kind: u32,
        /// Its details.
        details: [u64; 3],
    },
}

/// Who an agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentIdentity {
    /// Version: major, minor, patch.
    pub version: [u16; 3],
    /// Process.
    pub pid: u32,
    /// Random number of its first start.
    pub incarnation: Incarnation,
}

/// The link of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// It can be used.
    Up,
    /// It cannot.
    Down,
    /// There is no interface.
    Gone,
}

/// What happens to the first detail when an event is merged with an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The first stays.
    First,
    /// The smallest stays.
    Least,
    /// The greatest stays.
    Most,
}

/// How an event is merged with an earlier one of its kind, so that many do not push out the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Merging {
    /// It is if the last one was at most this long ago.
    pub within: Duration,
    /// Whether only events that concern the same peer are.
    pub by_peer: bool,
    /// Whether a decision is a reason to begin a new record: this may have led to it.
    pub until_decision: bool,
    /// What becomes of the first detail.
    pub keep: Keep,
}

impl Merging {
    const SIGN: Self = Self {
        within: Duration::from_secs(10),
        by_peer: true,
        until_decision: true,
        keep: Keep::First,
    };
    /// What strangers can cause as often as they like.
    const NOISE: Self = Self {
        within: Duration::from_secs(600),
        by_peer: false,
        until_decision: false,
        keep: Keep::First,
    };
}

impl Event {
    /// How it is merged with an earlier one of its kind; `None`: it is not.
    #[must_use]
    pub const fn merging(&self) -> Option<Merging> {
        match self {
            Self::AgentLate { .. } | Self::PeerLeaseOver { .. } => Some(Merging::SIGN),
            Self::AdvertMissed { .. } | Self::ProbesUnanswered { .. } | Self::OwnStall { .. } => {
                Some(Merging {
                    keep: Keep::Most,
                    ..Merging::SIGN
                })
            }
            Self::LeaseRenewedLate { .. } => Some(Merging {
                keep: Keep::Least,
                ..Merging::SIGN
            }),
            Self::DataplaneFailed { .. } | Self::TransmitFailed | Self::TransmitWorks => {
                Some(Merging {
                    until_decision: false,
                    ..Merging::SIGN
                })
            }
            Self::Rejected { .. } | Self::VipsDiffer { .. } | Self::ForeignClaim { .. } => {
                Some(Merging::NOISE)
            }
            Self::AgentStarted(_)
            | Self::AgentResumed(_)
            | Self::AgentStopping { .. }
            | Self::AgentRestarting { .. }
            | Self::InstanceNamed { .. }
            | Self::PeerUp { .. }
            | Self::PeerDown { .. }
            | Self::LeaseBegun { .. }
            | Self::LeaseEnded { .. }
            | Self::Link { .. }
            | Self::Detached { .. }
            | Self::Attached { .. }
            | Self::Transition { .. }
            | Self::Claimed { .. }
            | Self::Released { .. }
            | Self::Announced { .. }
            | Self::FirstPacket { .. }
            | Self::HandingOver { .. }
            | Self::HandoverFailed { .. }
            | Self::SplitBrain { .. }
            | Self::Unknown { .. } => None,
        }
    }
}
