//! The maps of a pinned data plane, opened by their pins: what an agent needs of one that is already
//! at work, before its own program is loaded.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;

use aya::maps::{HashMap, Map, MapData};
use vip_common::abi;

use super::Slots;
use super::flight::FlightRing;
use super::peers::PeerLinks;
use super::pins::Pins;
use super::seen::SeenTable;
use super::slots::{BackendSlots, InstanceSlots, ServiceSlots};
use crate::error::RunError;

/// Maps the slots into memory.
///
/// # Errors
/// [`RunError::Dataplane`] or [`RunError::Io`], naming the map.
pub fn slots(pins: &Pins) -> Result<Slots, RunError> {
    let instances = array(pins, abi::AGENT, |agent, _| {
        array(pins, abi::INSTANCES, |map, entries| {
            InstanceSlots::open(agent, map, entries)
        })
        .map_err(io::Error::other)
    })?;
    Ok(Slots {
        instances: Arc::new(instances),
        services: Arc::new(array(pins, abi::SERVICES, |map, entries| {
            ServiceSlots::open(map, entries)
        })?),
        backends: Arc::new(array(pins, abi::BACKENDS, |map, entries| {
            BackendSlots::open(map, entries)
        })?),
        seen: Arc::new(array(pins, abi::VIP_SEEN, |map, entries| {
            SeenTable::open(map, entries)
        })?),
        flight: Arc::new(array(pins, abi::FLIGHT, |map, entries| {
            FlightRing::open(map, entries)
        })?),
    })
}

/// Opens the links to the peers.
///
/// # Errors
/// [`RunError::Dataplane`] or [`RunError::Io`], naming the map.
pub fn peer_links(pins: &Pins) -> Result<PeerLinks, RunError> {
    let what = || format!("opening {}", abi::PEERS);
    let peers = HashMap::try_from(Map::HashMap(map(pins, abi::PEERS)?))
        .map_err(RunError::dataplane(what()))?;
    array(pins, abi::LIVENESS, |map, _| PeerLinks::open(map, peers))
}

fn array<T>(
    pins: &Pins,
    name: &str,
    open: impl FnOnce(BorrowedFd<'_>, u32) -> io::Result<T>,
) -> Result<T, RunError> {
    let what = || format!("mapping {name} into memory");
    let data = map(pins, name)?;
    let entries = data
        .info()
        .map_err(RunError::dataplane(what()))?
        .max_entries();
    open(data.fd().as_fd(), entries).map_err(RunError::io(what()))
}

fn map(pins: &Pins, name: &str) -> Result<MapData, RunError> {
    MapData::from_pin(pins.map(name)).map_err(RunError::dataplane(format!(
        "opening the pinned map {name}"
    )))
}
