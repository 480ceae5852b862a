//! Which sequence numbers of a session have been seen (the sliding window of RFC 4303 §3.4.3).

/// What a sequence number is to the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Greater than all before.
    Newest,
    /// Not seen before, but overtaken by a newer one.
    Late,
    /// Seen before, or too old to tell.
    Replayed,
}

/// The highest sequence number seen and which of the 64 up to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    highest: u64,
    /// Bit n: `highest - n` was seen.
    seen: u64,
}

impl Window {
    /// How many sequence numbers it remembers.
    pub const LEN: u64 = 64;

    /// A window that has seen `sequence` and regards everything before it as replayed.
    #[must_use]
    pub const fn starting_at(sequence: u64) -> Self {
        Self {
            highest: sequence,
            seen: u64::MAX,
        }
    }

    /// The greatest sequence number seen.
    #[must_use]
    pub const fn highest(&self) -> u64 {
        self.highest
    }

    /// Takes note of `sequence`.
    pub fn accept(&mut self, sequence: u64) -> Freshness {
        if sequence > self.highest {
            let ahead = sequence - self.highest;
            self.seen = if ahead < Self::LEN {
                (self.seen << ahead) | 1
            } else {
                1
            };
            self.highest = sequence;
            return Freshness::Newest;
        }
        let behind = self.highest - sequence;
        if behind >= Self::LEN || self.seen & (1 << behind) != 0 {
            return Freshness::Replayed;
        }
        self.seen |= 1 << behind;
        Freshness::Late
    }
}
