//! The names and numbers of the election, each a type of its own.

use core::fmt;
use core::net::IpAddr;
use core::num::NonZeroU8;

/// Identifies an instance (RFC 9568: virtual router) on its network: 1–255, the same on all nodes
/// (RFC 9568 §5.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vrid(NonZeroU8);

impl Vrid {
    /// The identifier with this number; `None` for 0, which is reserved.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        match NonZeroU8::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number, 1–255.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0.get()
    }
}

impl fmt::Display for Vrid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A node's priority for an instance: 1–254, higher is preferred (RFC 9568 §5.2.4). On the wire 0
/// means "no longer participating" and 255 is the address owner's; neither is a configured value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(NonZeroU8);

impl Priority {
    /// RFC 9568 §5.2.4's default for nodes that back each other up.
    pub const DEFAULT: Self = match Self::new(100) {
        Some(priority) => priority,
        None => panic!("100 lies within 1–254"),
    };

    /// The priority with this number; `None` outside 1–254.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        match NonZeroU8::new(number) {
            Some(number) if number.get() <= 254 => Some(Self(number)),
            _ => None,
        }
    }

    /// The number, 1–254.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0.get()
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Counts the claims of an instance in the cluster: each claim takes a higher epoch than any seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u32);

impl Epoch {
    /// The epoch of the next claim.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A random number a node takes each time its agent starts. It tells a restarted node from its past,
/// and an advert that echoes it was made after that start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The address a node sends its adverts from. It names the node, and breaks ties between equal
/// priorities: the greater address wins (RFC 9568 §6.4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeAddress(pub IpAddr);

impl NodeAddress {
    /// The address with an IPv4 address mapped into IPv6 (as dual-stack sockets show it) as IPv4.
    #[must_use]
    pub const fn canonical(self) -> Self {
        Self(self.0.to_canonical())
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
