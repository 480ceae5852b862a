//! Packet headers and the in-place rewrites of the data plane.
