//! The control API over a Unix socket: `server` in the daemon, `client` in the command line.

pub mod client;
mod listener;
pub mod server;
pub mod view;
