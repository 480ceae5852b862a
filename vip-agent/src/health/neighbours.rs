//! Keeps the backends' MAC addresses known and fresh.
//!
//! Level-triggered: whatever happened, the routes and the neighbour table are read again, and
//! entries that are not known to be good are probed. Every second, and at once when the kernel
//! tells of a change to a backend's neighbour entry.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{RouteAttribute, RouteMessage};
use rtnetlink::{Handle, MulticastGroup, RouteMessageBuilder, new_multicast_connection};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, warn};

use crate::error::RunError;

/// Time between two looks at the tables when nothing seems to happen.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How a backend is reached at link level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// The interface it is behind.
    pub ifindex: u32,
    /// Its MAC address.
    pub mac: [u8; 6],
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

/// Watches these addresses for ever, telling `tell` what was found for each.
///
/// # Errors
/// [`RunError::Netlink`] if netlink fails for good.
pub async fn watch(
    addresses: Vec<IpAddr>,
    mut tell: impl FnMut(IpAddr, &Sighting),
) -> Result<(), RunError> {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // A netlink stream that ended does not come back by itself: start over.
        let (connection, handle, mut changes) = new_multicast_connection(&[MulticastGroup::Neigh])
            .map_err(RunError::io("subscribing to neighbour changes"))?;
        let connection = tokio::spawn(connection);
        loop {
            look(&handle, &addresses, &mut tell).await?;
            let stream_goes_on = loop {
                tokio::select! {
                    _ = ticks.tick() => break true,
                    change = changes.next() => match change {
                        Some((message, _)) if concerns(&message.payload, &addresses) => break true,
                        Some(_) => {}
                        None => break false,
                    },
                }
            };
            if !stream_goes_on {
                break;
            }
        }
        connection.abort();
        warn!("the stream of neighbour changes ended; subscribing again");
        ticks.tick().await;
    }
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
    tell: &mut impl FnMut(IpAddr, &Sighting),
) -> Result<(), RunError> {
    let neighbours = neighbours(handle).await?;
    for address in addresses {
        let sighting = match route(handle, *address).await {
            Err(reason) => Err(reason),
            Ok(ifindex) => {
                let neighbour = neighbours.get(&(*address, ifindex));
                if neighbour.is_none_or(|neighbour| !neighbour.is_fresh()) {
                    probe(handle, *address, ifindex).await;
                }
                neighbour
                    .and_then(|neighbour| neighbour.mac)
                    .map(|mac| Reach { ifindex, mac })
                    .ok_or(Unreachable::Unresolved)
            }
        };
        tell(*address, &sighting);
    }
    Ok(())
}

/// An entry of the neighbour table.
#[derive(Debug, Clone, Copy)]
struct Neighbour {
    state: NeighbourState,
    mac: Option<[u8; 6]>,
}

impl Neighbour {
    fn is_fresh(self) -> bool {
        matches!(
            self.state,
            NeighbourState::Reachable
                | NeighbourState::Permanent
                | NeighbourState::Noarp
                | NeighbourState::Delay
                | NeighbourState::Probe
        )
    }
}

async fn neighbours(handle: &Handle) -> Result<HashMap<(IpAddr, u32), Neighbour>, RunError> {
    handle
        .neighbours()
        .get()
        .execute()
        .try_filter_map(async |message| {
            Ok(destination(&message)
                .map(|address| ((address, message.header.ifindex), neighbour(&message))))
        })
        .try_collect()
        .await
        .map_err(RunError::netlink("reading the neighbour table"))
}

fn neighbour(message: &NeighbourMessage) -> Neighbour {
    let state = message.header.state;
    let lost = matches!(
        state,
        NeighbourState::Failed | NeighbourState::Incomplete | NeighbourState::None
    );
    let mac = message.attributes.iter().find_map(|attribute| {
        let NeighbourAttribute::LinkLayerAddress(mac) = attribute else {
            return None;
        };
        <[u8; 6]>::try_from(mac.as_slice()).ok()
    });
    Neighbour {
        state,
        mac: mac.filter(|_| !lost),
    }
}

fn destination(message: &NeighbourMessage) -> Option<IpAddr> {
    message.attributes.iter().find_map(|attribute| {
        let NeighbourAttribute::Destination(address) = attribute else {
            return None;
        };
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "other families are no IP neighbours"
        )]
        match address {
            NeighbourAddress::Inet(address) => Some((*address).into()),
            NeighbourAddress::Inet6(address) => Some((*address).into()),
            _ => None,
        }
    })
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

fn ip(gateway: &netlink_packet_route::route::RouteAddress, fallback: IpAddr) -> IpAddr {
    use netlink_packet_route::route::RouteAddress;
    #[expect(clippy::wildcard_enum_match_arm, reason = "other families route no IP")]
    match gateway {
        RouteAddress::Inet(address) => (*address).into(),
        RouteAddress::Inet6(address) => (*address).into(),
        _ => fallback,
    }
}

/// Makes the kernel find out, or confirm, the neighbour's MAC address.
async fn probe(handle: &Handle, address: IpAddr, ifindex: u32) {
    let request = handle
        .neighbours()
        .add(ifindex, address)
        .state(NeighbourState::None)
        .flags(NeighbourFlags::Use)
        .replace();
    if let Err(error) = request.execute().await {
        debug!(%address, %error, "asking the kernel to resolve a backend");
    }
}
