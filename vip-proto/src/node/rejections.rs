//! Which rejections the operator has been told of lately.

use alloc::vec::Vec;
use core::mem::{Discriminant, discriminant};
use core::time::Duration;

use super::peers::MAX_PEERS;
use crate::native::RejectReason;
use crate::{Instant, NodeAddress};

/// How long the same is not told again.
const SILENCE: Duration = Duration::from_mins(10);
/// Most that is told of known peers within that time: more than there are kinds for each of them.
const FROM_PEERS: usize = 16 * MAX_PEERS;
/// Most that is told of all other senders, so that forged ones fill neither the memory nor the log,
/// nor the places of the peers.
const FROM_STRANGERS: usize = 64;

/// One report: from whom, why (whatever the details), when.
#[derive(Debug, Clone)]
struct Told {
    from: NodeAddress,
    kind: Discriminant<RejectReason>,
    at: Instant,
}

/// What has been reported within the last ten minutes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rejections {
    peers: Vec<Told>,
    strangers: Vec<Told>,
}

impl Rejections {
    /// Whether this is to be reported. `known`: the sender is a peer.
    pub(crate) fn is_news(
        &mut self,
        from: NodeAddress,
        known: bool,
        reason: RejectReason,
        now: Instant,
    ) -> bool {
        let (told, places) = if known {
            (&mut self.peers, FROM_PEERS)
        } else {
            (&mut self.strangers, FROM_STRANGERS)
        };
        let kind = discriminant(&reason);
        let is_recent = |told: &Told| now < told.at + SILENCE;
        if let Some(same) = told
            .iter_mut()
            .find(|told| told.from == from && told.kind == kind)
        {
            let news = !is_recent(same);
            if news {
                same.at = now;
            }
            return news;
        }
        if told.len() >= places {
            told.retain(is_recent);
        }
        let news = told.len() < places;
        if news {
            told.push(Told {
                from,
                kind,
                at: now,
            });
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use core::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn address(last: u32) -> NodeAddress {
        NodeAddress(IpAddr::V4(Ipv4Addr::from(0xc000_0200 + last)))
    }

    const fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn a_kind_of_fault_is_told_again_after_ten_minutes_whatever_its_details() {
        let mut rejections = Rejections::default();
        let mut told = |id, time| {
            rejections.is_news(address(1), true, RejectReason::UnknownKey { id }, at(time))
        };
        assert_eq!([told(1, 0), told(2, 0), told(1, 599)], [true, false, false]);
        assert_eq!([told(3, 600), told(1, 601)], [true, false]);
        assert!(rejections.is_news(address(1), true, RejectReason::BadMac, at(0)));
    }

    #[test]
    fn forged_senders_silence_neither_the_peers_nor_the_future() {
        let mut rejections = Rejections::default();
        let stranger = RejectReason::UnknownPeer;
        let reports = (0..1000)
            .filter(|last| rejections.is_news(address(*last), false, stranger, at(0)))
            .count();
        assert_eq!(reports, FROM_STRANGERS);
        assert!(rejections.is_news(address(1), true, RejectReason::BadMac, at(1)));
        assert!(rejections.is_news(address(2000), false, stranger, at(600)));
        assert!(rejections.strangers.len() <= FROM_STRANGERS);
    }
}
