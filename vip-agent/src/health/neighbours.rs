//! Keeps the backends' MAC addresses known and fresh.
//!
//! Level-triggered: whatever happened, interfaces, routes and the neighbour table are read again.
//! Every second, and at once when the kernel tells of a change to a backend's neighbour entry.
//! Every second, too, the kernel is made to confirm each entry: left to itself it believes one for
//! half a minute and longer, while the backend has another MAC address or is dead.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour::NeighbourState;
use netlink_packet_route::route::{RouteAttribute, RouteMessage};
use rtnetlink::{Handle, MulticastGroup, RouteMessageBuilder, new_multicast_connection};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{debug, warn};

use crate::error::RunError;
use crate::host::interface;
use crate::host::neighbour_table::{Care, destination, ip, neighbours, resolve};

/// Time between two looks at the tables when nothing seems to happen.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How a backend is reached at link level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// The interface it is behind.
    pub ifindex: u32,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// The interface's own MAC address, which frames to it carry as their source.
    pub source: [u8; 6],
}

/// Why a backend cannot be reached at link level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// There is no route.
    #[error("no route to it")]
    NoRoute,
    /// The route leads through a router: rewriting a MAC address cannot reach it.
    #[error("it is behind the router {0}; l2 steering reaches only directly connected networks")]
    Routed(IpAddr),
    /// The neighbour does not answer.
    #[error("its MAC address does not resolve")]
    Unresolved,
}

/// What is told about each address whenever the tables were read.
pub type Sighting = Result<Reach, Unreachable>;

/// Watches these addresses for ever, telling `tell` what was found for each. Whatever fails is tried
/// again a second later.
pub async fn watch(addresses: Vec<IpAddr>, mut tell: impl FnMut(IpAddr, &Sighting)) {
    loop {
        if let Err(error) = watch_once(&addresses, &mut tell).await {
            warn!(%error, "the backends' MAC addresses cannot be followed: trying again");
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Watches until something fails; a netlink stream that ended does not come back by itself.
async fn watch_once(
    addresses: &[IpAddr],
    tell: &mut impl FnMut(IpAddr, &Sighting),
) -> Result<(), RunError> {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (connection, handle, mut changes) = new_multicast_connection(&[MulticastGroup::Neigh])
        .map_err(RunError::io("subscribing to neighbour changes"))?;
    // Ends with this function, however it ends.
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let mut occasion = Occasion::Tick;
    loop {
        look(&handle, addresses, occasion, tell).await?;
        occasion = loop {
            tokio::select! {
                _ = ticks.tick() => break Occasion::Tick,
                change = changes.next() => match change {
                    Some((message, _)) if concerns(&message.payload, addresses) => {
                        break Occasion::Change;
                    }
                    Some(_) => {}
                    None => return Err(RunError::io("following neighbour changes")(
                        io::ErrorKind::UnexpectedEof.into(),
                    )),
                },
            }
        };
    }
}

/// Why the tables are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Occasion {
    /// It is time. Only then entries are confirmed: that is a change to them itself.
    Tick,
    /// Something has changed.
    Change,
}

/// Whether a netlink message may change what is known of one of the addresses. Losses are treated
/// as if they did.
fn concerns(payload: &NetlinkPayload<RouteNetlinkMessage>, addresses: &[IpAddr]) -> bool {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "of hundreds of messages two matter"
    )]
    match payload {
        NetlinkPayload::InnerMessage(
            RouteNetlinkMessage::NewNeighbour(message) | RouteNetlinkMessage::DelNeighbour(message),
        ) => destination(message).is_some_and(|address| addresses.contains(&address)),
        NetlinkPayload::Overrun(_) => true,
        _ => false,
    }
}

/// Reads the tables once.
async fn look(
    handle: &Handle,
    addresses: &[IpAddr],
    occasion: Occasion,
    tell: &mut impl FnMut(IpAddr, &Sighting),
) -> Result<(), RunError> {
    let neighbours = neighbours(handle).await?;
    let interfaces = interface::list(handle).await?;
    for address in addresses {
        let sighting = match route(handle, *address).await {
            Err(reason) => Err(reason),
            Ok(ifindex) => {
                let neighbour = neighbours.get(&(*address, ifindex));
                match neighbour.map_or(Care::Resolve, |neighbour| neighbour.care()) {
                    Care::Resolve => resolve(handle, *address, ifindex).await,
                    Care::Confirm if occasion == Occasion::Tick => {
                        confirm(handle, *address, ifindex).await;
                    }
                    Care::Confirm | Care::Nothing => {}
                }
                let source = interfaces.iter().find(|own| own.index == ifindex);
                neighbour
                    .and_then(|neighbour| neighbour.mac)
                    .zip(source.map(|own| own.mac))
                    .map(|(mac, source)| Reach {
                        ifindex,
                        mac,
                        source,
                    })
                    .ok_or(Unreachable::Unresolved)
            }
        };
        tell(*address, &sighting);
    }
    Ok(())
}

/// The interface a directly connected address is behind.
async fn route(handle: &Handle, address: IpAddr) -> Result<u32, Unreachable> {
    let question: RouteMessage = match address {
        IpAddr::V4(address) => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(address, 32)
            .build(),
        IpAddr::V6(address) => RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(address, 128)
            .build(),
    };
    let answer = handle.route().get(question).execute().try_next().await;
    let Ok(Some(route)) = answer else {
        return Err(Unreachable::NoRoute);
    };
    let mut interface = None;
    for attribute in &route.attributes {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "of dozens of attributes two matter"
        )]
        match attribute {
            RouteAttribute::Oif(index) => interface = Some(*index),
            RouteAttribute::Gateway(gateway) => {
                return Err(Unreachable::Routed(ip(gateway, address)));
            }
            _ => {}
        }
    }
    interface.ok_or(Unreachable::NoRoute)
}

/// Makes the kernel ask the neighbour whether its MAC address is still the same; the entry stays
/// in use until three questions were left unanswered.
async fn confirm(handle: &Handle, address: IpAddr, ifindex: u32) {
    let request = handle
        .neighbours()
        .add(ifindex, address)
        .state(NeighbourState::Probe)
        .replace();
    if let Err(error) = request.execute().await {
        debug!(%address, %error, "asking the kernel to confirm a backend");
    }
}
