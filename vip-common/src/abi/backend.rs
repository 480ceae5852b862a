//! Where packets for a VIP are steered.

use bytemuck::{Pod, Zeroable};

/// `ServiceSlot::mode`: hand the packet to this host's own network stack.
pub const STEER_LOCAL: u32 = 0;
/// `ServiceSlot::mode`: direct routing; rewrite the destination MAC and send the frame on.
pub const STEER_L2: u32 = 1;
/// `ServiceSlot::backend`: no backend is healthy.
pub const NO_BACKEND: u32 = u32::MAX;

/// Value of `SERVICES`: how and to whom packets are steered. Eight aligned bytes, so that a change
/// of the active backend is one store and no reader sees half of it.
#[repr(C, align(8))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct ServiceSlot {
    /// [`STEER_LOCAL`] or [`STEER_L2`].
    pub mode: u32,
    /// Index into `BACKENDS` of the active backend, or [`NO_BACKEND`].
    pub backend: u32,
}

/// A MAC address in eight aligned bytes: read and replaced as a whole.
#[repr(C, align(8))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct MacCell {
    /// The address; all zero: not known (yet).
    pub mac: [u8; 6],
    /// Zero.
    pub reserved: [u8; 2],
}

impl MacCell {
    /// The cell that holds `mac`.
    #[must_use]
    pub const fn new(mac: [u8; 6]) -> Self {
        Self {
            mac,
            reserved: [0; 2],
        }
    }

    /// Whether an address is known.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        u64::from_ne_bytes([
            self.mac[0],
            self.mac[1],
            self.mac[2],
            self.mac[3],
            self.mac[4],
            self.mac[5],
            0,
            0,
        ]) != 0
    }
}

/// Value of `BACKENDS`: how a frame reaches one backend.
#[repr(C, align(8))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct BackendEntry {
    /// Destination MAC of steered frames; unknown until the neighbour is resolved.
    pub destination: MacCell,
    /// Source MAC of steered frames: that of the interface they leave by.
    pub source: MacCell,
    /// The interface behind which the backend is.
    pub ifindex: u32,
    /// Zero.
    pub reserved: u32,
}

const _: () = assert!(size_of::<ServiceSlot>() == 8);
const _: () = assert!(size_of::<MacCell>() == 8);
const _: () = assert!(size_of::<BackendEntry>() == 24);
