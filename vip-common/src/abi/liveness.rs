//! What the data plane knows of the nodes it exchanges liveness probes with.

use bytemuck::{Pod, Zeroable};

/// Instances a probe can ask about.
pub const PROBE_INSTANCES: usize = 8;

/// Key of `PEERS`: the source address of probes and echoes, IPv4 in mapped form, network byte order.
pub type PeerKey = [u8; 16];

/// Value of `LIVENESS`: one link to one peer. The first cache line belongs to the agent; the others
/// to the XDP program, `probed_*` when it answers a probe and `echo` when one of ours is answered.
#[repr(C, align(64))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct LivenessSlot {
    /// SipHash key of the probes this peer sends; zero: its probes are not answered.
    pub probe_key: [u64; 2],
    /// SipHash key of the probes this node sends to the peer, and of the echoes to them; zero: none
    /// are sent.
    pub echo_key: [u64; 2],
    /// This node's own address on the link, in the form of [`PeerKey`]: probes to another are not
    /// ours.
    pub local: PeerKey,
    /// Zero.
    pub reserved: [u64; 2],
    /// Nonce of the last probe that was answered under `probed_key`; only a greater one is.
    pub probed_nonce: u64,
    /// The low half of the `probe_key` that `probed_nonce` belongs to: with a new key, nonces begin
    /// anew.
    pub probed_key: u64,
    /// When it was answered, on `CLOCK_MONOTONIC` in nanoseconds.
    pub probed_at_ns: u64,
    /// Time saved up for echoes, in nanoseconds: every echo costs some of it, every nanosecond that
    /// passes adds one (see [`MAX_CREDIT_NS`](crate::net::liveness::MAX_CREDIT_NS)).
    pub credit_ns: u64,
    /// Zero.
    pub reserved_probed: [u64; 4],
    /// The last echo.
    pub echo: EchoStamp,
}

/// An echo as it arrived. `begin` is written first and `end` last: a reader that finds them equal
/// before and after has read one echo.
#[repr(C, align(64))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct EchoStamp {
    /// The nonce of the probe that was answered: when it was sent, by this node's clock.
    pub begin: u64,
    /// When the echo arrived, on `CLOCK_MONOTONIC` in nanoseconds.
    pub arrived_ns: u64,
    /// Incarnation of the peer's agent.
    pub incarnation: u64,
    /// What was left of its lease, in nanoseconds; 0: it is over, for good.
    pub lease_left_ns: u64,
    /// What was asked about: each the eight bytes of an [`entry`](crate::net::liveness::entry) as
    /// they lie in memory, so that `values(word.to_ne_bytes())` takes them apart.
    pub instances: [u64; PROBE_INSTANCES],
    /// The nonce again.
    pub end: u64,
    /// Zero.
    pub reserved: [u64; 3],
}

const _: () = assert!(size_of::<EchoStamp>() == 128);
const _: () = assert!(size_of::<LivenessSlot>() == 256);
const _: () = assert!(core::mem::offset_of!(LivenessSlot, probed_nonce) == 64);
const _: () = assert!(core::mem::offset_of!(LivenessSlot, echo) == 128);
