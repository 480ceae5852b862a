//! The flight recorder: what happened, kept where it outlives the agent.

use bytemuck::{Pod, Zeroable};

/// Records kept.
pub const FLIGHT_RECORDS: u32 = 4096;

/// Value of `FLIGHT`, written by the agent alone, used as a ring: record `n` is in entry
/// `n % FLIGHT_RECORDS`. `number` is written last.
#[repr(C, align(64))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct FlightRecord {
    /// Number of the record, from 1; 0: never written.
    pub number: u64,
    /// When it happened, on `CLOCK_MONOTONIC` in nanoseconds.
    pub at_ns: u64,
    /// What happened: a number of the agent's.
    pub kind: u32,
    /// Identifier of the instance; 0: it concerns the node.
    pub vrid: u32,
    /// The peer concerned, IPv4 in mapped form; zero: none.
    pub peer: [u8; 16],
    /// Details, by kind.
    pub details: [u64; 3],
}

const _: () = assert!(size_of::<FlightRecord>() == 64);
