//! What `status` shows.

use alloc::vec::Vec;
use core::time::Duration;

use super::Node;
use super::peers::Peer;
use crate::election::{InstanceStatus, State};
use crate::{Epoch, Instant, NodeAddress, Vrid};

/// Everything `status` shows, as of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus {
    /// Each instance.
    pub instances: Vec<InstanceStatus>,
    /// Each peer, in the order of its address.
    pub peers: Vec<PeerStatus>,
    /// Counts.
    pub counters: NodeCounters,
}

/// A peer, for `status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// Address of the peer.
    pub address: NodeAddress,
    /// When it was last heard; `None`: never.
    pub last_heard: Option<Instant>,
    /// Whether it is within its down interval.
    pub alive: bool,
    /// Its advert interval, if heard.
    pub advert_interval: Option<Duration>,
    /// Accepted adverts.
    pub adverts: u64,
    /// Whether this node probes it: it follows it as the Active node of an instance.
    pub probed: bool,
    /// Whether unanswered probes mean that it is dead: it has answered before.
    pub armed: bool,
    /// Probes sent since the last one that was answered, at most thirty.
    pub unanswered: u32,
    /// The last answer to a probe.
    pub last_echo: Option<LastEcho>,
    /// Per instance: priority, whether it says it is Active, epoch.
    pub instances: Vec<PeerInstance>,
}

/// The last answer to a probe, for `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastEcho {
    /// When the probe was sent.
    pub sent: Instant,
    /// From then to the answer's arrival.
    pub rtt: Duration,
}

/// What a peer says of one instance, for `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerInstance {
    /// Which instance.
    pub vrid: Vrid,
    /// The peer's priority; 0: it is leaving.
    pub priority: u8,
    /// The peer's state.
    pub state: State,
    /// The epoch it knows.
    pub epoch: Epoch,
    /// The MAC address of its interface: what it announces the VIPs with, unless that is virtual.
    pub mac: [u8; 6],
}

/// Counts of one node's protocol engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeCounters {
    /// Adverts encoded for sending.
    pub adverts_sent: u64,
    /// Adverts accepted.
    pub adverts_received: u64,
    /// Datagrams rejected, for any reason.
    pub rejected: u64,
    /// Adverts that could not be sent.
    pub transmit_failed: u64,
}

impl Node {
    /// What is known at `now`.
    #[must_use]
    pub fn status(&self, now: Instant) -> NodeStatus {
        NodeStatus {
            instances: self
                .elections
                .iter()
                .map(|election| election.status(self.address, self.lease.until()))
                .collect(),
            peers: self.peers.iter().map(|peer| peer.status(now)).collect(),
            counters: self.counters,
        }
    }
}

impl Peer {
    fn status(&self, now: Instant) -> PeerStatus {
        // The clock may be ahead of the last timeout: what has expired since is not shown as alive.
        let recent = self.confirmed.is_some_and(|at| now < at + self.silence());
        PeerStatus {
            address: self.address,
            last_heard: self.heard,
            alive: self.alive && recent,
            advert_interval: self.heard.map(|_| self.pace.interval),
            adverts: self.adverts,
            probed: self.watch.probed,
            armed: self.watch.armed(),
            unanswered: self.watch.unanswered(),
            last_echo: self.watch.last_echo(),
            instances: self
                .records
                .iter()
                .flatten()
                .map(|record| PeerInstance {
                    vrid: record.vrid,
                    priority: record.priority,
                    state: record.state,
                    epoch: record.epoch,
                    mac: record.mac,
                })
                .collect(),
        }
    }
}
