//! What a node is made of.

use alloc::vec::Vec;
use core::ops::RangeInclusive;
use core::time::Duration;

use crate::election::timing::Pace;
use crate::native::{DOWN_FACTOR_RANGE, INTERVAL_RANGE, Keyring};
use crate::{Epoch, Incarnation, Instant, NodeAddress, Priority, Vrid};

/// What the time between probes can be.
pub const PROBE_INTERVAL_RANGE: RangeInclusive<Duration> =
    Duration::from_micros(100)..=Duration::from_secs(1);
/// How many probes in a row a dead node leaves unanswered.
pub const PROBE_MISSES_RANGE: RangeInclusive<u8> = 2..=10;

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
    /// How long a node that hears no peer waits, after its start or its interface's coming up, before
    /// it believes to be alone: a network may need a while until it forwards. Ends when a peer is
    /// heard.
    pub alone_delay: Duration,
    /// Liveness probes; `None`: the node sends none.
    pub liveness: Option<Liveness>,
    /// Longest lease, renewed four times as often; `None`: what adverts warrant, renewed with them.
    /// A longer one than that is cut to it.
    pub lease: Option<Duration>,
    /// How long packets that still come are sent on to the successor after a hand-over; zero: not.
    pub drain: Duration,
    /// The only addresses adverts are accepted from; empty: any authenticated sender (multicast).
    pub peers: Vec<NodeAddress>,
    /// Keys of the cluster.
    pub keys: Keyring,
}

impl NodeConfig {
    pub(super) fn pace(&self) -> Pace {
        Pace {
            interval: self
                .advert_interval
                .clamp(*INTERVAL_RANGE.start(), *INTERVAL_RANGE.end()),
            factor: self
                .down_factor
                .clamp(*DOWN_FACTOR_RANGE.start(), *DOWN_FACTOR_RANGE.end()),
        }
    }
}

/// How a Backup watches the data plane of the node it follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Liveness {
    /// Time between probes: 100 µs – 1 s.
    pub interval: Duration,
    /// How many in a row are left unanswered by a node that is dead: 2–10.
    pub misses: u8,
}

impl Liveness {
    pub(super) fn clamped(self) -> Self {
        let (interval, misses) = (PROBE_INTERVAL_RANGE, PROBE_MISSES_RANGE);
        Self {
            interval: self.interval.clamp(*interval.start(), *interval.end()),
            misses: self.misses.clamp(*misses.start(), *misses.end()),
        }
    }
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

/// Why an instance cannot be Active on this node although its agent runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LinkState {
    /// The interface is there and has carrier.
    Up,
    /// The interface is down or has no carrier: Backup, not eligible.
    Down,
    /// The interface does not exist: Initialize.
    Gone,
}

/// What an agent finds in the data plane it adopts: the former agent's, whose incarnation goes on.
#[derive(Debug, Clone)]
pub struct Resumed {
    /// The last sequence number that was stored for a successor.
    pub sequence: u64,
    /// End of the lease as the data plane holds it; in the past if it was told to be over.
    pub lease_until: Instant,
    /// What the data plane answers for, and the epoch of each claim. Not what is claimed without
    /// answering (a hand-over that was not completed): that must be released before.
    pub claims: Vec<(Vrid, Epoch)>,
}
