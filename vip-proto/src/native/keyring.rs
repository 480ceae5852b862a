//! The cluster's keys: the first signs, all are accepted, so that keys can be rotated node by node.

use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::error::{KeyringError, RejectReason};
use crate::{Incarnation, NodeAddress};

/// Length of the authentication code: HMAC-SHA256, not truncated.
pub const MAC_LEN: usize = 32;
/// Shortest secret, in bytes: as long as the hash (RFC 2104 §3).
pub const MIN_SECRET: usize = 32;
/// What a liveness key is derived from begins so, and an advert never does.
const LIVENESS_LABEL: &[u8] = b"vip liveness 1";
/// Most keys at a time.
pub const MAX_KEYS: usize = 8;

/// One key, as given by the configuration.
#[derive(Clone, Copy)]
pub struct Key<'a> {
    /// Identifier carried in each advert.
    pub id: u8,
    /// The secret: at least [`MIN_SECRET`] bytes.
    pub secret: &'a [u8],
}

impl fmt::Debug for Key<'_> {
    /// Names the key without showing the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A key with its two hash states computed: signing clones them instead of hashing the secret again.
#[derive(Clone)]
struct PreparedKey {
    id: u8,
    state: Hmac<Sha256>,
}

/// Keys of the cluster: which key signs, which are accepted.
///
/// To rotate: add the new key as the second on every node, then make it the first everywhere, then
/// remove the old one. At no point does a node meet a key it does not know.
#[derive(Clone)]
pub struct Keyring {
    signer: PreparedKey,
    others: Vec<PreparedKey>,
}

impl Keyring {
    /// A keyring whose first key signs.
    ///
    /// # Errors
    /// If there are none or too many keys, two with one id, or one that is too short.
    pub fn new(keys: &[Key<'_>]) -> Result<Self, KeyringError> {
        let count = KeyringError::Count { found: keys.len() };
        if keys.len() > MAX_KEYS {
            return Err(count);
        }
        for (index, key) in keys.iter().enumerate() {
            if keys.iter().skip(index + 1).any(|other| other.id == key.id) {
                return Err(KeyringError::DuplicateId { id: key.id });
            }
        }
        let mut prepared = keys
            .iter()
            .map(prepare)
            .collect::<Result<Vec<_>, _>>()?
            .into_iter();
        let signer = prepared.next().ok_or(count)?;
        Ok(Self {
            signer,
            others: prepared.collect(),
        })
    }

    /// Identifier of the key that signs.
    #[must_use]
    pub const fn signing_id(&self) -> u8 {
        self.signer.id
    }

    /// Authentication code of `message` under the key that signs.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; MAC_LEN] {
        self.signer
            .state
            .clone()
            .chain_update(message)
            .finalize()
            .into_bytes()
            .into()
    }

    /// Key of the liveness probes over one link, and of their echoes: it depends on the start of the
    /// prober's agent alone, so that a responder whose agent restarts goes on answering. `None`: there
    /// is no key with this identifier. The link is named by the addresses of its two ends.
    #[must_use]
    pub fn liveness_key(
        &self,
        key_id: u8,
        prober: Incarnation,
        prober_link: NodeAddress,
        responder_link: NodeAddress,
    ) -> Option<[u64; 2]> {
        let code = self
            .key(key_id)?
            .state
            .clone()
            .chain_update(LIVENESS_LABEL)
            .chain_update(prober.0.to_be_bytes())
            .chain_update(mapped(prober_link))
            .chain_update(mapped(responder_link))
            .finalize()
            .into_bytes();
        let (words, _) = code.as_chunks::<8>();
        let [first, second, ..] = words else {
            return None;
        };
        Some([u64::from_be_bytes(*first), u64::from_be_bytes(*second)])
    }

    fn key(&self, id: u8) -> Option<&PreparedKey> {
        core::iter::once(&self.signer)
            .chain(&self.others)
            .find(|key| key.id == id)
    }

    /// Checks `mac` in constant time.
    ///
    /// # Errors
    /// [`RejectReason::UnknownKey`] or [`RejectReason::BadMac`].
    pub fn verify(&self, id: u8, message: &[u8], mac: &[u8; MAC_LEN]) -> Result<(), RejectReason> {
        let key = self.key(id).ok_or(RejectReason::UnknownKey { id })?;
        key.state
            .clone()
            .chain_update(message)
            .verify_slice(mac)
            .map_err(|_| RejectReason::BadMac)
    }
}

impl fmt::Debug for Keyring {
    /// Names the keys without showing anything derived from the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<u8> = core::iter::once(&self.signer)
            .chain(&self.others)
            .map(|key| key.id)
            .collect();
        f.debug_struct("Keyring")
            .field("ids", &ids)
            .finish_non_exhaustive()
    }
}

fn mapped(address: NodeAddress) -> [u8; 16] {
    match address.canonical().0 {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

fn prepare(key: &Key<'_>) -> Result<PreparedKey, KeyringError> {
    let short = KeyringError::ShortSecret {
        id: key.id,
        found: key.secret.len(),
    };
    if key.secret.len() < MIN_SECRET {
        return Err(short);
    }
    // HMAC takes keys of any length, so the error cannot occur; it is mapped rather than unwrapped.
    let state = Hmac::<Sha256>::new_from_slice(key.secret).map_err(|_| short)?;
    Ok(PreparedKey { id: key.id, state })
}
