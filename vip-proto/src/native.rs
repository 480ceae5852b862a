//! The native advert: one authenticated datagram for all instances of a node.

/// Largest datagram, in bytes: fits an Ethernet MTU of 1500 with IPv6 and UDP headers.
pub const MAX_DATAGRAM: usize = 1408;
/// Most instances one node can have.
pub const MAX_INSTANCES: usize = 48;
/// Default UDP port of adverts.
pub const DEFAULT_PORT: u16 = 8112;

/// Keys of the cluster: which key signs, which are accepted.
#[derive(Debug, Clone)]
pub struct Keyring {}

/// Why a datagram was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RejectReason {}
