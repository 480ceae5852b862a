//! `VIP_SEEN`: who uses the VIPs, as far as the data plane can tell.

use std::io;
use std::os::fd::AsFd;

use vip_common::abi::VipSeen;
use vip_proto::Instant;

use super::mapped::MappedArray;

/// Words of a [`VipSeen`].
const WANTED: usize = 0;
const FIRST_PACKET: usize = 1;

/// `VIP_SEEN`, which the data plane writes. VIPs are numbered in the order of the configuration
/// ([`first_vip`](super::tables::first_vip)).
#[derive(Debug)]
pub struct SeenTable(MappedArray<VipSeen>);

impl SeenTable {
    /// Maps the array.
    ///
    /// # Errors
    /// What `mmap` answers.
    pub fn open(map: impl AsFd, entries: u32) -> io::Result<Self> {
        MappedArray::open(map, entries).map(Self)
    }

    /// When somebody last asked for the VIP or sent to it, to within a second; the clock's zero:
    /// nobody did.
    #[must_use]
    pub fn wanted(&self, vip: u32) -> Instant {
        self.at(vip, WANTED)
    }

    /// When the first packet to the VIP arrived after an instance's claim; the clock's zero: none
    /// did. It belongs to the present claim if it is not before it.
    #[must_use]
    pub fn first_packet(&self, vip: u32) -> Instant {
        self.at(vip, FIRST_PACKET)
    }

    /// Forgets everything: the numbers belong to other VIPs from now on.
    ///
    /// # Errors
    /// If the table is not as large as it says.
    pub fn clear(&self) -> io::Result<()> {
        for vip in 0..self.0.entries() {
            self.0.store(vip, WANTED, 0)?;
            self.0.store(vip, FIRST_PACKET, 0)?;
        }
        Ok(())
    }

    /// A VIP that has no entry was never seen.
    fn at(&self, vip: u32, word: usize) -> Instant {
        self.0
            .load(vip, word)
            .map_or_else(|_| Instant::default(), Instant::from_nanos)
    }
}
