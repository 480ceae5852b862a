//! One file per stage. A stage decides (`Break` with a verdict) or leaves the packet to the next
//! one (`Continue`), then untouched.

pub mod arp;
pub mod classify;
pub mod drain;
pub mod liveness;
pub mod ndp;
pub mod steer;
pub mod vrrp;
