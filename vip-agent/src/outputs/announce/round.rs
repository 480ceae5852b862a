//! One round of announcements: which VIPs, in which order, and to whom.

use std::sync::Arc;

use vip_proto::Instant;

use super::Mac;

/// Unicast copies of one round at most: with the announcer's pace, a third of a second.
const MAX_COPIES: usize = 20_000;

/// What is left of a round: each VIP to all stations, and then, in the same order, copies of each to
/// single stations.
#[derive(Debug)]
pub(super) struct Round {
    /// Numbers of the VIPs within the instance.
    vips: Vec<usize>,
    stations: Arc<[Mac]>,
    next: usize,
    end: usize,
}

impl Round {
    /// A round that has not begun. When there are too many copies, the last VIPs have none.
    pub(super) fn new(vips: Vec<usize>, stations: Arc<[Mac]>) -> Self {
        let copies = vips.len().saturating_mul(stations.len()).min(MAX_COPIES);
        Self {
            end: vips.len() + copies,
            vips,
            stations,
            next: 0,
        }
    }

    /// The frame that is next: a VIP's number, and the station if it is a copy; `None`: the round is
    /// over.
    pub(super) fn peek(&self) -> Option<(usize, Option<Mac>)> {
        if self.next >= self.end {
            return None;
        }
        if let Some(vip) = self.vips.get(self.next) {
            return Some((*vip, None));
        }
        let copy = self.next - self.vips.len();
        let vip = self.vips.get(copy.checked_div(self.stations.len())?)?;
        let station = self.stations.get(copy.checked_rem(self.stations.len())?)?;
        Some((*vip, Some(*station)))
    }

    /// That frame was sent.
    pub(super) const fn advance(&mut self) {
        self.next += 1;
    }
}

/// The numbers of VIPs, those that were wanted last first; the others in the order of the
/// configuration.
pub(super) fn by_activity(wanted: impl Iterator<Item = Instant>) -> Vec<usize> {
    let mut vips: Vec<(Instant, usize)> = wanted.zip(0..).collect();
    vips.sort_by_key(|(wanted, _)| std::cmp::Reverse(*wanted));
    vips.into_iter().map(|(_, vip)| vip).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Mac = [2, 0, 0, 0, 0, 1];
    const B: Mac = [2, 0, 0, 0, 0, 2];

    fn frames(mut round: Round) -> Vec<(usize, Option<Mac>)> {
        let mut frames = Vec::new();
        while let Some(frame) = round.peek() {
            frames.push(frame);
            round.advance();
        }
        frames
    }

    #[test]
    fn everybody_is_told_of_everything_before_anybody_gets_a_copy() {
        let round = Round::new(vec![2, 0], Arc::new([A, B]));
        let copies = [(2, Some(A)), (2, Some(B)), (0, Some(A)), (0, Some(B))];
        assert_eq!(
            frames(round),
            [vec![(2, None), (0, None)], copies.to_vec()].concat()
        );
        assert_eq!(frames(Round::new(vec![1], Arc::new([]))), [(1, None)]);
        assert_eq!(frames(Round::new(Vec::new(), Arc::new([A]))), []);
    }

    #[test]
    fn copies_are_bounded_and_the_first_vips_get_them() {
        let stations: Arc<[Mac]> = vec![A; 256].into();
        let frames = frames(Round::new((0..10_000).collect(), stations));
        assert_eq!(frames.len(), 10_000 + MAX_COPIES);
        assert_eq!(frames.last(), Some(&(MAX_COPIES / 256, Some(A))));
    }

    #[test]
    fn the_most_recently_wanted_is_first_and_ties_keep_their_order() {
        let wanted = [0, 5, 0, 9, 5].map(Instant::from_nanos);
        assert_eq!(by_activity(wanted.into_iter()), [3, 1, 4, 0, 2]);
    }
}
