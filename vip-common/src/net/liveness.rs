//! Liveness probes and their echoes: the payload of a UDP datagram, the same in both directions, so
//! that an answer is never longer than the question.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 2 | magic `VP` |
//! | 2 | 1 | version 1 |
//! | 3 | 1 | kind: 1 probe, 2 echo |
//! | 4 | 4 | reserved: 0 |
//! | 8 | 8 | nonce: when the probe was sent, by the prober's monotonic clock, in ns |
//! | 16 | 8 | incarnation of the sender of this datagram |
//! | 24 | 8 | echo: what is left of the sender's lease in ns, 0: it is over; probe: 0 |
//! | 32 | 8 × 8 | instances, see [`entry`]: asked about, and answered in the same places |
//! | 96 | 8 | SipHash-2-4 of everything before |
//!
//! All numbers are in network byte order; SipHash takes the twelve words before it as they lie on
//! the wire, that is, in little-endian order.

mod packet;

use bytemuck::{Pod, Zeroable};

pub use self::packet::{PacketV4, PacketV6};
use crate::abi::PROBE_INSTANCES;

/// First two bytes.
pub const MAGIC: [u8; 2] = *b"VP";
/// Version of the format.
pub const VERSION: u8 = 1;
/// Kind of a question.
pub const PROBE: u8 = 1;
/// Kind of an answer.
pub const ECHO: u8 = 2;
/// Words that are authenticated.
pub const WORDS: usize = 12;
/// Time between the nonces of two probes that are answered, at least, in nanoseconds; and what an
/// echo costs of a link's [`MAX_CREDIT_NS`]. So whatever a peer sends, it gets no more than 50,000
/// echoes a second.
pub const MIN_NONCE_STEP_NS: u64 = 20_000;
/// Time that a link can have saved up for echoes, in nanoseconds: probes that come all at once after
/// a delay are all answered, 500 at most.
pub const MAX_CREDIT_NS: u64 = 10_000_000;

/// State in an [`entry`]: the node has no such instance.
pub const UNKNOWN: u8 = 0;
/// State in an [`entry`]: not Active.
pub const NOT_ACTIVE: u8 = 1;
/// State in an [`entry`]: Active, with a valid lease.
pub const ACTIVE: u8 = 2;

/// The payload.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct Liveness {
    /// [`MAGIC`].
    pub magic: [u8; 2],
    /// [`VERSION`].
    pub version: u8,
    /// [`PROBE`] or [`ECHO`].
    pub kind: u8,
    /// Zero.
    pub reserved: [u8; 4],
    /// When the probe was sent.
    pub nonce: [u8; 8],
    /// Incarnation of the sender's agent.
    pub incarnation: [u8; 8],
    /// What is left of the sender's lease.
    pub lease_left_ns: [u8; 8],
    /// Instances.
    pub instances: [[u8; 8]; PROBE_INSTANCES],
    /// Authentication code.
    pub mac: [u8; 8],
}

const _: () = assert!(size_of::<Liveness>() == WORDS * 8 + 8);

/// An instance as the eight bytes of an entry, first byte first: VRID (0: none), state, two zero
/// bytes, epoch.
#[must_use]
pub const fn entry(vrid: u8, state: u8, epoch: u32) -> [u8; 8] {
    let [a, b, c, d] = epoch.to_be_bytes();
    [vrid, state, 0, 0, a, b, c, d]
}

/// The three values of an [`entry`].
#[must_use]
pub const fn values([vrid, state, _, _, a, b, c, d]: [u8; 8]) -> (u8, u8, u32) {
    (vrid, state, u32::from_be_bytes([a, b, c, d]))
}

impl Liveness {
    /// A probe that asks about up to eight instances, signed.
    #[must_use]
    pub fn probe(
        nonce: u64,
        incarnation: u64,
        vrids: [u8; PROBE_INSTANCES],
        key: [u64; 2],
    ) -> Self {
        let mut probe = Self {
            magic: MAGIC,
            version: VERSION,
            kind: PROBE,
            reserved: [0; 4],
            nonce: nonce.to_be_bytes(),
            incarnation: incarnation.to_be_bytes(),
            lease_left_ns: [0; 8],
            instances: vrids.map(|vrid| entry(vrid, UNKNOWN, 0)),
            mac: [0; 8],
        };
        probe.mac = probe.authentication_code(key);
        probe
    }

    /// Makes a probe the echo to it, but for its instances and the authentication code.
    #[inline(always)]
    pub const fn answer(&mut self, incarnation: u64, lease_left_ns: u64) {
        self.kind = ECHO;
        self.incarnation = incarnation.to_be_bytes();
        self.lease_left_ns = lease_left_ns.to_be_bytes();
    }

    /// Whether it begins as this version's payloads do.
    #[must_use]
    #[inline(always)]
    pub const fn is_known(&self) -> bool {
        self.magic[0] == MAGIC[0] && self.magic[1] == MAGIC[1] && self.version == VERSION
    }

    /// The first eight bytes, in two halves.
    #[inline(always)]
    const fn first_halves(&self) -> [[u8; 4]; 2] {
        let [a, b] = self.magic;
        [[a, b, self.version, self.kind], self.reserved]
    }

    /// SipHash-2-4 of everything before the code.
    #[must_use]
    #[inline(always)]
    pub fn authentication_code(&self, key: [u64; 2]) -> [u8; 8] {
        let ([a, b], [e, f, g, h]) = (self.magic, self.reserved);
        let first = u64::from_le_bytes([a, b, self.version, self.kind, e, f, g, h]);
        let mut hash = SipHash::new(key);
        hash.word(first);
        hash.word(u64::from_le_bytes(self.nonce));
        hash.word(u64::from_le_bytes(self.incarnation));
        hash.word(u64::from_le_bytes(self.lease_left_ns));
        for instance in self.instances {
            hash.word(u64::from_le_bytes(instance));
        }
        hash.finish().to_le_bytes()
    }
}

/// SipHash-2-4 (Aumasson and Bernstein, 2012) of a message of [`WORDS`] whole words. Written out
/// here because the XDP program needs it without loops over memory or branches.
struct SipHash {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
}

impl SipHash {
    #[inline(always)]
    const fn new([k0, k1]: [u64; 2]) -> Self {
        Self {
            v0: k0 ^ 0x736f_6d65_7073_6575,
            v1: k1 ^ 0x646f_7261_6e64_6f6d,
            v2: k0 ^ 0x6c79_6765_6e65_7261,
            v3: k1 ^ 0x7465_6462_7974_6573,
        }
    }

    #[inline(always)]
    const fn round(&mut self) {
        self.v0 = self.v0.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(13) ^ self.v0;
        self.v0 = self.v0.rotate_left(32);
        self.v2 = self.v2.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(16) ^ self.v2;
        self.v0 = self.v0.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(21) ^ self.v0;
        self.v2 = self.v2.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(17) ^ self.v2;
        self.v2 = self.v2.rotate_left(32);
    }

    #[inline(always)]
    const fn word(&mut self, word: u64) {
        self.v3 ^= word;
        self.round();
        self.round();
        self.v0 ^= word;
    }

    #[inline(always)]
    const fn finish(mut self) -> u64 {
        // The last word holds the length of the message in bytes, modulo 256, in its top byte.
        self.word((WORDS as u64 * 8) << 56);
        self.v2 ^= 0xff;
        self.round();
        self.round();
        self.round();
        self.round();
        self.v0 ^ self.v1 ^ self.v2 ^ self.v3
    }
}
