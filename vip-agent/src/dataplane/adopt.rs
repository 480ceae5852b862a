//! Whether an agent can go on with the data plane that an earlier one has left at work.
//!
//! It can if everything that is claimed there means the same to it: the same instance in the same slot,
//! on the same interface, answered by a program with the same map layout. VIPs, backends and timing may
//! differ: they are brought in line while packets flow.

use std::io;

use vip_proto::Incarnation;
use vip_proto::node::Resumed;

use super::attach::{excludes, mode};
use super::pins::Pins;
use super::sizes::Sizes;
use super::slots::InstanceSlots;
use super::{Slots, pinned};
use crate::clock;
use crate::config::Config;
use crate::error::RunError;
use crate::host::interface::Interface;

/// A data plane at work, and the agent it works for.
#[derive(Debug)]
pub struct Adoption {
    /// Its slots.
    pub slots: Slots,
    /// The earlier agent in the election; the new one goes on as it.
    pub incarnation: Incarnation,
    /// What it has said and claimed.
    pub resumed: Resumed,
    /// Kernel's numbers of the programs on the interfaces, which are to be replaced.
    pub programs: Vec<u32>,
}

/// Why there is nothing to go on with.
#[derive(Debug)]
pub enum Unfit {
    /// No data plane is pinned.
    Nothing,
    /// One is, but its lease has ended: it is silent.
    Silent,
    /// It is at work, but means something else; why, as a phrase.
    Differs(String),
}

/// Reads what an earlier agent has left, and whether this configuration can go on with it. Nothing is
/// changed.
///
/// # Errors
/// Why it cannot.
pub fn look(config: &Config, interfaces: &[Interface]) -> Result<Adoption, Unfit> {
    let pins = Pins::new(&config.node.pin_dir);
    let unreadable = |error: RunError| Unfit::Differs(error.to_string());
    if pins.is_empty().unwrap_or(true) {
        return Err(Unfit::Nothing);
    }
    let slots = pinned::slots(&pins).map_err(unreadable)?;
    let resumed = resumed(config, &slots.instances)
        .map_err(|error| Unfit::Differs(error.to_string()))?
        .ok_or(Unfit::Silent)?;
    if let Some(difference) = difference(config, interfaces) {
        return Err(Unfit::Differs(difference));
    }
    let (incarnation, _) = slots
        .instances
        .identity()
        .map_err(|error| Unfit::Differs(error.to_string()))?;
    let programs = interfaces
        .iter()
        .filter_map(|interface| interface.xdp.map(|xdp| xdp.id))
        .collect();
    Ok(Adoption {
        slots,
        incarnation,
        resumed,
        programs,
    })
}

/// Why this configuration cannot go on with the pinned data plane, as a phrase; `None`: it can.
#[must_use]
pub fn difference(config: &Config, interfaces: &[Interface]) -> Option<String> {
    let pins = Pins::new(&config.node.pin_dir);
    match pins.other_versions() {
        Ok(others) if others.is_empty() => {}
        Ok(_) => return Some("there is a data plane of another version, too".to_owned()),
        Err(error) => return Some(error.to_string()),
    }
    if let Some(reason) = pins.incompatibility(Sizes::of(config)) {
        return Some(reason);
    }
    let excluded = interfaces.iter().find(|interface| {
        let mode = mode(config, interface);
        interface.xdp.is_some_and(|xdp| excludes(mode, xdp))
    });
    if let Some(interface) = excluded {
        let name = &interface.name;
        return Some(format!(
            "{name} is attached in another mode than [node] xdp says"
        ));
    }
    match pinned::slots(&pins) {
        Ok(slots) => moved(config, interfaces, &pins, &slots.instances)
            .unwrap_or_else(|error| Some(error.to_string())),
        Err(error) => Some(error.to_string()),
    }
}

/// Which slot belongs to another instance than the configuration says.
fn moved(
    config: &Config,
    interfaces: &[Interface],
    pins: &Pins,
    slots: &InstanceSlots,
) -> io::Result<Option<String>> {
    let mut instances = config.instances.iter();
    for slot in 0..slots.len() {
        let (ifindex, vrid) = slots.place(slot)?;
        let claimed = slots.claimed(slot)?.is_some();
        let Some(instance) = instances.next() else {
            if claimed {
                return Ok(Some(format!(
                    "the instance with VRID {vrid} is active and no longer configured in its place"
                )));
            }
            continue;
        };
        let name = &instance.name;
        if vrid != 0 && vrid != u32::from(instance.vrid.get()) {
            return Ok(Some(format!(
                "{name} (VRID {}) is in the place of the instance with VRID {vrid}: their order has \
                 changed",
                instance.vrid
            )));
        }
        let guarded = interfaces.iter().any(|interface| {
            interface.name == instance.interface
                && interface.index == ifindex
                && interface.xdp.is_some()
                && pins.link(&interface.name, ifindex).exists()
        });
        if claimed && !guarded {
            let interface = &instance.interface;
            return Ok(Some(format!(
                "{name} is active, but not by the data plane on {interface}"
            )));
        }
    }
    Ok(None)
}

/// What the earlier agent has said and claimed; `None`: its lease is over.
fn resumed(config: &Config, slots: &InstanceSlots) -> io::Result<Option<Resumed>> {
    let (incarnation, sequence) = slots.identity()?;
    let lease_until = slots.lease_until()?;
    if incarnation == Incarnation(0) || lease_until <= clock::now() {
        return Ok(None);
    }
    let mut claims = Vec::new();
    for (slot, instance) in (0..slots.len()).zip(&config.instances) {
        // Who takes packets but does not answer yet, leaves the instance to who hands over.
        if let Some(epoch) = slots.claimed(slot)?.filter(|_| slots.answers(slot)) {
            claims.push((instance.vrid, epoch));
        }
    }
    Ok(Some(Resumed {
        sequence,
        lease_until,
        claims,
    }))
}
