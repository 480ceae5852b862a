//! Interfaces that only carry adverts and liveness probes: the data plane answers there too, so it is
//! attached to them, when they come late, too, and again when somebody takes it off or makes them
//! anew. Without it, their peers are told of a failure by adverts only.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use rtnetlink::Handle;
use tracing::{info, warn};
use vip_proto::NodeAddress;

use super::shared::Shared;
use crate::config::Config;
use crate::dataplane::attach::{self, Attachment};
use crate::host::interface::{self, Interface};

/// The interfaces that probes arrive at and no instance is on.
pub(super) fn interfaces(
    config: &Config,
    address: NodeAddress,
    present: &[Interface],
) -> Vec<Interface> {
    let places = Places::of(config, address, present);
    for local in places.missing {
        warn!(
            address = %local,
            "no interface has this address: liveness probes to it are not answered until one has"
        );
    }
    places.found
}

/// Where probes arrive.
#[derive(Debug, Default)]
struct Places {
    /// Interfaces on which no instance is.
    found: Vec<Interface>,
    /// Addresses of this node that no interface has.
    missing: Vec<IpAddr>,
}

impl Places {
    fn of(config: &Config, address: NodeAddress, present: &[Interface]) -> Self {
        let mut places = Self::default();
        let Some(liveness) = &config.liveness else {
            return places;
        };
        let further = liveness.links.iter().map(|link| link.local);
        for local in std::iter::once(address.0).chain(further) {
            let Some(interface) = holder(present, local) else {
                places.missing.push(local);
                continue;
            };
            let has_instance = config
                .instances
                .iter()
                .any(|instance| instance.interface == interface.name);
            if !has_instance && !places.found.contains(interface) {
                places.found.push(interface.clone());
            }
        }
        places
    }
}

fn holder(present: &[Interface], local: IpAddr) -> Option<&Interface> {
    present
        .iter()
        .find(|interface| interface.addresses.contains(&local))
}

/// What is remembered from one look to the next.
#[derive(Debug)]
pub(super) struct Said {
    address: NodeAddress,
    /// What was said last about each of these interfaces, so that it is said once.
    errors: BTreeMap<String, String>,
    /// Whether an address had no interface at the last look.
    is_incomplete: bool,
}

impl Said {
    /// Nothing was looked at yet. `address`: this node's among its peers.
    pub(super) const fn new(address: NodeAddress) -> Self {
        Self {
            address,
            errors: BTreeMap::new(),
            is_incomplete: true,
        }
    }
}

/// Attaches again where the data plane is missing, and to interfaces that have come since.
pub(super) async fn look(shared: &Shared, handle: &Handle, said: &mut Said) {
    let mut names = names(shared);
    if names.is_empty() && !said.is_incomplete {
        return;
    }
    // Whatever keeps the interfaces from being listed is told of by the guard.
    let Ok(present) = interface::list(handle).await else {
        return;
    };
    let places = Places::of(&shared.config, said.address, &present);
    said.is_incomplete = !places.missing.is_empty();
    names.extend(places.found.into_iter().map(|interface| interface.name));
    let mut changing = shared.changing();
    for name in names {
        let now = present.iter().find(|interface| interface.name == name);
        changing.interfaces.insert(name.clone(), now.cloned());
        let (Some(interface), Some(dataplane)) = (now, changing.dataplane.as_mut()) else {
            continue;
        };
        match dataplane.attach(interface, attach::mode(&shared.config, interface)) {
            Ok(Attachment::Fresh) => {
                said.errors.remove(&name);
                info!(
                    interface = name,
                    "the data plane answers liveness probes here"
                );
            }
            Ok(Attachment::Adopted) => {}
            Err(error) => {
                let error = error.to_string();
                if said.errors.get(&name) != Some(&error) {
                    warn!(
                        interface = name,
                        error, "liveness probes are not answered here: trying again every second"
                    );
                }
                said.errors.insert(name, error);
            }
        }
    }
}

/// The interfaces in use on which no instance is.
fn names(shared: &Shared) -> BTreeSet<String> {
    let on_it = |name: &String| {
        let mut instances = shared.config.instances.iter();
        instances.any(|instance| instance.interface == *name)
    };
    let changing = shared.changing();
    changing
        .interfaces
        .keys()
        .filter(|name| !on_it(name))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests;
