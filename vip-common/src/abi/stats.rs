//! Packets and bytes.

use bytemuck::{Pod, Zeroable};

/// Value of `VIP_STATS` and `BACKEND_STATS`, one per CPU: what was accepted for the VIP, or sent to
/// the backend. Bytes count the frame from the Ethernet header on.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Stats {
    /// Number of packets.
    pub packets: u64,
    /// Number of bytes.
    pub bytes: u64,
}

const _: () = assert!(size_of::<Stats>() == 16);
