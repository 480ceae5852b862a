//! The other nodes: who is heard, how well it is known, and what it says.

use alloc::vec;
use alloc::vec::Vec;

use core::time::Duration;

use super::session::Sessions;
use super::watch::Watch;
use crate::election::State;
use crate::election::input::{Claim, Heard, Peers, Successor};
use crate::election::timing::Pace;
use crate::native::{Flags, InstanceRecord};
use crate::{Incarnation, Instant, NodeAddress};

/// Most peers that are followed if none are configured.
pub(crate) const MAX_PEERS: usize = 32;

/// One other node.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) address: NodeAddress,
    pub(crate) sessions: Sessions,
    pub(crate) pace: Pace,
    /// How much longer it may be silent.
    pub(crate) grace: Duration,
    /// When any authentic advert was last heard.
    pub(crate) heard: Option<Instant>,
    /// When an advert of the verified session was last heard.
    pub(crate) confirmed: Option<Instant>,
    /// Whether `heard` is recent.
    pub(crate) present: bool,
    /// Whether `confirmed` is recent: what operators are told.
    pub(crate) alive: bool,
    pub(crate) adverts: u64,
    /// When it was last answered out of turn.
    pub(crate) answered: Option<Instant>,
    /// Incarnation `records` come from.
    pub(crate) spoke_as: Incarnation,
    /// Whether `records` come from the verified session.
    pub(crate) verified: bool,
    /// What it says, by index of this node's instances.
    pub(crate) records: Vec<Option<InstanceRecord>>,
    /// Digests that have been compared, by index of this node's instances.
    pub(crate) digests: Vec<Option<u32>>,
    /// Incarnation and key that were told for its probes.
    pub(crate) told: Option<(Incarnation, u8)>,
    pub(crate) watch: Watch,
}

impl Peer {
    fn new(address: NodeAddress, pace: Pace, instances: usize, floor: u64) -> Self {
        Self {
            address,
            sessions: Sessions::above(floor),
            pace,
            grace: Duration::ZERO,
            heard: None,
            confirmed: None,
            present: false,
            alive: false,
            adverts: 0,
            answered: None,
            spoke_as: Incarnation(0),
            verified: false,
            records: vec![None; instances],
            digests: vec![None; instances],
            told: None,
            watch: Watch::default(),
        }
    }

    /// When the next of its two recencies ends.
    pub(crate) fn timeout(&self) -> Option<Instant> {
        let confirmed = self.confirmed.filter(|_| self.alive);
        let heard = self.heard.filter(|_| self.present);
        Some(confirmed.into_iter().chain(heard).min()? + self.silence())
    }

    /// After so much silence it is taken to be gone.
    pub(crate) fn silence(&self) -> Duration {
        self.pace.silence() + self.grace
    }

    /// What it says of an instance, as long as that counts.
    fn says(&self, index: usize) -> Option<Heard> {
        let record = (*self.records.get(index)?).filter(|_| self.present)?;
        let (peer, incarnation, verified) = (self.address, self.spoke_as, self.verified);
        Some(Heard {
            peer,
            incarnation,
            verified,
            pace: self.pace,
            grace: self.grace,
            record,
        })
    }

    /// What it says of an instance, if it could take it over.
    fn candidate(&self, index: usize) -> Option<Heard> {
        self.says(index)
            .filter(|heard| heard.record.state == State::Backup && heard.record.priority > 0)
    }

    /// As [`Self::candidate`], if it would also understand being named.
    fn ready(&self, index: usize) -> Option<Heard> {
        self.candidate(index)
            .filter(|heard| self.alive && heard.verified)
    }
}

/// All other nodes, in the order of their addresses.
#[derive(Debug, Clone)]
pub(crate) struct PeerTable {
    peers: Vec<Peer>,
    /// Whether only the peers given at the start are accepted.
    closed: bool,
    pace: Pace,
    instances: usize,
    /// The last advert this node had sent when a peer was last forgotten, with its sessions.
    forgot_at: u64,
}

/// Why a sender has no place in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// It is not configured.
    Unknown,
    /// The table is full of peers that are present.
    Full,
}

impl PeerTable {
    pub(crate) fn new(
        configured: &[NodeAddress],
        own: NodeAddress,
        pace: Pace,
        instances: usize,
    ) -> Self {
        let mut addresses: Vec<NodeAddress> = configured.to_vec();
        addresses.sort_unstable();
        addresses.dedup();
        addresses.retain(|address| *address != own);
        let peers = addresses
            .into_iter()
            .map(|address| Peer::new(address, pace, instances, 0))
            .collect();
        Self {
            peers,
            closed: !configured.is_empty(),
            pace,
            instances,
            forgot_at: 0,
        }
    }

    /// Only the echo of an advert sent after this number opens a session.
    pub(crate) fn raise_floor(&mut self, sent: u64) {
        self.forgot_at = sent;
        for peer in &mut self.peers {
            peer.sessions = Sessions::above(sent);
        }
    }

    /// Whether this sender is configured or has sent authentic adverts.
    pub(crate) fn knows(&self, address: NodeAddress) -> bool {
        self.position(address).is_ok()
    }

    /// Whether adverts of this sender may be accepted at all: asked before the signature is checked.
    pub(crate) fn admits(&self, address: NodeAddress) -> Result<(), NoPlace> {
        if self.knows(address) {
            return Ok(());
        }
        if self.closed {
            return Err(NoPlace::Unknown);
        }
        if self.peers.len() >= MAX_PEERS && self.peers.iter().all(|peer| peer.present) {
            return Err(NoPlace::Full);
        }
        Ok(())
    }

    /// The peer of this address, if it is known.
    pub(crate) fn get_mut(&mut self, address: NodeAddress) -> Option<&mut Peer> {
        let index = self.position(address).ok()?;
        self.peers.get_mut(index)
    }

    /// The peer of this address; made, or put in the place of one that is gone, if need be. `sent`:
    /// sequence number of the last advert this node has sent.
    pub(crate) fn entry(&mut self, address: NodeAddress, sent: u64) -> Option<&mut Peer> {
        let index = match self.position(address) {
            Ok(index) => index,
            Err(_) => {
                if self.peers.len() >= MAX_PEERS {
                    let gone = self.peers.iter().position(|peer| !peer.present)?;
                    self.peers.remove(gone);
                    // What has been forgotten might come back as a recording.
                    self.forgot_at = sent;
                }
                let index = self.position(address).unwrap_or_else(|index| index);
                let peer = Peer::new(address, self.pace, self.instances, self.forgot_at);
                self.peers.insert(index, peer);
                index
            }
        };
        self.peers.get_mut(index)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Peer> {
        self.peers.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Peer> {
        self.peers.iter_mut()
    }

    /// The peers as the instance with this index sees them.
    pub(crate) const fn for_instance(&self, index: usize) -> InstancePeers<'_> {
        InstancePeers { table: self, index }
    }

    fn position(&self, address: NodeAddress) -> Result<usize, usize> {
        self.peers
            .binary_search_by_key(&address, |peer| peer.address)
    }
}

/// The peers as one instance sees them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InstancePeers<'a> {
    table: &'a PeerTable,
    index: usize,
}

impl InstancePeers<'_> {
    fn count(&self, counts: impl Fn(&Heard) -> bool) -> u32 {
        let counted = self
            .table
            .iter()
            .filter_map(|peer| peer.candidate(self.index))
            .filter(counts);
        u32::try_from(counted.count()).unwrap_or(u32::MAX)
    }
}

impl Peers for InstancePeers<'_> {
    fn candidates_before(&self, claim: Claim, heir: Option<Incarnation>) -> u32 {
        self.count(|heard| heard.claim() > claim || Some(heard.incarnation) == heir)
    }

    fn best_intent(&self) -> Option<Claim> {
        let candidates = self
            .table
            .iter()
            .filter_map(|peer| peer.candidate(self.index));
        let intending = candidates.filter(|heard| heard.record.flags.contains(Flags::INTENT));
        intending.map(|heard| heard.claim()).max()
    }

    fn successor(&self) -> Option<Successor> {
        let ready = self.table.iter().filter_map(|peer| peer.ready(self.index));
        ready
            .max_by_key(|heard| (heard.record.priority, heard.peer))
            .map(|heard| Successor::of(&heard))
    }

    fn ready(&self, peer: NodeAddress) -> Option<Successor> {
        let peer = self.table.iter().find(|known| known.address == peer)?;
        peer.ready(self.index).map(|heard| Successor::of(&heard))
    }

    fn only(&self, peer: NodeAddress) -> bool {
        self.table.closed && self.table.iter().all(|known| known.address == peer)
    }

    fn other_active(&self, not: NodeAddress) -> Option<Heard> {
        let others = self.table.iter().filter(|peer| peer.address != not);
        others
            .filter_map(|peer| peer.says(self.index))
            .filter(Heard::claims)
            .max_by_key(|heard| (heard.verified, heard.record.epoch))
    }

    fn present(&self, peer: NodeAddress) -> bool {
        self.table
            .iter()
            .any(|known| known.address == peer && known.present)
    }
}
