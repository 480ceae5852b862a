//! What `status` shows.

use super::peers::Peer;
use super::{Node, NodeStatus, PeerInstance, PeerStatus};
use crate::Instant;

impl Node {
    /// What is known at `now`.
    #[must_use]
    pub fn status(&self, now: Instant) -> NodeStatus {
        NodeStatus {
            instances: self
                .elections
                .iter()
                .map(|election| election.status(self.address, self.lease))
                .collect(),
            peers: self.peers.iter().map(|peer| peer.status(now)).collect(),
            counters: self.counters,
        }
    }
}

impl Peer {
    fn status(&self, now: Instant) -> PeerStatus {
        // The clock may be ahead of the last timeout: what has expired since is not shown as alive.
        let recent = self
            .confirmed
            .is_some_and(|at| now < at + self.pace.silence());
        PeerStatus {
            address: self.address,
            last_heard: self.heard,
            alive: self.alive && recent,
            advert_interval: self.heard.map(|_| self.pace.interval),
            adverts: self.adverts,
            instances: self
                .records
                .iter()
                .flatten()
                .map(|record| PeerInstance {
                    vrid: record.vrid,
                    priority: record.priority,
                    state: record.state,
                    epoch: record.epoch,
                })
                .collect(),
        }
    }
}
