//! The agent's lease: as long as it lasts, the data plane acts for what this node has claimed.

use bytemuck::{Pod, Zeroable};

/// The only value of `AGENT`.
///
/// One store per tick renews the lease of every instance. What is told must stay true: once the
/// data plane has told a prober that the lease is over, it stores the lease's `generation` into
/// `ended_generation`, and no renewal of that generation counts any more. So a Backup that was told
/// may take over at once, however late the agent's last store comes.
///
/// Each word has one writer: the first cache line belongs to the agent, the second to the XDP
/// program. The first 32 bytes keep their meaning in all versions of the ABI.
#[repr(C, align(64))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct AgentSlot {
    /// End of the lease on `CLOCK_MONOTONIC`, in nanoseconds; 0: none.
    pub lease_until_ns: u64,
    /// Number of the lease, from 1: raised when a lease that was over begins anew.
    pub generation: u64,
    /// The agent's incarnation in the election; a restarted agent that adopts the data plane goes
    /// on with it.
    pub incarnation: u64,
    /// Sequence number of the agent's last advert.
    pub sequence: u64,
    /// One bit per instance, by its index from the lowest on: an operator has moved the instance away,
    /// so it does not preempt.
    pub held: u64,
    /// Zero.
    pub reserved: [u64; 3],
    /// Written by the XDP program: the last generation that a prober was told is over.
    pub ended_generation: u64,
    /// Zero.
    pub reserved_kernel: [u64; 7],
}

const _: () = assert!(size_of::<AgentSlot>() == 128);
const _: () = assert!(core::mem::offset_of!(AgentSlot, ended_generation) == 64);
