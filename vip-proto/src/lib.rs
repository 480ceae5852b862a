//! The decisions of VIP, without any I/O: `no_std`, no clock, no sockets, no randomness.
//!
//! [`Node`] is the whole of one node's control logic: it authenticates and parses adverts, runs one
//! [election] per instance, and says what is to be done. It is driven like this:
//!
//! 1. call a `handle_*` method with what happened and the time at which it happened;
//! 2. drain [`Node::poll_action`] until it answers `None`, carrying out each action in order;
//! 3. sleep until [`Node::poll_timeout`] or the next input; then call [`Node::handle_timeout`] or
//!    the handler of that input, *inputs first*: news waiting in a queue may make a timeout moot.
//!
//! The daemon, the simulator and the tests all run this code.
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing)]

extern crate alloc;

pub mod announce;
pub mod backend;
pub mod election;
pub mod health;
pub mod ids;
pub mod native;
pub mod node;
pub mod time;

pub use ids::{Epoch, Incarnation, NodeAddress, Priority, Vrid};
pub use node::{Action, Node};
pub use time::Instant;
