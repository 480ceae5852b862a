//! What an earlier agent left on this host: found, taken away where it does not fit.

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use rtnetlink::Handle;
use tracing::{error, info, warn};

use super::local_vips;
use crate::clock;
use crate::config::Config;
use crate::dataplane::adopt::{self, Adoption, Unfit};
use crate::dataplane::attach::{excludes, mode, occupied};
use crate::dataplane::pins::Pins;
use crate::dataplane::sizes::Sizes;
use crate::dataplane::{Slots, pinned};
use crate::error::RunError;
use crate::host::interface::{self, Interface};
use crate::host::provision;

/// Finds out early, and with a better word than "address already in use", that another agent or
/// another program has the interface. Where an earlier agent of this node has left something, only
/// attaching can tell.
pub(super) fn interfaces_are_free(
    config: &Config,
    interfaces: &[Interface],
) -> Result<(), RunError> {
    let pins = Pins::new(&config.node.pin_dir);
    let what = "looking for an earlier data plane";
    let links = pins.links().map_err(RunError::io(what))?;
    let others = pins.other_versions().map_err(RunError::io(what))?;
    if !(links.is_empty() && others.is_empty()) {
        return Ok(());
    }
    interfaces.iter().try_for_each(|interface| {
        interface
            .xdp
            .map_or(Ok(()), |other| Err(occupied(interface, other)))
    })
}

/// The data plane at work that an earlier agent has left, if this one can go on with it. Where it
/// cannot, that is said: what is claimed ends then.
pub(super) fn adoption(config: &Config, interfaces: &[Interface]) -> Option<Adoption> {
    match adopt::look(config, interfaces) {
        Ok(adoption) => {
            let resumed = &adoption.resumed;
            let left = resumed.lease_until.saturating_since(clock::now());
            info!(
                incarnation = %adoption.incarnation,
                active = resumed.claims.len(),
                lease_left_us = left.as_micros(),
                "going on with the data plane an earlier agent left at work"
            );
            Some(adoption)
        }
        Err(Unfit::Nothing) => None,
        Err(Unfit::Silent) => {
            info!("an earlier agent left its data plane; its lease has ended");
            None
        }
        Err(Unfit::Differs(reason)) => {
            warn!(
                reason,
                "cannot go on with the data plane an earlier agent left at work: everything it has \
                 claimed is released"
            );
            // Where its slots cannot be opened, it is of another version, and is removed.
            if let Ok(slots) = pinned::slots(&Pins::new(&config.node.pin_dir)) {
                give_up(&slots);
            }
            None
        }
    }
}

/// Releases all that an earlier agent has claimed: nobody is there to answer for it.
pub(super) fn give_up(slots: &Slots) {
    if let Err(error) = slots.instances.release_all() {
        error!(%error, "what an earlier agent has claimed cannot be released: its lease runs out");
    }
}

/// The pinned links of an earlier agent that are attached in a way the configuration forbids.
pub(super) fn excluded_links(
    config: &Config,
    interfaces: &[Interface],
) -> Vec<(Interface, PathBuf)> {
    let pins = Pins::new(&config.node.pin_dir);
    interfaces
        .iter()
        .filter(|interface| {
            interface
                .xdp
                .is_some_and(|xdp| excludes(mode(config, interface), xdp))
        })
        .map(|interface| {
            let path = pins.link(&interface.name, interface.index);
            (interface.clone(), path)
        })
        .filter(|(_, path)| path.exists())
        .collect()
}

/// How long the kernel may take to detach a program whose link was removed.
const DETACHED_WITHIN: Duration = Duration::from_secs(2);

/// Detaches an earlier agent's program from interfaces. VIPs must be off `lo` before.
pub(super) async fn detach(
    handle: &Handle,
    links: Vec<(Interface, PathBuf)>,
) -> Result<(), RunError> {
    for (interface, path) in links {
        let name = &interface.name;
        info!(
            interface = name,
            "the data plane an earlier agent left is attached in another mode than [node] xdp \
             says: attaching it anew"
        );
        let what = || format!("detaching the earlier data plane from {name}");
        std::fs::remove_file(&path).map_err(RunError::io(what()))?;
        // The kernel does that later, by itself.
        let deadline = tokio::time::Instant::now() + DETACHED_WITHIN;
        let is_attached =
            |now: &Interface| now.index == interface.index && now.xdp == interface.xdp;
        while interface::list(handle).await?.iter().any(is_attached) {
            if tokio::time::Instant::now() > deadline {
                return Err(RunError::io(what())(io::ErrorKind::TimedOut.into()));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    Ok(())
}

/// Takes VIPs of an earlier agent off `lo` that will not be guarded any more: those no longer
/// configured, and all of them if its data plane has to be replaced or is to be `detached`. Also
/// where this agent does not provision any: what nobody guards would be answered for.
pub(super) async fn clear_loopback(
    config: &Config,
    handle: &Handle,
    detached: bool,
) -> Result<(), RunError> {
    let pins = Pins::new(&config.node.pin_dir);
    let what = "looking for an earlier data plane";
    let earlier = pins.vips().map_err(RunError::io(what))?;
    let replaced = detached
        || pins.incompatibility(Sizes::of(config)).is_some()
        || !pins
            .other_versions()
            .map_err(RunError::io(what))?
            .is_empty();
    let kept: HashSet<IpAddr> = local_vips(config).into_iter().collect();
    let unguarded: Vec<IpAddr> = earlier
        .into_iter()
        .filter(|vip| replaced || !kept.contains(vip))
        .collect();
    provision::remove_vips(handle, &unguarded).await
}
