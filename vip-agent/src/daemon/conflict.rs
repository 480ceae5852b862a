//! What is done about another station that claims a VIP, or the identifier of an instance.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::sleep;
use tracing::{debug, error, info, warn};
use vip_common::abi::ConflictKind;
use vip_proto::announce::Defence;
use vip_proto::election::State;
use vip_proto::node::NodeStatus;
use vip_proto::{Instant, Vrid};

use super::shared::Shared;
use crate::config::{Instance, MacMode, OnConflict};
use crate::control::view::mac_text;
use crate::dataplane::events::Conflict;
use crate::flight::Event;
use crate::inputs::request::Request;

/// Handles conflicts, each by the policy of its instance.
#[derive(Debug, Default)]
pub(super) struct ConflictDesk {
    log: ConflictLog,
    /// When each VIP was announced again; `None`: the instance's first of each family.
    defence: Defence<(Vrid, Option<IpAddr>)>,
    /// Instances that a decision is on its way for: one each, however many claims come.
    deciding: BTreeMap<Vrid, JoinHandle<()>>,
}

impl ConflictDesk {
    /// Takes notice of one conflict, and does what is to be done.
    pub(super) fn handle(&mut self, shared: &Arc<Shared>, conflict: Conflict, now: Instant) {
        let instance = shared.config.instances.get(conflict.instance);
        let vrid = instance.map(|instance| instance.vrid.get());
        let said = self.log.note(vrid, &conflict, now);
        let Some(instance) = instance else {
            return;
        };
        if said {
            record(shared, instance.vrid, &conflict, now);
        }
        match instance.on_conflict {
            OnConflict::Reassert => self.reassert(shared, instance, &conflict, now),
            OnConflict::Yield => self.consider_yielding(shared, instance.vrid, conflict),
        }
    }

    /// Announces the VIP again, however many claims come at most once a second. A peer that claims it
    /// is no exception: the election decides within an advert who keeps it, and the winner announces
    /// last.
    fn reassert(
        &mut self,
        shared: &Shared,
        instance: &Instance,
        conflict: &Conflict,
        now: Instant,
    ) {
        let (claimed, announced) = match (conflict.kind, instance.mac) {
            (ConflictKind::Arp | ConflictKind::NeighborAdvertisement, _) => {
                (Some(conflict.address), vec![conflict.address])
            }
            // The other router's frames come from the virtual MAC address, and switches believe it.
            (ConflictKind::Vrrp, MacMode::Virtual) => (None, first_of_each_family(&instance.vips)),
            // It claims no address, and none of its frames carries our MAC address.
            (ConflictKind::Vrrp, MacMode::Interface) => return,
        };
        if !self.defence.handle_claim((instance.vrid, claimed), now) {
            return;
        }
        for vip in announced {
            info!(instance = instance.name, %vip, "announced again after another station's claim");
            shared.announcer.reassert(instance.vrid, vip);
        }
    }

    /// Gives the instance up, but not to a peer: two nodes that are Active at once settle that by their
    /// adverts. A peer that was not heard yet (a partition that has just healed) gets the time to make
    /// itself known first.
    fn consider_yielding(&mut self, shared: &Arc<Shared>, vrid: Vrid, conflict: Conflict) {
        if self
            .deciding
            .get(&vrid)
            .is_some_and(|one| !one.is_finished())
        {
            return;
        }
        let shared = Arc::clone(shared);
        let decision = tokio::spawn(async move {
            let cluster = &shared.config.cluster;
            sleep(cluster.advert_interval * (u32::from(cluster.down_factor) + 1)).await;
            yield_to_strangers(&shared, vrid, &conflict).await;
        });
        self.deciding.insert(vrid, decision);
    }
}

impl Drop for ConflictDesk {
    fn drop(&mut self) {
        self.deciding.values().for_each(JoinHandle::abort);
    }
}

async fn yield_to_strangers(shared: &Shared, vrid: Vrid, conflict: &Conflict) {
    let Ok(snapshot) = shared.requests.snapshot().await else {
        return;
    };
    let instances = &snapshot.node.instances;
    if !instances
        .iter()
        .any(|one| one.vrid == vrid && one.state == State::Active)
    {
        return;
    }
    let mac = mac_text(conflict.mac);
    // Peers announce, but send no VRRP: another program on their host does.
    if conflict.kind != ConflictKind::Vrrp && is_a_peers(&snapshot.node, vrid, conflict.mac) {
        info!(%vrid, mac, "the claim came from a peer: the election decides");
        return;
    }
    warn!(%vrid, mac, "yielding to the station that claims the instance");
    if shared.requests.send(Request::ForeignClaim(vrid)).is_err() {
        warn!("the election thread has ended before");
    }
}

/// Whether a peer has this MAC address on the instance's link.
fn is_a_peers(node: &NodeStatus, vrid: Vrid, mac: [u8; 6]) -> bool {
    let of_peers = node.peers.iter().flat_map(|peer| &peer.instances);
    of_peers
        .filter(|said| said.vrid == vrid)
        .any(|said| said.mac == mac)
}

fn first_of_each_family(vips: &[IpAddr]) -> Vec<IpAddr> {
    let v4 = vips.iter().find(|vip| vip.is_ipv4());
    let v6 = vips.iter().find(|vip| vip.is_ipv6());
    v4.into_iter().chain(v6).copied().collect()
}

/// How often one station's claim of one VIP is logged at most.
const SAY_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Claims remembered; beyond that the oldest is forgotten.
const REMEMBERED: usize = 256;

/// Puts it into the recording.
fn record(shared: &Shared, vrid: Vrid, conflict: &Conflict, at: Instant) {
    let event = Event::ForeignClaim {
        vrid,
        address: conflict.address,
        mac: conflict.mac,
        kind: conflict.kind,
    };
    if shared.requests.send(Request::Record { event, at }).is_err() {
        debug!("the election has ended: a conflict is not recorded");
    }
}

/// Says conflicts in the log: each at once, then every ten seconds with how often it was seen.
#[derive(Debug, Default)]
struct ConflictLog {
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
    /// Answers whether it was said.
    fn note(&mut self, vrid: Option<u8>, conflict: &Conflict, now: Instant) -> bool {
        let Some(times) = self.times_to_say(conflict, now) else {
            return false;
        };
        let mac = mac_text(conflict.mac);
        let (ifindex, vlan) = (conflict.ifindex, conflict.vlan);
        match conflict.kind {
            kind @ (ConflictKind::Arp | ConflictKind::NeighborAdvertisement) => error!(
                vip = %conflict.address, mac, ifindex, vlan, ?kind, times,
                "another station claims a VIP this node is active for"
            ),
            kind @ ConflictKind::Vrrp => error!(
                vrid, router = %conflict.address, mac, ifindex, vlan, ?kind, times,
                "another router sends VRRP adverts for an instance this node is active for"
            ),
        }
        true
    }

    /// How many claims a line would stand for; `None`: it is too early for another line.
    fn times_to_say(&mut self, conflict: &Conflict, now: Instant) -> Option<u64> {
        let key = (conflict.address, conflict.mac);
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
    use super::*;

    fn conflict(last: u8) -> Conflict {
        Conflict {
            kind: ConflictKind::Arp,
            instance: 0,
            address: [10, 0, 0, 100].into(),
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
