//! What a cluster is made of, and what happens to it.

use std::time::Duration;

use vip_proto::node::LinkState;

/// What a cluster is made of.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) priorities: Vec<u8>,
    pub(crate) preempt: bool,
    pub(crate) preempt_delay: Duration,
    pub(crate) down_factor: u8,
    /// Of 100 adverts, how many are lost (never two in a row on a link).
    pub(crate) loss: u64,
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
    /// The host dies, and its lease with it.
    Crash(usize),
    /// The agent starts (again), with a new incarnation.
    Start(usize),
    /// The agent is stopped for this long; datagrams wait in its socket meanwhile.
    Freeze(usize, Duration),
    /// Nothing gets from the one to the other.
    Cut(usize, usize),
    /// All links work again.
    Heal,
    Switchover(usize, Option<usize>),
    Link(usize, LinkState),
    DataplaneFailure(usize),
    Shutdown(usize),
}
