//! The flight recorder: what led to each decision, kept where it outlives the agent.
//!
//! The election thread writes ([`Recorder`]) into a ring that is pinned with the data plane and
//! mapped into memory: a few stores per record, no system call, no allocation. Whoever asks "why did
//! it fail over?" reads it ([`story`]), from a running agent or from what a dead one left behind.

pub mod event;
pub mod record;
pub mod recorder;
mod reject;
mod shown;
pub mod story;

pub use event::Event;
pub use record::Entry;
pub use recorder::Recorder;
