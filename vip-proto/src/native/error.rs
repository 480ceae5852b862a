//! Why a datagram or a keyring is not accepted, in words for a person.

use core::fmt;

/// A field of the advert, as named in `docs/election.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// Number of instance records: at most [`MAX_INSTANCES`](super::MAX_INSTANCES).
    InstanceCount,
    /// Number of echoes: at most [`MAX_ECHOES`](super::MAX_ECHOES).
    EchoCount,
    /// The sender's down factor: 2–10.
    DownFactor,
    /// The sender's incarnation: not 0.
    Incarnation,
    /// The sender's sequence number: not 0.
    Sequence,
    /// The advert interval in microseconds: 1,000–40,950,000.
    AdvertInterval,
    /// An instance's identifier: 1–255, each at most once.
    Vrid,
    /// An instance's state: 0–2.
    State,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InstanceCount => "instance count (0–48)",
            Self::EchoCount => "echo count (0–16)",
            Self::DownFactor => "down factor (2–10)",
            Self::Incarnation => "incarnation (not 0)",
            Self::Sequence => "sequence number (not 0)",
            Self::AdvertInterval => "advert interval (1,000–40,950,000 µs)",
            Self::Vrid => "VRID (1–255, each once)",
            Self::State => "state (0–2)",
        })
    }
}

/// Why a datagram was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum RejectReason {
    /// Shorter than a header and a MAC.
    #[error("too short for an advert: something else sends to this port")]
    TooShort,
    /// Longer than any advert.
    #[error("too long for an advert: something else sends to this port")]
    TooLong,
    /// Does not begin with the magic number.
    #[error("not an advert (wrong magic number): something else sends to this port")]
    WrongMagic,
    /// Made by another version of the protocol.
    #[error(
        "protocol version {found} is not spoken here (this agent speaks 1): run the same agent version on all nodes"
    )]
    WrongVersion {
        /// The version in the datagram.
        found: u8,
    },
    /// A message type this version does not know.
    #[error("message type {found} is unknown (this agent knows 1, the advert)")]
    WrongType {
        /// The type in the datagram.
        found: u8,
    },
    /// The counts in the header do not give the length of the datagram.
    #[error("the length does not fit the counts in the header: truncated or corrupted on the way")]
    LengthMismatch,
    /// A field has a value it cannot have.
    #[error("impossible value of the field {0}")]
    BadField(Field),
    /// The sender named inside is not the source of the datagram.
    #[error(
        "the sender named in the advert is not the datagram's source address: address translation between the nodes, or `cluster.address` is wrong on the sender"
    )]
    SenderMismatch,
    /// The source is not among the configured peers.
    #[error("the sender is not a configured peer: add it to `peers`, or stop the agent there")]
    UnknownPeer,
    /// More senders than can be kept.
    #[error("too many nodes on the group: only so many can be followed")]
    TooManyPeers,
    /// No key has this identifier.
    #[error("signed with key {id}, which is not configured here: give all nodes the same keys")]
    UnknownKey {
        /// Identifier of the key.
        id: u8,
    },
    /// The message authentication code does not fit.
    #[error(
        "wrong message authentication code: the nodes have different secrets under one key id, or the advert is forged"
    )]
    BadMac,
    /// The sequence number was seen before, or is too old to tell.
    #[error("replayed, duplicated or very late advert (old sequence number)")]
    Replayed,
    /// From an incarnation of the sender that has been superseded, and without a sign of being new.
    #[error(
        "advert of an earlier start of the sender: replayed, or two agents run with one address"
    )]
    StaleSession,
    /// This node's own advert came back.
    #[error(
        "this node's own advert came back: another node has the same address, or the network loops"
    )]
    OwnPacket,
}

/// Why keys cannot make a keyring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// Neither none nor more than [`MAX_KEYS`](super::MAX_KEYS).
    #[error("{found} keys given: 1 to 8 are possible")]
    Count {
        /// How many were given.
        found: usize,
    },
    /// Two keys share an identifier.
    #[error("two keys have the id {id}")]
    DuplicateId {
        /// The identifier.
        id: u8,
    },
    /// A secret is too short to be one.
    #[error(
        "the secret of key {id} has {found} bytes: at least 32 are needed (`head -c 32 /dev/urandom`)"
    )]
    ShortSecret {
        /// The key's identifier.
        id: u8,
        /// Its length in bytes.
        found: usize,
    },
}
