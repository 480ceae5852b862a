//! The slot that a failover flips.

use bytemuck::{Pod, Zeroable};

use super::MacCell;

/// Value of `INSTANCES`: whether this node may act for the instance's VIPs, and as whom.
///
/// Ownership is a lease. The node is Active for the instance exactly while
/// `now < lease_until_ns`; the agent extends the lease with every advertisement it has sent, and
/// the data plane falls silent by itself when the agent does not. One aligned 8-byte store flips
/// any number of VIPs; the reader needs no lock.
///
/// One cache line each, so that a renewal never contends with a neighbour's reader.
#[repr(C, align(64))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct InstanceSlot {
    /// End of the lease on `CLOCK_MONOTONIC`, in nanoseconds; 0: not Active.
    pub lease_until_ns: u64,
    /// The MAC address that ARP and Neighbor Discovery answers carry.
    pub mac: MacCell,
    /// The interface the VIPs live on; requests arriving elsewhere are not answered.
    pub ifindex: u32,
    /// Election epoch of the last flip: grows with every claim in the cluster.
    pub epoch: u32,
    /// Zero; room for what later versions add without moving the lease.
    pub reserved: [u64; 5],
}

const _: () = assert!(size_of::<InstanceSlot>() == 64);
const _: () = assert!(core::mem::offset_of!(InstanceSlot, lease_until_ns) == 0);
const _: () = assert!(core::mem::offset_of!(InstanceSlot, mac) == 8);
