//! The arrays that are written while packets flow: who may answer, and where packets go.

use std::io;
use std::os::fd::AsFd;

use vip_common::abi::{
    ANSWERING, AgentSlot, BackendEntry, CLAIMED, InstanceSlot, MacCell, ServiceSlot,
};
use vip_proto::node::Drain;
use vip_proto::{Epoch, Incarnation, Instant, Vrid};

use super::mapped::MappedArray;
use crate::config::MacMode;

/// Words of an [`AgentSlot`].
const LEASE: usize = 0;
const GENERATION: usize = 1;
const INCARNATION: usize = 2;
const SEQUENCE: usize = 3;
const HELD: usize = 4;
const ENDED_GENERATION: usize = 8;

/// Words of an [`InstanceSlot`].
const CLAIM: usize = 0;
const MAC_V4: usize = 1;
const MAC_V6: usize = 2;
const STATION: usize = 3;
const IFINDEX_VRID: usize = 4;
const CLAIMED_AT: usize = 5;
const SUCCESSOR: usize = 6;
const DRAIN_UNTIL: usize = 7;
const DRAINED_AT: usize = 8;

/// The addresses an instance is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Macs {
    /// In ARP answers.
    pub v4: [u8; 6],
    /// In Neighbor Discovery answers.
    pub v6: [u8; 6],
    /// The interface's own.
    pub station: [u8; 6],
}

impl Macs {
    /// The addresses of an instance on an interface that has the address `station`.
    #[must_use]
    pub const fn of(mode: MacMode, vrid: Vrid, station: [u8; 6]) -> Self {
        let (v4, v6) = match mode {
            MacMode::Interface => (station, station),
            MacMode::Virtual => (virtual_mac(1, vrid), virtual_mac(2, vrid)),
        };
        Self { v4, v6, station }
    }
}

/// The virtual router's address, 00-00-5E-00-01-VRID for IPv4 and 00-00-5E-00-02-VRID for IPv6
/// (RFC 9568 §7.3).
const fn virtual_mac(family: u8, vrid: Vrid) -> [u8; 6] {
    [0x00, 0x00, 0x5e, 0x00, family, vrid.get()]
}

/// `AGENT` and `INSTANCES`: the agent's lease, and what is claimed under it.
#[derive(Debug)]
pub struct InstanceSlots {
    agent: MappedArray<AgentSlot>,
    instances: MappedArray<InstanceSlot>,
}

impl InstanceSlots {
    /// Maps both arrays.
    ///
    /// # Errors
    /// What `mmap` answers.
    pub fn open(agent: impl AsFd, instances: impl AsFd, entries: u32) -> io::Result<Self> {
        Ok(Self {
            agent: MappedArray::open(agent, 1)?,
            instances: MappedArray::open(instances, entries)?,
        })
    }

    /// Number of instances there is room for.
    #[must_use]
    #[expect(
        clippy::len_without_is_empty,
        reason = "a map is never without entries"
    )]
    pub const fn len(&self) -> u32 {
        self.instances.len()
    }

    /// Ends the agent's lease now: nothing that is claimed counts any more.
    ///
    /// # Errors
    /// If the slot does not exist.
    pub fn end_lease(&self) -> io::Result<()> {
        self.agent.store(0, LEASE, 0)
    }

    /// Extends the agent's lease: one store. `anew`: the lease before is over and nothing is
    /// claimed; a new generation begins.
    ///
    /// # Errors
    /// If the slot does not exist.
    pub fn renew(&self, until: Instant, anew: bool) -> io::Result<()> {
        if anew {
            let ended = self.agent.load(0, ENDED_GENERATION)?;
            let generation = self.agent.load(0, GENERATION)?.max(ended) + 1;
            // The lease of the generation before must not become valid by its successor's number.
            self.agent.store(0, LEASE, 0)?;
            self.agent.store(0, GENERATION, generation)?;
        }
        self.agent.store(0, LEASE, until.as_nanos())
    }

    /// Whether the data plane has told a peer that the present lease is over.
    ///
    /// # Errors
    /// If the slot does not exist.
    pub fn was_told_over(&self) -> io::Result<bool> {
        Ok(self.agent.load(0, ENDED_GENERATION)? == self.agent.load(0, GENERATION)?)
    }

    /// End of the agent's lease; the clock's zero if it is over for good.
    ///
    /// # Errors
    /// If the slot does not exist.
    pub fn lease_until(&self) -> io::Result<Instant> {
        if self.was_told_over()? {
            return Ok(Instant::default());
        }
        self.agent.load(0, LEASE).map(Instant::from_nanos)
    }

    /// Remembers who the agent is, for one that adopts the data plane later.
    ///
    /// # Errors
    /// If the slot does not exist.
    pub fn set_identity(&self, incarnation: Incarnation, sequence: u64) -> io::Result<()> {
        self.agent.store(0, INCARNATION, incarnation.0)?;
        self.agent.store(0, SEQUENCE, sequence)
    }

    /// Remembers in which slots the instances are that an operator has moved away.
    ///
    /// # Errors
    /// If the slot does not exist.
    pub fn set_held(&self, slots: impl Iterator<Item = u32>) -> io::Result<()> {
        let bits = slots.filter_map(|slot| 1_u64.checked_shl(slot));
        self.agent
            .store(0, HELD, bits.fold(0, |held, bit| held | bit))
    }

    /// Whether an operator has moved this slot's instance away.
    ///
    /// # Errors
    /// If the slot does not exist.
    pub fn is_held(&self, slot: u32) -> io::Result<bool> {
        let held = self.agent.load(0, HELD)?;
        Ok(held.checked_shr(slot).is_some_and(|bits| bits & 1 == 1))
    }

    /// Who the agent was that wrote last, and the number of its last advert.
    ///
    /// # Errors
    /// If the slot does not exist.
    pub fn identity(&self) -> io::Result<(Incarnation, u64)> {
        let incarnation = Incarnation(self.agent.load(0, INCARNATION)?);
        Ok((incarnation, self.agent.load(0, SEQUENCE)?))
    }

    /// Flips the instance to Active, and reads the claim back.
    ///
    /// # Errors
    /// If the slot does not exist or does not hold what was written.
    pub fn claim(&self, slot: u32, epoch: Epoch, answering: bool, now: Instant) -> io::Result<()> {
        let claim = InstanceSlot::claim(epoch.0, answering);
        if answering {
            self.instances.store(slot, CLAIMED_AT, now.as_nanos())?;
        }
        self.instances.store(slot, CLAIM, claim)?;
        self.instances.store(slot, DRAIN_UNTIL, 0)?;
        if self.instances.load(slot, CLAIM)? != claim {
            return Err(io::Error::other(
                "the claim read back is not the one written",
            ));
        }
        Ok(())
    }

    /// Ends the claim now: one store. With `drain`, frames that still come are forwarded.
    ///
    /// # Errors
    /// If the slot does not exist.
    pub fn release(&self, slot: u32, drain: Option<Drain>) -> io::Result<()> {
        if let Some(drain) = drain {
            let successor = bytemuck::cast(MacCell::new(drain.mac));
            self.instances.store(slot, SUCCESSOR, successor)?;
        }
        let until = drain.map_or(0, |drain| drain.until.as_nanos());
        self.instances.store(slot, DRAIN_UNTIL, until)?;
        self.instances.store(slot, CLAIM, 0)
    }

    /// Ends the lease and every claim.
    ///
    /// # Errors
    /// If a slot does not exist.
    pub fn release_all(&self) -> io::Result<()> {
        self.end_lease()?;
        (0..self.len()).try_for_each(|slot| self.release(slot, None))
    }

    /// Epoch of the present claim, whether or not the lease is valid; `None`: not claimed.
    ///
    /// # Errors
    /// If the slot does not exist.
    pub fn claimed(&self, slot: u32) -> io::Result<Option<Epoch>> {
        let claim = self.instances.load(slot, CLAIM)?;
        let [low, _]: [u32; 2] = bytemuck::cast(claim.to_le());
        Ok((claim & CLAIMED != 0).then(|| Epoch(u32::from_le(low))))
    }

    /// Whether ARP and Neighbor Discovery are answered under the present claim.
    #[must_use]
    pub fn answers(&self, slot: u32) -> bool {
        let claim = self.instances.load(slot, CLAIM);
        claim.is_ok_and(|claim| claim & CLAIMED != 0 && claim & ANSWERING != 0)
    }

    /// Until when frames that still come are forwarded to the successor; the clock's zero: they are
    /// not.
    ///
    /// # Errors
    /// If the slot does not exist.
    pub fn drains_until(&self, slot: u32) -> io::Result<Instant> {
        self.instances
            .load(slot, DRAIN_UNTIL)
            .map(Instant::from_nanos)
    }

    /// Index of the instance's interface, and its VRID; zeros: no instance has this slot.
    ///
    /// # Errors
    /// If the slot does not exist.
    pub fn place(&self, slot: u32) -> io::Result<(u32, u32)> {
        let [ifindex, vrid] = bytemuck::cast(self.instances.load(slot, IFINDEX_VRID)?);
        Ok((ifindex, vrid))
    }

    /// When the present claim, or else the last one, began to answer; the clock's zero: never.
    ///
    /// # Errors
    /// If the slot does not exist.
    pub fn claimed_at(&self, slot: u32) -> io::Result<Instant> {
        self.instances
            .load(slot, CLAIMED_AT)
            .map(Instant::from_nanos)
    }

    /// Until when the data plane acts for the instance, as things stand; the clock's zero if it
    /// does not.
    ///
    /// # Errors
    /// If the slot does not exist.
    pub fn acts_until(&self, slot: u32) -> io::Result<Instant> {
        if self.claimed(slot)?.is_none() {
            return Ok(Instant::default());
        }
        self.lease_until()
    }

    /// When a frame was last forwarded to the successor; the clock's zero: never.
    ///
    /// # Errors
    /// If the slot does not exist.
    pub fn drained_at(&self, slot: u32) -> io::Result<Instant> {
        self.instances
            .load(slot, DRAINED_AT)
            .map(Instant::from_nanos)
    }

    /// The interface the instance's VIPs live on, and the MAC addresses they are answered with.
    ///
    /// # Errors
    /// If the slot does not exist.
    pub fn set_interface(&self, slot: u32, vrid: Vrid, ifindex: u32, macs: Macs) -> io::Result<()> {
        for (word, mac) in [
            (MAC_V4, macs.v4),
            (MAC_V6, macs.v6),
            (STATION, macs.station),
        ] {
            let cell = bytemuck::cast(MacCell::new(mac));
            self.instances.store(slot, word, cell)?;
        }
        let place = bytemuck::cast([ifindex, u32::from(vrid.get())]);
        self.instances.store(slot, IFINDEX_VRID, place)
    }

    /// The MAC addresses the instance's VIPs are answered with.
    ///
    /// # Errors
    /// If the slot does not exist.
    pub fn macs(&self, slot: u32) -> io::Result<Macs> {
        let mac = |word| -> io::Result<[u8; 6]> {
            let cell: MacCell = bytemuck::cast(self.instances.load(slot, word)?);
            Ok(cell.mac)
        };
        Ok(Macs {
            v4: mac(MAC_V4)?,
            v6: mac(MAC_V6)?,
            station: mac(STATION)?,
        })
    }
}

/// `SERVICES`: the steering decision of each instance.
#[derive(Debug)]
pub struct ServiceSlots(MappedArray<ServiceSlot>);

impl ServiceSlots {
    /// Maps the array.
    ///
    /// # Errors
    /// What `mmap` answers.
    pub fn open(map: impl AsFd, entries: u32) -> io::Result<Self> {
        MappedArray::open(map, entries).map(Self)
    }

    /// The present steering.
    ///
    /// # Errors
    /// If the slot does not exist.
    pub fn get(&self, slot: u32) -> io::Result<ServiceSlot> {
        self.0.load(slot, 0).map(bytemuck::cast)
    }

    /// Changes the steering: one store.
    ///
    /// # Errors
    /// If the slot does not exist.
    pub fn set(&self, slot: u32, service: ServiceSlot) -> io::Result<()> {
        self.0.store(slot, 0, bytemuck::cast(service))
    }
}

/// `BACKENDS`: how frames reach the backends.
#[derive(Debug)]
pub struct BackendSlots(MappedArray<BackendEntry>);

impl BackendSlots {
    /// Maps the array.
    ///
    /// # Errors
    /// What `mmap` answers.
    pub fn open(map: impl AsFd, entries: u32) -> io::Result<Self> {
        MappedArray::open(map, entries).map(Self)
    }

    /// Where the backend is.
    ///
    /// # Errors
    /// If the entry does not exist.
    pub fn get(&self, slot: u32) -> io::Result<BackendEntry> {
        let destination = self.0.load(slot, 0)?;
        let source = self.0.load(slot, 1)?;
        let interface = self.0.load(slot, 2)?;
        Ok(bytemuck::cast([destination, source, interface]))
    }

    /// Writes where the backend is; the destination last, so that a reader who sees a resolved
    /// destination sees its interface too. An unknown destination makes the data plane drop.
    ///
    /// # Errors
    /// If the entry does not exist.
    pub fn set(&self, slot: u32, entry: BackendEntry) -> io::Result<()> {
        let [destination, source, interface]: [u64; 3] = bytemuck::cast(entry);
        self.0.store(slot, 1, source)?;
        self.0.store(slot, 2, interface)?;
        self.0.store(slot, 0, destination)
    }
}
