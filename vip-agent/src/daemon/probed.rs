//! Interfaces that only carry adverts and liveness probes: the data plane answers there too, so it is
//! attached to them, and again when somebody takes it off or makes them anew. Without it, their peers
//! are told of a failure by adverts only.

use std::collections::BTreeMap;
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
    let Some(liveness) = &config.liveness else {
        return Vec::new();
    };
    let further = liveness.links.iter().map(|link| link.local);
    let mut found: Vec<Interface> = Vec::new();
    for local in std::iter::once(address.0).chain(further) {
        let Some(interface) = holder(present, local) else {
            warn!(
                address = %local,
                "no interface has this address: liveness probes to it are not answered"
            );
            continue;
        };
        let has_instance = config
            .instances
            .iter()
            .any(|instance| instance.interface == interface.name);
        if !has_instance && !found.contains(interface) {
            found.push(interface.clone());
        }
    }
    found
}

fn holder(present: &[Interface], local: IpAddr) -> Option<&Interface> {
    present
        .iter()
        .find(|interface| interface.addresses.contains(&local))
}

/// What was said last about each of these interfaces, so that it is said once.
#[derive(Debug, Default)]
pub(super) struct Said(BTreeMap<String, String>);

/// Attaches again where the data plane is missing.
pub(super) async fn look(shared: &Shared, handle: &Handle, said: &mut Said) {
    let names = names(shared);
    if names.is_empty() {
        return;
    }
    // Whatever keeps the interfaces from being listed is told of by the guard.
    let Ok(present) = interface::list(handle).await else {
        return;
    };
    let mut changing = shared.changing();
    for name in names {
        let now = present.iter().find(|interface| interface.name == name);
        changing.interfaces.insert(name.clone(), now.cloned());
        let (Some(interface), Some(dataplane)) = (now, changing.dataplane.as_mut()) else {
            continue;
        };
        match dataplane.attach(interface, attach::mode(&shared.config, interface)) {
            Ok(Attachment::Fresh) => {
                said.0.remove(&name);
                info!(
                    interface = name,
                    "the data plane answers liveness probes here again"
                );
            }
            Ok(Attachment::Adopted) => {}
            Err(error) => {
                let error = error.to_string();
                if said.0.get(&name) != Some(&error) {
                    warn!(
                        interface = name,
                        error, "liveness probes are not answered here: trying again every second"
                    );
                }
                said.0.insert(name, error);
            }
        }
    }
}

/// The interfaces in use on which no instance is.
fn names(shared: &Shared) -> Vec<String> {
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
