//! What gets through between the hosts, and when.

use std::time::Duration;

use crate::faults::Setup;
use crate::rng::Rng;

/// The links, each in both directions.
#[derive(Debug)]
pub(crate) struct Network {
    rng: Rng,
    /// `cut[from][to]`.
    cut: Vec<Vec<bool>>,
    /// Whether the last advert was lost.
    lost: Vec<Vec<bool>>,
    /// How many probes, or their echoes, were lost since the last that was not.
    row: Vec<Vec<u8>>,
}

impl Network {
    pub(crate) fn new(hosts: usize, seed: u64) -> Self {
        Self {
            rng: Rng::new(seed ^ 0x11e7),
            cut: vec![vec![false; hosts]; hosts],
            lost: vec![vec![false; hosts]; hosts],
            row: vec![vec![0; hosts]; hosts],
        }
    }

    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        self.cut[from][to] = true;
    }

    pub(crate) fn heal(&mut self) {
        self.cut.iter_mut().flatten().for_each(|cut| *cut = false);
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.cut.iter().flatten().any(|cut| *cut)
    }

    pub(crate) fn is_open(&self, from: usize, to: usize) -> bool {
        !self.cut[from][to]
    }

    /// The delay of an advert; `None`: it is lost.
    pub(crate) fn advert(&mut self, from: usize, to: usize, setup: &Setup) -> Option<Duration> {
        let lost = !self.lost[from][to] && self.rng.chance(setup.loss);
        self.lost[from][to] = lost;
        (!lost && self.is_open(from, to)).then(|| self.delay(setup.delay))
    }

    /// The delay of a probe; `None`: it is lost, or its echo will be.
    pub(crate) fn probe(&mut self, from: usize, to: usize, setup: &Setup) -> Option<Duration> {
        let misses = setup.liveness.map_or(2, |liveness| liveness.misses);
        let row = &mut self.row[from][to];
        let lost = *row + 1 < misses && self.rng.chance(setup.probe_loss);
        *row = if lost { *row + 1 } else { 0 };
        (!lost && self.is_open(from, to)).then(|| self.probe_delay(setup))
    }

    /// Both ways together take less than three quarters of the time between two probes.
    pub(crate) fn probe_delay(&mut self, setup: &Setup) -> Duration {
        let interval = setup.liveness.map(|liveness| liveness.interval);
        self.delay(setup.delay.min(interval.unwrap_or_default() * 3 / 8))
    }

    fn delay(&mut self, longest: Duration) -> Duration {
        let longest = u64::try_from(longest.as_nanos()).unwrap();
        Duration::from_nanos(self.rng.below(longest.max(1)))
    }
}
