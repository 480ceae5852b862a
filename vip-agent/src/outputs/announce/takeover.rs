//! Whether a takeover has worked: when the first packet to a VIP arrived, and which of the VIPs in
//! use have got any.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use vip_proto::{Instant, Vrid};

use crate::dataplane::seen::SeenTable;

/// A VIP is in use if somebody asked for it or sent to it this long before the claim. On a Backup
/// only what reaches all stations counts: questions by broadcast.
pub(super) const IN_USE: Duration = Duration::from_secs(60);

/// The last claim of an instance by this node.
#[derive(Debug, Clone)]
pub struct Takeover {
    /// When it was made.
    pub claimed_at: Instant,
    /// The VIPs that were in use then, by their number in [`SeenTable`].
    pub in_use: Arc<[u32]>,
    /// How often those of them that no packet had reached were announced again.
    pub announced_again: u32,
}

/// What has arrived since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrivals {
    /// Time from the claim to the first packet for any VIP of the instance.
    pub first_packet: Option<Duration>,
    /// How many of the VIPs in use have got a packet.
    pub reached: usize,
}

impl Takeover {
    /// A claim that was made just now, with what is known of the instance's VIPs.
    pub(super) fn new(seen: &SeenTable, vips: Range<u32>, claimed_at: Instant) -> Self {
        let in_use = vips.filter(|vip| is_in_use(seen.wanted(*vip), claimed_at));
        Self {
            claimed_at,
            in_use: in_use.collect(),
            announced_again: 0,
        }
    }

    /// What has arrived for the instance's VIPs so far.
    #[must_use]
    pub fn arrivals(&self, seen: &SeenTable, vips: Range<u32>) -> Arrivals {
        let first = vips
            .map(|vip| seen.first_packet(vip))
            .filter(|packet| *packet >= self.claimed_at)
            .min();
        Arrivals {
            first_packet: first.map(|packet| packet.saturating_since(self.claimed_at)),
            reached: self.in_use.len() - self.unreached(seen).count(),
        }
    }

    /// The VIPs in use that have got no packet.
    pub(super) fn unreached(&self, seen: &SeenTable) -> impl Iterator<Item = u32> {
        self.in_use
            .iter()
            .copied()
            .filter(|vip| seen.first_packet(*vip) < self.claimed_at)
    }
}

/// Questions that arrive between claim and look count as well.
fn is_in_use(wanted: Instant, claimed_at: Instant) -> bool {
    wanted != Instant::default() && wanted + IN_USE >= claimed_at
}

/// The last takeover of each instance, for `status`.
#[derive(Debug, Default)]
pub struct Takeovers(Mutex<BTreeMap<Vrid, Takeover>>);

impl Takeovers {
    /// The last one of this instance since the agent started.
    #[must_use]
    pub fn last(&self, vrid: Vrid) -> Option<Takeover> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&vrid)
            .cloned()
    }

    pub(super) fn note(&self, vrid: Vrid, takeover: Takeover) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(vrid, takeover);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vip_is_in_use_for_a_minute_after_it_was_wanted() {
        let at = |seconds: u64| Instant::from_nanos(seconds * 1_000_000_000);
        assert!(is_in_use(at(100), at(160)));
        assert!(!is_in_use(at(100), at(161)));
        assert!(is_in_use(at(101), at(100)), "wanted since the claim");
        assert!(!is_in_use(at(0), at(10)), "never wanted");
    }
}
