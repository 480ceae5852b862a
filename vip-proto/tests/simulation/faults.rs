//! What a cluster is made of, and what happens to it.

use std::time::Duration;

use vip_proto::node::{LinkState, Liveness};

/// What a cluster is made of.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) priorities: Vec<u8>,
    pub(crate) preempt: bool,
    pub(crate) preempt_delay: Duration,
    pub(crate) down_factor: u8,
    pub(crate) liveness: Option<Liveness>,
    pub(crate) lease: Option<Duration>,
    /// Of 100 adverts, how many are lost (never two in a row on a link).
    pub(crate) loss: u64,
    /// Of 100 probes, how many are lost, or their echoes (never so many in a row as make a verdict).
    pub(crate) probe_loss: u64,
    /// Longest delay of a datagram.
    pub(crate) delay: Duration,
    /// Of 100 adverts, how many are followed by a replay of something recorded.
    pub(crate) replays: u64,
}

/// What can go wrong, or be ordered.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// The agent dies; its lease stays in the data plane.
    Kill(usize),
    /// The host dies, and its data plane with it.
    Crash(usize),
    /// The agent starts (again), with a new incarnation.
    Start(usize),
    /// The agent is killed, and one that goes on in its place starts so much later.
    Resume(usize, Duration),
    /// The agent is replaced in order: with so much grace, by one that starts so much later.
    Restart(usize, Duration, Duration),
    /// The agent is stopped for this long; datagrams wait in its socket meanwhile. Its data plane
    /// goes on.
    Freeze(usize, Duration),
    /// Nothing gets from the one to the other.
    Cut(usize, usize),
    /// All links work again.
    Heal,
    Switchover(usize, Option<usize>),
    Link(usize, LinkState),
    DataplaneFailure(usize),
    /// Somebody else claims the VIPs; the policy is to yield.
    ForeignClaim(usize),
    Shutdown(usize),
}
