//! Packet headers and the in-place rewrites of the data plane.
//!
//! Everything here is safe code over typed header views and runs in two places: on the host, under
//! plain tests and in the announcements the agent sends, and inside the XDP program, which adds the
//! bounds check and nothing else.

pub mod arp;
pub mod checksum;
pub mod ethernet;
pub mod header;
pub mod icmp;
pub mod ip;
pub mod liveness;
pub mod ndp;
pub mod vrrp;

pub use arp::gratuitous_arp;
pub use header::Header;
pub use ndp::unsolicited_na;

/// An Ethernet hardware address.
pub type MacAddress = [u8; 6];
