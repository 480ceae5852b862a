//! The native advert: one authenticated datagram for all instances of a node.
//!
//! [`AdvertView`] borrows a datagram and checks it once; [`Advert`] is the same as values. Neither
//! knows whether the advert is fresh: that is decided by the session ([`Window`], and the echo list;
//! see `docs/election.md`).

use core::ops::RangeInclusive;
use core::time::Duration;

mod advert;
mod error;
mod keyring;
mod replay;
mod view;

#[cfg(test)]
mod tests;

pub(crate) use advert::emit;
pub use advert::{Advert, DoesNotFit, Echo, Flags, Header, InstanceRecord};
pub use error::{Field, KeyringError, RejectReason};
pub use keyring::{Key, Keyring, MAC_LEN, MAX_KEYS, MIN_SECRET};
pub use replay::{Freshness, Window};
pub use view::AdvertView;

/// Largest datagram, in bytes: fits an Ethernet MTU of 1500 with IPv6 and UDP headers.
pub const MAX_DATAGRAM: usize = 1408;
/// Most instances one node can have.
pub const MAX_INSTANCES: usize = 40;
/// Most peers' adverts one advert echoes.
pub const MAX_ECHOES: usize = 12;
/// Default UDP port of adverts.
pub const DEFAULT_PORT: u16 = 8112;
/// What an advert interval can be: 1 ms to what VRRPv3 can say (RFC 9568 §5.2.7).
pub const INTERVAL_RANGE: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_millis(40_950);
/// What a down factor can be.
pub const DOWN_FACTOR_RANGE: RangeInclusive<u8> = 2..=10;

/// Length of the fixed part, in bytes.
pub const HEADER_LEN: usize = 48;
/// Length of one instance record, in bytes.
pub const RECORD_LEN: usize = 28;
/// Length of one echo, in bytes.
pub const ECHO_LEN: usize = 16;

const MAGIC: [u8; 2] = *b"VI";
const VERSION: u8 = 1;
const TYPE_ADVERT: u8 = 1;

const _: () = assert!(
    HEADER_LEN + MAX_INSTANCES * RECORD_LEN + MAX_ECHOES * ECHO_LEN + MAC_LEN <= MAX_DATAGRAM,
    "the largest advert fits a datagram"
);
