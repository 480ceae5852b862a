//! When two states are the same: a hash that knows no absolute numbers.
//!
//! What a node remembers is read from its `Debug` text, so nothing can be forgotten: a field that is
//! added later counts as it stands until this file knows better. Instants become distances from
//! now, incarnations names of starts, sequence numbers and epochs distances from the latest. What
//! lies so far back that nothing asks for it any more is the same whenever it was.

use std::hash::Hasher;

use vip_proto::Instant;

/// Starts of an agent that are told apart.
pub(crate) const LIVES: usize = 32;
/// An incarnation is the host's number (from 1) times this, plus the start.
pub(crate) const INCARNATIONS: u64 = 1000;
/// How far back sequence numbers count; no link is cut, and no node frozen, for as many adverts.
const SEQUENCES: u64 = 8;
/// Bits of a replay window that count.
const WINDOW: u64 = (1 << SEQUENCES) - 1;

/// What everything is measured from.
pub(crate) struct Origin<'a> {
    /// The clock of the host whose memory it is.
    pub(crate) now: Instant,
    /// After this long, what was is forgotten.
    pub(crate) memory: u64,
    /// What lies further ahead is the same.
    pub(crate) future: u64,
    /// The latest epoch anywhere.
    pub(crate) epoch: u32,
    /// The last sequence number of each start of each host.
    pub(crate) sent: &'a [[u64; LIVES]],
    /// The incarnation whose sequence numbers a bare number is one of.
    pub(crate) own: u64,
}

/// Fields that say what was and why, and decide nothing.
const COSMETIC: [&[u8]; 10] = [
    b"since",
    b"reason",
    b"counters",
    b"rejections",
    b"adverts",
    b"told_stall",
    b"told_unanswered",
    b"told_late",
    b"told_missed",
    b"rtt",
];
/// Of these the moment counts only as long as it is to come.
const DEADLINES: [&[u8]; 2] = [b"stalled_until", b"alone_until"];

impl Origin<'_> {
    /// Hashes a `Debug` text.
    pub(crate) fn digest(&self, text: &str, hasher: &mut impl Hasher) {
        let mut rest = text.as_bytes();
        let mut key: &[u8] = b"";
        let mut depth = 0_u32;
        let mut speaker = self.own;
        while let Some(&byte) = rest.first() {
            if byte.is_ascii_alphabetic() || byte == b'_' {
                let len = word(rest);
                let name = &rest[..len];
                rest = &rest[len..];
                if rest.first() == Some(&b':') {
                    key = name;
                    // The node's own count is where the others are measured from.
                    if COSMETIC.contains(&name) || (name == b"sequence" && depth == 1) {
                        rest = skip(rest);
                        continue;
                    }
                } else if matches!(name, b"Instant" | b"Incarnation" | b"Epoch") && rest[0] == b'('
                {
                    let (number, len) = number(&rest[1..]);
                    rest = &rest[len + 2..];
                    if name == b"Incarnation" {
                        speaker = number;
                    }
                    hasher.write_u64(self.place(name, key, number));
                    continue;
                }
                hasher.write(name);
            } else if byte.is_ascii_digit() {
                let (number, len) = number(rest);
                rest = &rest[len..];
                hasher.write_u64(match key {
                    b"sequence" | b"highest" => self.behind(speaker, number),
                    b"floor" | b"forgot_at" => self.behind(self.own, number),
                    b"seen" => number & WINDOW,
                    _ => number,
                });
            } else {
                match byte {
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth -= 1,
                    _ => {}
                }
                if byte != b' ' {
                    hasher.write_u8(byte);
                }
                rest = &rest[1..];
            }
        }
    }

    fn place(&self, name: &[u8], key: &[u8], number: u64) -> u64 {
        match name {
            b"Instant" => self.distance(key, number),
            b"Epoch" => u64::from(self.epoch) - number,
            _ => self.start(number),
        }
    }

    /// Distance from now, in such a way that past and future do not meet.
    fn distance(&self, key: &[u8], at: u64) -> u64 {
        let now = self.now.as_nanos();
        let memory = match key {
            key if DEADLINES.contains(&key) => 0,
            // Of probes: only the latest can still be answered.
            b"sent" => self.memory / 4,
            _ => self.memory,
        };
        (at + memory)
            .saturating_sub(now)
            .min(self.memory + self.future)
    }

    /// The host, and how many starts ago.
    fn start(&self, incarnation: u64) -> u64 {
        let host = incarnation / INCARNATIONS;
        let lives = host
            .checked_sub(1)
            .map_or(0, |host| lives(&self.sent[usize::try_from(host).unwrap()]));
        host * INCARNATIONS + lives - incarnation % INCARNATIONS
    }

    fn behind(&self, speaker: u64, sequence: u64) -> u64 {
        let Some(host) = (speaker / INCARNATIONS).checked_sub(1) else {
            return sequence;
        };
        let life = usize::try_from(speaker % INCARNATIONS).unwrap();
        let sent = self.sent[usize::try_from(host).unwrap()][life];
        assert!(sequence <= sent, "{sequence} of {speaker} was never sent");
        (sent - sequence).min(SEQUENCES)
    }
}

/// A quick hash of 64 bits; nobody chooses its input.
#[derive(Default)]
pub(crate) struct Mixer(u64);

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(u64::from(byte));
    }

    fn write_u64(&mut self, word: u64) {
        let mixed = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

/// The present start of a host: the last that has sent anything.
fn lives(sent: &[u64; LIVES]) -> u64 {
    sent.iter()
        .rposition(|sent| *sent > 0)
        .map_or(0, |life| life as u64)
}

fn word(text: &[u8]) -> usize {
    let part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    text.iter().take_while(|byte| part(byte)).count()
}

fn number(text: &[u8]) -> (u64, usize) {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    let mut len = 0;
    let value = digits.fold(0_u64, |value, digit| {
        len += 1;
        value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'))
    });
    (value, len)
}

/// What follows a value: up to the comma or bracket that ends it.
fn skip(text: &[u8]) -> &[u8] {
    let mut depth = 0_u32;
    let end = text.iter().position(|byte| match byte {
        b'{' | b'[' | b'(' => {
            depth += 1;
            false
        }
        b'}' | b']' | b')' => match depth.checked_sub(1) {
            Some(less) => {
                depth = less;
                false
            }
            None => true,
        },
        b',' => depth == 0,
        _ => false,
    });
    &text[end.unwrap_or(text.len())..]
}
