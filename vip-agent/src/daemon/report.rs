//! Says in the log what the election reports.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use tracing::{error, info, warn};
use vip_proto::election::State;
use vip_proto::node::Report;
use vip_proto::{Instant, Vrid};

use crate::config::Config;
use crate::control::view::{mac_text, reason_word, state_word};
use crate::dataplane::events::Conflict;

/// Name of the instance, for people.
fn name(config: &Config, vrid: Vrid) -> &str {
    config
        .instances
        .iter()
        .find(|instance| instance.vrid == vrid)
        .map_or("?", |instance| instance.name.as_str())
}

/// Logs one report.
pub(super) fn log(config: &Config, report: &Report) {
    match *report {
        Report::Transition {
            vrid,
            from,
            to,
            reason,
            epoch,
        } => {
            let instance = name(config, vrid);
            let (from, to) = (state_word(from), state_word(to));
            info!(
                instance,
                from,
                to,
                reason = reason_word(reason),
                epoch = epoch.0,
                "state changed"
            );
            if to == state_word(State::Active) {
                info!(instance, "this node answers for the VIPs now");
            }
        }
        Report::PeerUp { peer } => info!(%peer, "peer heard"),
        Report::PeerDown { peer } => warn!(%peer, "peer not heard for its down interval"),
        Report::SplitBrain { vrid, peer, kept } => warn!(
            instance = name(config, vrid),
            %peer,
            this_node = if kept { "stays active" } else { "gives way" },
            "two nodes were active at once"
        ),
        Report::VipsDiffer { vrid, peer } => warn!(
            instance = name(config, vrid),
            %peer,
            "the peer has other VIPs configured for this instance"
        ),
        Report::Rejected { from, reason } => {
            warn!(%from, %reason, "advert not accepted (said once per sender and reason)");
        }
    }
}

/// How often one station's claim of one VIP is logged at most.
const SAY_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Claims remembered; beyond that the oldest is forgotten.
const REMEMBERED: usize = 256;

/// Says conflicts in the log: each at once, then every ten seconds with how often it was seen.
#[derive(Debug, Default)]
pub(super) struct ConflictLog {
    said: BTreeMap<(IpAddr, [u8; 6]), Said>,
}

/// One station's claim of one VIP.
#[derive(Debug, Clone, Copy)]
struct Said {
    at: Instant,
    seen_since: u64,
}

impl ConflictLog {
    /// Takes notice of one conflict.
    pub(super) fn note(&mut self, conflict: &Conflict, now: Instant) {
        let Some(times) = self.times_to_say(conflict, now) else {
            return;
        };
        error!(
            vip = %conflict.vip,
            mac = mac_text(conflict.mac),
            ifindex = conflict.ifindex,
            vlan = conflict.vlan,
            kind = ?conflict.kind,
            times,
            "another station claims a VIP this node is active for"
        );
    }

    /// How many claims a line would stand for; `None`: it is too early for another line.
    fn times_to_say(&mut self, conflict: &Conflict, now: Instant) -> Option<u64> {
        let key = (conflict.vip, conflict.mac);
        if let Some(said) = self.said.get_mut(&key) {
            said.seen_since += 1;
            if now.saturating_since(said.at) < SAY_AGAIN_AFTER {
                return None;
            }
            let times = said.seen_since;
            *said = Said {
                at: now,
                seen_since: 0,
            };
            return Some(times);
        }
        if self.said.len() == REMEMBERED {
            let oldest = self
                .said
                .iter()
                .min_by_key(|(_, said)| said.at)
                .map(|(key, _)| *key);
            oldest.and_then(|oldest| self.said.remove(&oldest));
        }
        self.said.insert(
            key,
            Said {
                at: now,
                seen_since: 0,
            },
        );
        Some(1)
    }
}

#[cfg(test)]
mod tests {
    use vip_common::abi::ConflictKind;

    use super::*;

    fn conflict(last: u8) -> Conflict {
        Conflict {
            kind: ConflictKind::Arp,
            vip: [10, 0, 0, 100].into(),
            mac: [2, 0, 0, 0, 0, last],
            ifindex: 2,
            vlan: 0,
        }
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn a_flood_of_claims_is_said_once_and_then_counted() {
        let mut log = ConflictLog::default();
        assert_eq!(log.times_to_say(&conflict(1), at(0)), Some(1));
        for _ in 0..1000 {
            assert_eq!(log.times_to_say(&conflict(1), at(9)), None);
        }
        assert_eq!(
            log.times_to_say(&conflict(2), at(9)),
            Some(1),
            "another station is news"
        );
        assert_eq!(log.times_to_say(&conflict(1), at(10)), Some(1001));
    }

    #[test]
    fn memory_is_bounded() {
        let mut log = ConflictLog::default();
        for second in 0..1000 {
            let mut claim = conflict(0);
            claim.mac[4..].copy_from_slice(&u16::try_from(second).unwrap().to_be_bytes());
            log.times_to_say(&claim, at(second));
        }
        assert_eq!(log.said.len(), REMEMBERED);
    }
}
