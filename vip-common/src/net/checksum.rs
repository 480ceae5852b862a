//! The Internet checksum: ones' complement sums (RFC 1071) and incremental update (RFC 1624).
//!
//! All words are read in host byte order: a ones' complement sum is the same in either order as
//! long as the result is stored the way the words were read (RFC 1071 §2 B).

/// A running ones' complement sum.
///
/// Wide enough never to overflow over what a packet can hold, so that carries are folded in once at
/// the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum(u64);

impl Sum {
    /// The sum of nothing.
    pub const ZERO: Self = Self(0);

    /// Adds one 16-bit word as it lies in the packet.
    #[must_use]
    pub const fn word(self, word: [u8; 2]) -> Self {
        Self(self.0 + u16::from_ne_bytes(word) as u64)
    }

    /// Adds two words.
    #[must_use]
    pub const fn half(self, bytes: &[u8; 4]) -> Self {
        Self(self.0 + u32::from_ne_bytes(*bytes) as u64)
    }

    /// Adds four words.
    #[must_use]
    pub const fn eight(self, bytes: &[u8; 8]) -> Self {
        let all = u64::from_ne_bytes(*bytes);
        // 2^16 ≡ 2^32 ≡ 1 modulo 0xffff: 32-bit halves may be added as they are.
        Self(self.0 + (all >> 32) + (all & 0xffff_ffff))
    }

    /// Adds eight words, such as an IPv6 address.
    #[must_use]
    pub const fn sixteen(self, bytes: &[u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *bytes;
        self.eight(&[a, b, c, d, e, f, g, h])
            .eight(&[i, j, k, l, m, n, o, p])
    }

    /// Adds any number of bytes, the last one padded with zero (RFC 1071 §1). Not for the data
    /// plane, whose loops must be bounded.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        let mut chunks = bytes.chunks_exact(2);
        let mut sum = self;
        for chunk in &mut chunks {
            if let &[high, low] = chunk {
                sum = sum.word([high, low]);
            }
        }
        match chunks.remainder() {
            &[last] => sum.word([last, 0]),
            _ => sum,
        }
    }

    /// Folds all carries back in.
    #[must_use]
    pub const fn fold(self) -> u16 {
        let sum = (self.0 >> 32) + (self.0 & 0xffff_ffff); // ≤ 33 bits
        let sum = (sum >> 16) + (sum & 0xffff); // ≤ 18 bits
        let sum = (sum >> 16) + (sum & 0xffff); // ≤ 17 bits
        let sum = (sum >> 16) + (sum & 0xffff); // 16 bits
        #[expect(clippy::cast_possible_truncation, reason = "folded to 16 bits above")]
        let folded = sum as u16;
        folded
    }

    /// The checksum of what was added, as it is stored in the packet.
    #[must_use]
    pub const fn checksum(self) -> [u8; 2] {
        (!self.fold()).to_ne_bytes()
    }

    /// Whether what was added, its checksum included, is undamaged.
    #[must_use]
    pub const fn is_valid(self) -> bool {
        self.fold() == 0xffff
    }
}

/// The checksum after one of the words it covers has changed (RFC 1624 equation 3).
///
/// Equal to the checksum computed anew, except where everything covered is zero after the change:
/// then `0x0000` is returned, which is not valid; see [`update_all`].
#[must_use]
pub const fn update(checksum: [u8; 2], old: [u8; 2], new: [u8; 2]) -> [u8; 2] {
    Sum(!u16::from_ne_bytes(checksum) as u64 + !u16::from_ne_bytes(old) as u64)
        .word(new)
        .checksum()
}

/// Like [`update`], for data that may become zero throughout (an ICMP echo reply with identifier,
/// sequence number and payload all zero has the checksum `0xffff`).
///
/// `0x0000` and `0xffff` are the same number in ones' complement and an incremental update cannot
/// tell which one a full computation would give. `0xffff` verifies in either case, so it is used.
#[must_use]
pub const fn update_all(checksum: [u8; 2], old: [u8; 2], new: [u8; 2]) -> [u8; 2] {
    match update(checksum, old, new) {
        [0, 0] => [0xff, 0xff],
        other => other,
    }
}
