//! Hysteresis: a single lost or lucky check does not move traffic.

use core::num::NonZeroU8;

/// Whether the thing watched works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Health {
    /// It works.
    Up,
    /// It does not.
    Down,
}

/// Turns single samples into a state that changes only after several in a row.
#[derive(Debug, Clone, Copy)]
pub struct Hysteresis {
    rise: NonZeroU8,
    fall: NonZeroU8,
    health: Option<Health>,
    /// Samples in a row that contradict `health`.
    against: u8,
}

impl Hysteresis {
    /// A state not known yet: the first sample decides it alone, so that a start is not held up.
    ///
    /// After that, `rise` successes in a row make it [`Health::Up`], `fall` failures in a row
    /// [`Health::Down`].
    #[must_use]
    pub const fn new(rise: NonZeroU8, fall: NonZeroU8) -> Self {
        Self {
            rise,
            fall,
            health: None,
            against: 0,
        }
    }

    /// The state, once there was a sample.
    #[must_use]
    pub const fn health(&self) -> Option<Health> {
        self.health
    }

    /// Takes one sample; answers the new state if it changed.
    pub fn sample(&mut self, success: bool) -> Option<Health> {
        let sampled = if success { Health::Up } else { Health::Down };
        if self.health == Some(sampled) {
            self.against = 0;
            return None;
        }
        self.against = self.against.saturating_add(1);
        let needed = match (self.health, sampled) {
            (None, _) => 1,
            (Some(_), Health::Up) => self.rise.get(),
            (Some(_), Health::Down) => self.fall.get(),
        };
        if self.against < needed {
            return None;
        }
        self.against = 0;
        self.health = Some(sampled);
        self.health
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn hysteresis(rise: u8, fall: u8) -> Hysteresis {
        Hysteresis::new(NonZeroU8::new(rise).unwrap(), NonZeroU8::new(fall).unwrap())
    }

    /// The changes as (index of the sample, new state); `+` is a success.
    fn changes(mut hysteresis: Hysteresis, samples: &str) -> Vec<(usize, Health)> {
        let samples = samples.bytes().enumerate();
        samples
            .filter_map(|(n, sample)| Some((n, hysteresis.sample(sample == b'+')?)))
            .collect()
    }

    #[test]
    fn the_first_sample_decides_alone() {
        assert_eq!(hysteresis(3, 3).health(), None);
        assert_eq!(changes(hysteresis(3, 3), "+++"), [(0, Health::Up)]);
        assert_eq!(changes(hysteresis(3, 3), "---"), [(0, Health::Down)]);
    }

    #[test]
    fn it_falls_after_fall_failures_in_a_row_and_rises_after_rise_successes() {
        let expected = [(0, Health::Up), (3, Health::Down), (5, Health::Up)];
        assert_eq!(changes(hysteresis(2, 3), "+---++"), expected);
    }

    #[test]
    fn a_sample_in_between_starts_the_count_again() {
        assert_eq!(changes(hysteresis(2, 3), "+--+--+--"), [(0, Health::Up)]);
        assert_eq!(changes(hysteresis(2, 3), "-+-+-+-"), [(0, Health::Down)]);
    }

    #[test]
    fn with_rise_and_fall_of_one_every_change_counts() {
        let expected = [(0, Health::Up), (1, Health::Down), (2, Health::Up)];
        assert_eq!(changes(hysteresis(1, 1), "+-+"), expected);
    }
}
