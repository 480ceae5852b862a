//! What the agent puts on the wire besides adverts.

pub mod announce;
mod packet_socket;
pub mod probes;
