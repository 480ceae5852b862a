//! `PEERS` and `LIVENESS`: the links over which liveness probes and their echoes travel.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::AsFd;

use aya::maps::{HashMap, MapData, MapError};
use vip_common::abi::{LivenessSlot, MAX_PEER_LINKS, PROBE_INSTANCES, PeerKey};

use super::mapped::MappedArray;

/// Words of a [`LivenessSlot`].
const PROBE_KEY: usize = 0;
const ECHO_KEY: usize = 2;
const LOCAL: usize = 4;
const ECHO: usize = 16;
/// Words of an echo's stamp, counted from its own beginning.
const BEGIN: usize = 0;
const ARRIVED: usize = 1;
const INCARNATION: usize = 2;
const LEASE_LEFT: usize = 3;
const INSTANCES: usize = 4;
const END: usize = 12;

/// How often a stamp is read before it is left to the next look: the data plane was writing.
const TRIES: usize = 4;

/// Keys of one link, for both directions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LinkKeys {
    /// Authenticates the peer's probes and our echoes to them.
    pub probe: [u64; 2],
    /// Authenticates our probes and the peer's echoes to them.
    pub echo: [u64; 2],
}

impl std::fmt::Debug for LinkKeys {
    /// Shows nothing of the keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinkKeys").finish_non_exhaustive()
    }
}

/// An echo as the data plane has stamped it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Nonce of the probe: when it was sent.
    pub nonce: u64,
    /// When its echo arrived, on the monotonic clock in nanoseconds.
    pub arrived_ns: u64,
    /// Incarnation of the peer's agent.
    pub incarnation: u64,
    /// What was left of its lease, in nanoseconds.
    pub lease_left_ns: u64,
    /// What it says of the instances asked about.
    pub instances: [u64; PROBE_INSTANCES],
}

/// The links of this node.
#[derive(Debug)]
pub struct PeerLinks {
    slots: MappedArray<LivenessSlot>,
    peers: HashMap<MapData, PeerKey, u32>,
    /// By the peer's address on the link.
    indices: BTreeMap<IpAddr, u32>,
}

impl PeerLinks {
    /// Maps the array, and takes over the links an earlier agent has left: their probes go on being
    /// answered meanwhile.
    ///
    /// # Errors
    /// What `mmap` or the kernel's map calls answer.
    pub fn open(slots: impl AsFd, peers: HashMap<MapData, PeerKey, u32>) -> io::Result<Self> {
        let indices = peers
            .iter()
            .map(|entry| entry.map(|(key, index)| (address_of(key), index)))
            .collect::<Result<_, MapError>>()
            .map_err(io::Error::other)?;
        Ok(Self {
            slots: MappedArray::open(slots, MAX_PEER_LINKS)?,
            peers,
            indices,
        })
    }

    /// Forgets the links to all but these addresses: what is not configured is not answered.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn retain(&mut self, remotes: &[IpAddr]) -> io::Result<()> {
        let gone: Vec<IpAddr> = self
            .indices
            .keys()
            .filter(|known| !remotes.contains(known))
            .copied()
            .collect();
        gone.into_iter().try_for_each(|remote| self.forget(remote))
    }

    /// Forgets one link.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn forget(&mut self, remote: IpAddr) -> io::Result<()> {
        if let Some(index) = self.indices.remove(&remote) {
            self.peers
                .remove(&key_of(remote))
                .map_err(io::Error::other)?;
            self.clear(index)?;
        }
        Ok(())
    }

    /// Whether there is room for links to all of these addresses.
    #[must_use]
    pub fn has_room_for(&self, remotes: &[IpAddr]) -> bool {
        let new = remotes
            .iter()
            .filter(|remote| !self.indices.contains_key(remote));
        let links = self.indices.len() + new.count();
        u32::try_from(links).is_ok_and(|links| links <= MAX_PEER_LINKS)
    }

    /// Brings a link into use, or gives it other keys; answers its index.
    ///
    /// # Errors
    /// If there is no room for another link, or what the kernel answers.
    pub fn set(&mut self, remote: IpAddr, local: IpAddr, keys: LinkKeys) -> io::Result<u32> {
        let known = self.indices.get(&remote).copied();
        let index = match known {
            Some(index) => index,
            None => {
                let index = self.free().ok_or_else(|| {
                    io::Error::other(format!("no room for more than {MAX_PEER_LINKS} links"))
                })?;
                self.clear(index)?;
                index
            }
        };
        let local: [u64; 2] = bytemuck::cast(key_of(local));
        for (word, value) in [
            (LOCAL, local),
            (ECHO_KEY, keys.echo),
            (PROBE_KEY, keys.probe),
        ] {
            let present = [
                self.slots.load(index, word)?,
                self.slots.load(index, word + 1)?,
            ];
            if present == value {
                continue;
            }
            // Never half of one key and half of another: without its first half a key is none.
            self.slots.store(index, word, 0)?;
            self.slots.store(index, word + 1, value[1])?;
            self.slots.store(index, word, value[0])?;
        }
        if known.is_none() {
            self.peers
                .insert(key_of(remote), index, 0)
                .map_err(io::Error::other)?;
            self.indices.insert(remote, index);
        }
        Ok(index)
    }

    /// The last echo on a link; `None`: there was none, or it is being written right now.
    ///
    /// # Errors
    /// If there is no such link.
    pub fn stamp(&self, index: u32) -> io::Result<Option<Stamp>> {
        for _ in 0..TRIES {
            let end = self.slots.load(index, ECHO + END)?;
            let stamp = self.read(index)?;
            // Written begin first and end last: if the begin read now is the end read before, then
            // nothing was written in between.
            if end != 0 && self.slots.load(index, ECHO + BEGIN)? == end {
                return Ok(Some(Stamp {
                    nonce: end,
                    ..stamp
                }));
            }
            if end == 0 {
                break;
            }
        }
        Ok(None)
    }

    fn read(&self, index: u32) -> io::Result<Stamp> {
        let word = |word| self.slots.load(index, ECHO + word);
        let mut instances = [0; PROBE_INSTANCES];
        for (place, instance) in instances.iter_mut().enumerate() {
            *instance = word(INSTANCES + place)?;
        }
        Ok(Stamp {
            nonce: 0,
            arrived_ns: word(ARRIVED)?,
            incarnation: word(INCARNATION)?,
            lease_left_ns: word(LEASE_LEFT)?,
            instances,
        })
    }

    fn free(&self) -> Option<u32> {
        (0..MAX_PEER_LINKS).find(|index| !self.indices.values().any(|used| used == index))
    }

    fn clear(&self, index: u32) -> io::Result<()> {
        const WORDS: usize = size_of::<LivenessSlot>() / 8;
        (0..WORDS).try_for_each(|word| self.slots.store(index, word, 0))
    }
}

fn key_of(address: IpAddr) -> PeerKey {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

fn address_of(key: PeerKey) -> IpAddr {
    Ipv6Addr::from(key).to_canonical()
}
