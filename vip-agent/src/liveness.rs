//! Liveness probes: what the election wants asked goes out by UDP, and what the data plane has
//! stamped of the answers goes back to the election.
//!
//! The data plane of the peer answers, and ours takes the answers: no process has to be awake for
//! either. This part only sends, and reads a few words of memory before each decision.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use vip_common::abi::PROBE_INSTANCES;
use vip_common::net::liveness::{self, Liveness};
use vip_proto::native::Keyring;
use vip_proto::node::{EchoInstance, EchoSeen};
use vip_proto::{Epoch, Incarnation, Instant, NodeAddress, Vrid};

use crate::config;
use crate::dataplane::peers::{LinkKeys, PeerLinks, Stamp};
use crate::outputs::probes::ProbeSockets;

/// What the prober is made of.
#[derive(Debug)]
pub struct Parts {
    /// The data plane's side of the links.
    pub links: PeerLinks,
    /// This node's address among its peers.
    pub address: NodeAddress,
    /// Index of the interface that multicast goes out of; 0: peers are reached by unicast.
    pub interface: u32,
    /// The start of this agent.
    pub incarnation: Incarnation,
    /// Keys of the cluster.
    pub keys: Keyring,
}

/// One link to a peer that is in use.
#[derive(Debug)]
struct Link {
    index: u32,
    local: IpAddr,
    remote: IpAddr,
    echo_key: [u64; 2],
    /// Nonce of the last echo that was handed on.
    seen: u64,
}

/// The probes of one peer.
#[derive(Debug, Default)]
struct Asked {
    links: Vec<Link>,
    /// Nonce of the last probe.
    nonce: u64,
}

impl Asked {
    /// The nonce of a probe that is sent now. Peers answer no two probes whose nonces are closer
    /// than the least step; but of each peer's alone: a nonce must not run ahead of the clock, or
    /// the echo would come from the future.
    fn next_nonce(&mut self, now: Instant) -> u64 {
        let least = self.nonce.saturating_add(liveness::MIN_NONCE_STEP_NS);
        self.nonce = now.as_nanos().max(least);
        self.nonce
    }
}

/// The prober.
#[derive(Debug)]
pub struct Prober {
    parts: Parts,
    config: config::Liveness,
    sockets: ProbeSockets,
    peers: BTreeMap<NodeAddress, Asked>,
}

impl Prober {
    /// A prober that knows nobody yet. `peers`: the only nodes there can be; `None`: any. Links to
    /// others that an earlier agent has left are forgotten.
    ///
    /// # Errors
    /// If a socket cannot be opened, or what the kernel's map calls answer.
    pub fn new(
        mut parts: Parts,
        config: config::Liveness,
        peers: Option<&[IpAddr]>,
    ) -> io::Result<Self> {
        let mut sockets = ProbeSockets::new(config.port);
        sockets.open(parts.address.0, parts.interface)?;
        for link in &config.links {
            sockets.open(link.local, 0)?;
        }
        if let Some(peers) = peers {
            let further = config.links.iter().map(|link| link.remote);
            let remotes: Vec<IpAddr> = peers.iter().copied().chain(further).collect();
            parts.links.retain(&remotes)?;
        }
        Ok(Self {
            parts,
            config,
            sockets,
            peers: BTreeMap::new(),
        })
    }

    /// The interface that multicast goes out of was made anew, with this index.
    ///
    /// # Errors
    /// What the kernel answered; probes from the node's own address fail from then on.
    pub fn follow(&mut self, interface: u32) -> io::Result<()> {
        self.sockets.open(self.parts.address.0, interface)
    }

    /// The peer's incarnation is known: probes in both directions get their keys.
    ///
    /// # Errors
    /// If there is no room for the link, or what the kernel answers.
    pub fn session(
        &mut self,
        peer: NodeAddress,
        incarnation: Incarnation,
        key_id: u8,
    ) -> io::Result<()> {
        let ends = self.ends(peer);
        let mut links = Vec::with_capacity(ends.len());
        for (local, remote) in ends {
            let keys = self.keys(local, remote, incarnation, key_id)?;
            let index = self.parts.links.set(remote, local, keys)?;
            self.sockets.connect(local, remote);
            links.push(Link {
                index,
                local,
                remote,
                echo_key: keys.echo,
                seen: self
                    .parts
                    .links
                    .stamp(index)?
                    .map_or(0, |stamp| stamp.nonce),
            });
        }
        self.peers.entry(peer).or_default().links = links;
        Ok(())
    }

    /// Whether there is room for the links to this peer.
    #[must_use]
    pub fn has_room_for(&self, peer: NodeAddress) -> bool {
        let remotes: Vec<IpAddr> = self.ends(peer).iter().map(|(_, remote)| *remote).collect();
        self.parts.links.has_room_for(&remotes)
    }

    /// Forgets the links to all but these peers.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn keep(&mut self, peers: &[NodeAddress]) -> io::Result<()> {
        self.peers.retain(|peer, _| peers.contains(peer));
        let kept = peers.iter().flat_map(|peer| self.ends(*peer));
        let remotes: Vec<IpAddr> = kept.map(|(_, remote)| remote).collect();
        self.sockets.keep(&remotes);
        self.parts.links.retain(&remotes)
    }

    /// The two ends of each link to the peer, this node's first.
    fn ends(&self, peer: NodeAddress) -> Vec<(IpAddr, IpAddr)> {
        let further = self.config.links.iter().filter(|link| link.peer == peer.0);
        std::iter::once((self.parts.address.0, peer.0))
            .chain(further.map(|link| (link.local, link.remote)))
            .collect()
    }

    fn keys(
        &self,
        local: IpAddr,
        remote: IpAddr,
        incarnation: Incarnation,
        key_id: u8,
    ) -> io::Result<LinkKeys> {
        let (local, remote) = (NodeAddress(local), NodeAddress(remote));
        let ring = &self.parts.keys;
        let probe = ring.liveness_key(key_id, incarnation, remote, local);
        let echo = ring.liveness_key(ring.signing_id(), self.parts.incarnation, local, remote);
        let (Some(probe), Some(echo)) = (probe, echo) else {
            return Err(io::Error::other(format!("there is no key {key_id}")));
        };
        Ok(LinkKeys { probe, echo })
    }

    /// Sends a probe over each link to the peer.
    ///
    /// # Errors
    /// If it could be sent over none of them: what the kernel answered last.
    pub fn probe(
        &mut self,
        peer: NodeAddress,
        vrids: [u8; PROBE_INSTANCES],
        now: Instant,
    ) -> io::Result<()> {
        let Some(asked) = self.peers.get_mut(&peer) else {
            return Ok(());
        };
        let nonce = asked.next_nonce(now);
        let mut result = Ok(());
        let mut sent = false;
        for link in &asked.links {
            let probe = Liveness::probe(nonce, self.parts.incarnation.0, vrids, link.echo_key);
            match self
                .sockets
                .send(link.local, link.remote, bytemuck::bytes_of(&probe))
            {
                Ok(()) => sent = true,
                Err(error) => result = Err(error),
            }
        }
        if sent { Ok(()) } else { result }
    }

    /// Hands on what was answered since the last call, of each peer the latest: a few loads for each
    /// link.
    pub fn collect(&mut self, mut hand_on: impl FnMut(NodeAddress, &EchoSeen)) {
        for (peer, asked) in &mut self.peers {
            let newest = asked
                .links
                .iter_mut()
                .filter_map(|link| {
                    let stamp = self.parts.links.stamp(link.index).ok()??;
                    (stamp.nonce > link.seen).then(|| {
                        link.seen = stamp.nonce;
                        stamp
                    })
                })
                .max_by_key(|stamp| (stamp.nonce, stamp.arrived_ns));
            if let Some(stamp) = newest {
                hand_on(*peer, &echo_seen(&stamp));
            }
        }
    }
}

fn echo_seen(stamp: &Stamp) -> EchoSeen {
    EchoSeen {
        sent: Instant::from_nanos(stamp.nonce),
        arrived: Instant::from_nanos(stamp.arrived_ns),
        incarnation: Incarnation(stamp.incarnation),
        lease_left: Duration::from_nanos(stamp.lease_left_ns),
        instances: stamp.instances.map(|entry| {
            let (vrid, state, epoch) = liveness::values(entry.to_ne_bytes());
            let known = state != liveness::UNKNOWN;
            Vrid::new(vrid).filter(|_| known).map(|vrid| EchoInstance {
                vrid,
                active: state == liveness::ACTIVE,
                epoch: Epoch(epoch),
            })
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_peers_probed_at_once_get_no_nonces_from_the_future() {
        let mut peers: [Asked; 32] = Default::default();
        for tick in 1..=100 {
            let now = Instant::from_nanos(tick * 100_000);
            for asked in &mut peers {
                assert_eq!(asked.next_nonce(now), now.as_nanos());
            }
        }
    }

    #[test]
    fn two_probes_of_one_peer_are_a_step_apart() {
        let mut asked = Asked::default();
        let now = Instant::from_nanos(1_000_000);
        let [first, second] = [asked.next_nonce(now), asked.next_nonce(now)];
        assert_eq!(second - first, liveness::MIN_NONCE_STEP_NS);
    }
}
