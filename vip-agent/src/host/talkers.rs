//! The stations that are told by unicast, too, where a VIP is: looked up in advance and again every
//! few seconds, so that nothing has to be asked at a takeover.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use netlink_packet_route::route::{RouteAttribute, RouteMessage, RouteVia};
use rtnetlink::{Handle, RouteMessageBuilder};
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;
use vip_proto::Vrid;

use super::interface::{self, Interface};
use super::neighbour_table::{Neighbour, ip, neighbours, resolve};
use crate::config::{Audience, Instance};
use crate::error::RunError;
use crate::outputs::announce::{Announcer, Mac};

/// Time between two looks at the tables.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The same after the kernel was asked to find a station.
const LOOK_SOON: Duration = Duration::from_secs(1);

/// Most stations of an instance that get copies.
const MAX_STATIONS: usize = 256;

/// The table that is looked in.
type Neighbours = HashMap<(IpAddr, u32), Neighbour>;

/// Tells the announcer, for ever, which stations there are. What fails is tried again at the next
/// look. Ends at once if no instance has an audience.
pub async fn watch(instances: Vec<Instance>, handle: Handle, announcer: Announcer) {
    if instances.iter().all(|one| one.unicast.is_empty()) {
        return;
    }
    let mut told = BTreeMap::new();
    let mut failing = false;
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let found = look(&instances, &handle).await;
        match found {
            Ok(found) => {
                failing = false;
                tell(&announcer, &mut told, found.stations);
                if found.is_asking {
                    ticks.reset_after(LOOK_SOON);
                }
            }
            Err(error) if !std::mem::replace(&mut failing, true) => {
                warn!(%error, "stations to announce to by unicast cannot be looked up");
            }
            Err(_) => {}
        }
    }
}

/// Tells what has changed.
fn tell(
    announcer: &Announcer,
    told: &mut BTreeMap<Vrid, Vec<Mac>>,
    stations: BTreeMap<Vrid, Vec<Mac>>,
) {
    for (vrid, stations) in stations {
        if told.get(&vrid) != Some(&stations) {
            announcer.set_audience(vrid, stations.clone());
            told.insert(vrid, stations);
        }
    }
}

/// What the tables say.
struct Found {
    stations: BTreeMap<Vrid, Vec<Mac>>,
    /// Whether the kernel was asked for some that are not known yet.
    is_asking: bool,
}

/// Reads the tables once.
async fn look(instances: &[Instance], handle: &Handle) -> Result<Found, RunError> {
    let present = interface::list(handle).await?;
    let neighbours = neighbours(handle).await?;
    let wants_gateways = |one: &Instance| one.unicast.contains(&Audience::Gateways);
    let next_hops = if instances.iter().any(wants_gateways) {
        next_hops(handle).await?
    } else {
        BTreeSet::new()
    };
    let mut found = Found {
        stations: BTreeMap::new(),
        is_asking: false,
    };
    for instance in instances {
        let Some(interface) = present.iter().find(|one| one.name == instance.interface) else {
            continue;
        };
        for address in unresolved(instance, interface, &neighbours, &next_hops) {
            resolve(handle, address, interface.index).await;
            found.is_asking = true;
        }
        let audience = audience(instance, interface, &neighbours, &next_hops);
        found.stations.insert(instance.vrid, audience);
    }
    Ok(found)
}

/// The addresses an instance's audience is named by, apart from neighbours as such.
fn named(
    instance: &Instance,
    interface: &Interface,
    next_hops: &BTreeSet<(u32, IpAddr)>,
) -> BTreeSet<IpAddr> {
    let gateways = next_hops
        .iter()
        .filter(|(index, _)| *index == interface.index)
        .map(|(_, gateway)| *gateway)
        .filter(|_| instance.unicast.contains(&Audience::Gateways));
    let stations = instance
        .unicast
        .iter()
        .filter_map(|audience| match audience {
            Audience::Station(address) => Some(*address),
            Audience::Gateways | Audience::Neighbours => None,
        });
    gateways.chain(stations).collect()
}

/// Those of them whose MAC address is not known.
fn unresolved(
    instance: &Instance,
    interface: &Interface,
    neighbours: &Neighbours,
    next_hops: &BTreeSet<(u32, IpAddr)>,
) -> Vec<IpAddr> {
    named(instance, interface, next_hops)
        .into_iter()
        .filter(|address| {
            let entry = neighbours.get(&(*address, interface.index));
            entry.and_then(|entry| entry.mac).is_none()
        })
        .collect()
}

/// The MAC addresses of an instance's audience: those that are named first, each once.
fn audience(
    instance: &Instance,
    interface: &Interface,
    neighbours: &Neighbours,
    next_hops: &BTreeSet<(u32, IpAddr)>,
) -> Vec<Mac> {
    let mac = |address: &IpAddr| neighbours.get(&(*address, interface.index))?.mac;
    let named: BTreeSet<Mac> = named(instance, interface, next_hops)
        .iter()
        .filter_map(mac)
        .collect();
    let all: BTreeSet<Mac> = neighbours
        .iter()
        .filter(|((_, index), _)| *index == interface.index)
        .filter(|_| instance.unicast.contains(&Audience::Neighbours))
        .filter_map(|(_, entry)| entry.mac)
        .collect();
    let rest = all.difference(&named).copied();
    let is_station = |mac: &Mac| {
        let [first, ..] = *mac;
        first & 1 == 0 && *mac != [0; 6] && *mac != interface.mac
    };
    let mut audience: Vec<Mac> = named.iter().copied().chain(rest).collect();
    audience.retain(is_station);
    audience.truncate(MAX_STATIONS);
    audience
}

/// The next hops of all routes, with the index of the interface they are behind.
async fn next_hops(handle: &Handle) -> Result<BTreeSet<(u32, IpAddr)>, RunError> {
    let v4 = RouteMessageBuilder::<Ipv4Addr>::new().build();
    let v6 = RouteMessageBuilder::<Ipv6Addr>::new().build();
    let mut hops = BTreeSet::new();
    for question in [v4, v6] {
        let mut routes = handle.route().get(question).execute();
        while let Some(route) = routes
            .try_next()
            .await
            .map_err(RunError::netlink("listing the routes"))?
        {
            hops.extend(hops_of(&route));
        }
    }
    Ok(hops)
}

/// The next hops of one route.
fn hops_of(route: &RouteMessage) -> Vec<(u32, IpAddr)> {
    let mut hops = Vec::new();
    let mut interface = None;
    let mut gateway = None;
    for attribute in &route.attributes {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "of dozens of attributes a few matter"
        )]
        match attribute {
            RouteAttribute::Oif(index) => interface = Some(*index),
            RouteAttribute::MultiPath(several) => {
                for hop in several {
                    let via = hop.attributes.iter().find_map(next_hop);
                    hops.extend(via.map(|via| (hop.interface_index, via)));
                }
            }
            other => gateway = gateway.or_else(|| next_hop(other)),
        }
    }
    hops.extend(interface.zip(gateway));
    hops
}

fn next_hop(attribute: &RouteAttribute) -> Option<IpAddr> {
    let unspecified = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "of dozens of attributes two name a next hop"
    )]
    let address = match attribute {
        RouteAttribute::Gateway(address) => ip(address, unspecified),
        RouteAttribute::Via(RouteVia::Inet6(address)) => (*address).into(),
        _ => return None,
    };
    (!address.is_unspecified()).then_some(address)
}
