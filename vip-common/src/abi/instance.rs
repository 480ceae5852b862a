//! The slot that a failover flips.

use bytemuck::{Pod, Zeroable};

use super::MacCell;

/// Bit of `InstanceSlot::claim`: this node acts for the instance.
pub const CLAIMED: u64 = 1 << 32;
/// Bit of `InstanceSlot::claim`: and it answers ARP and Neighbor Discovery. Without it the node
/// takes packets, but leaves the answers to the node that is handing over.
pub const ANSWERING: u64 = 1 << 33;

/// Value of `INSTANCES`: whether this node may act for the instance's VIPs, and as whom.
///
/// The node acts for the instance exactly while it is claimed and the agent's lease
/// ([`AgentSlot`](super::AgentSlot)) is valid: the agent extends that lease with every tick, and the
/// data plane falls silent by itself when the agent does not. One aligned 8-byte store of `claim`
/// flips any number of VIPs; the reader needs no lock.
///
/// The first cache line belongs to the agent, the second to the XDP program.
#[repr(C, align(64))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct InstanceSlot {
    /// 0: not Active. Else [`CLAIMED`], perhaps [`ANSWERING`], and in the low 32 bits the election
    /// epoch of the claim.
    pub claim: u64,
    /// The MAC address that ARP answers carry.
    pub mac_v4: MacCell,
    /// The MAC address that Neighbor Discovery answers carry.
    pub mac_v6: MacCell,
    /// The interface's own MAC address: frames to it are ours too.
    pub station: MacCell,
    /// The interface the VIPs live on; requests arriving elsewhere are not answered.
    pub ifindex: u32,
    /// Identifier of the instance (VRID), 1–255.
    pub vrid: u32,
    /// When the present claim was made, on `CLOCK_MONOTONIC` in nanoseconds.
    pub claimed_at_ns: u64,
    /// While the instance is not claimed: the station that frames for its VIPs are forwarded to;
    /// unknown: to nobody.
    pub successor: MacCell,
    /// Until when they are.
    pub drain_until_ns: u64,
    /// Written by the XDP program: when it last forwarded such a frame.
    pub drained_at_ns: u64,
    /// Zero.
    pub reserved_kernel: [u64; 7],
}

impl InstanceSlot {
    /// The claim word of an Active node.
    #[must_use]
    pub const fn claim(epoch: u32, answering: bool) -> u64 {
        let answering = if answering { ANSWERING } else { 0 };
        // A lossless widening: `u64::from` is not const.
        CLAIMED | answering | epoch as u64
    }
}

const _: () = assert!(size_of::<InstanceSlot>() == 128);
const _: () = assert!(core::mem::offset_of!(InstanceSlot, claim) == 0);
const _: () = assert!(core::mem::offset_of!(InstanceSlot, drained_at_ns) == 64);
