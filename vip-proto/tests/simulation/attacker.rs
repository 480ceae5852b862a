//! Somebody who can read and send on the network, but has no key.

use std::time::Duration;

use crate::rng::Rng;

/// Longest time until a replay is delivered.
const LATEST: u64 = 300;

/// Records everything that is sent, delivered or not, and sends it again.
pub(crate) struct Attacker {
    /// Apart from the schedule's, so that a schedule is the same with and without replays.
    rng: Rng,
    recorded: Vec<(usize, Vec<u8>)>,
}

/// Something recorded, to be delivered once more.
pub(crate) struct Replay {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) datagram: Vec<u8>,
    pub(crate) after: Duration,
}

impl Attacker {
    pub(crate) const fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed ^ 0x000a_77ac),
            recorded: Vec::new(),
        }
    }

    /// Records an advert; in `percent` of 100 cases (and then again) replays one of any time, to any
    /// other of so many hosts.
    pub(crate) fn hears(
        &mut self,
        from: usize,
        datagram: &[u8],
        percent: u64,
        hosts: usize,
    ) -> Vec<Replay> {
        self.recorded.push((from, datagram.to_vec()));
        let mut replays = Vec::new();
        while self.rng.chance(percent) {
            let (from, datagram) = self.rng.pick(&self.recorded).clone();
            let others = u64::try_from(hosts - 1).unwrap();
            let other = 1 + usize::try_from(self.rng.below(others)).unwrap();
            replays.push(Replay {
                from,
                to: (from + other) % hosts,
                datagram,
                after: Duration::from_millis(self.rng.below(LATEST)),
            });
        }
        replays
    }
}
