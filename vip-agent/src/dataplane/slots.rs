//! The three arrays that are written while packets flow: who may answer, and where packets go.

use std::io;
use std::os::fd::AsFd;

use vip_common::abi::{BackendEntry, InstanceSlot, MacCell, ServiceSlot};
use vip_proto::{Epoch, Instant};

use super::mapped::MappedArray;

/// Words of an [`InstanceSlot`].
const LEASE: usize = 0;
const MAC: usize = 1;
const IFINDEX_EPOCH: usize = 2;

/// `INSTANCES`: the leases.
#[derive(Debug)]
pub struct InstanceSlots(MappedArray<InstanceSlot>);

impl InstanceSlots {
    /// Maps the array.
    ///
    /// # Errors
    /// What `mmap` answers.
    pub fn open(map: impl AsFd, entries: u32) -> io::Result<Self> {
        MappedArray::open(map, entries).map(Self)
    }

    /// Flips the instance to Active until `lease_until`, and reads the lease back.
    ///
    /// # Errors
    /// If the slot does not exist or does not hold what was written.
    pub fn claim(&self, slot: u32, epoch: Epoch, lease_until: Instant) -> io::Result<()> {
        let [ifindex, _]: [u32; 2] = bytemuck::cast(self.0.load(slot, IFINDEX_EPOCH)?);
        self.0
            .store(slot, IFINDEX_EPOCH, bytemuck::cast([ifindex, epoch.0]))?;
        self.renew(slot, lease_until)?;
        if self.lease_until(slot)? != lease_until {
            return Err(io::Error::other(
                "the lease read back is not the one written",
            ));
        }
        Ok(())
    }

    /// Extends the lease: one store.
    ///
    /// # Errors
    /// If the slot does not exist.
    pub fn renew(&self, slot: u32, lease_until: Instant) -> io::Result<()> {
        self.0.store(slot, LEASE, lease_until.as_nanos())
    }

    /// Ends the lease now: one store.
    ///
    /// # Errors
    /// If the slot does not exist.
    pub fn release(&self, slot: u32) -> io::Result<()> {
        self.0.store(slot, LEASE, 0)
    }

    /// End of the lease; the clock's zero if there is none.
    ///
    /// # Errors
    /// If the slot does not exist.
    pub fn lease_until(&self, slot: u32) -> io::Result<Instant> {
        Ok(Instant::from_nanos(self.0.load(slot, LEASE)?))
    }

    /// The interface the instance's VIPs live on, and the MAC address they are answered with.
    ///
    /// # Errors
    /// If the slot does not exist.
    pub fn set_interface(&self, slot: u32, ifindex: u32, mac: [u8; 6]) -> io::Result<()> {
        let [_, epoch]: [u32; 2] = bytemuck::cast(self.0.load(slot, IFINDEX_EPOCH)?);
        self.0.store(slot, MAC, bytemuck::cast(MacCell::new(mac)))?;
        self.0
            .store(slot, IFINDEX_EPOCH, bytemuck::cast([ifindex, epoch]))
    }

    /// The MAC address the instance's VIPs are answered with.
    ///
    /// # Errors
    /// If the slot does not exist.
    pub fn mac(&self, slot: u32) -> io::Result<[u8; 6]> {
        let cell: MacCell = bytemuck::cast(self.0.load(slot, MAC)?);
        Ok(cell.mac)
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
