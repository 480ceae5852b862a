//! What the data plane knows of one virtual IP address.

use bytemuck::{Pod, Zeroable};

/// Key of `VIPS_V4`: the address in network byte order.
pub type VipKeyV4 = [u8; 4];

/// Key of `VIPS_V6`: the address in network byte order.
pub type VipKeyV6 = [u8; 16];

/// Value of `VIPS_V4` and `VIPS_V6`. Written when the configuration is applied, never at failover.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct VipEntry {
    /// Index into `INSTANCES`: whose lease decides about this address.
    pub instance: u32,
    /// Index into `SERVICES`: where packets for this address go.
    pub service: u32,
    /// Index into `VIP_STATS`.
    pub stats: u32,
    /// Zero; room for per-VIP flags.
    pub reserved: u32,
}

const _: () = assert!(size_of::<VipEntry>() == 16);

/// Value of `VIP_SEEN`, by VIP index: who uses the address, as far as the data plane can tell. Both
/// are stored seldom, so that a busy VIP does not keep moving a cache line between CPUs.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct VipSeen {
    /// When somebody last asked for the address or sent to it, on `CLOCK_MONOTONIC` in nanoseconds,
    /// to within a second; on a Backup too.
    pub wanted_ns: u64,
    /// When the first packet to the address arrived after the instance's present claim was made.
    pub first_packet_ns: u64,
}

const _: () = assert!(size_of::<VipSeen>() == 16);
