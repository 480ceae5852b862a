//! The host's neighbour table: which MAC address stations have, as the kernel knows it.

use std::collections::HashMap;
use std::net::IpAddr;

use futures_util::TryStreamExt as _;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::RouteAddress;
use rtnetlink::Handle;
use tracing::debug;

use crate::error::RunError;

/// An entry of the neighbour table.
#[derive(Debug, Clone, Copy)]
pub struct Neighbour {
    state: NeighbourState,
    /// Its MAC address, if the kernel has one that it would use.
    pub mac: Option<[u8; 6]>,
}

/// What an entry needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Care {
    /// The kernel is asking, or was told never to ask.
    Nothing,
    /// It has an address that may be out of date.
    Confirm,
    /// It has none.
    Resolve,
}

impl Neighbour {
    /// What the entry needs.
    #[must_use]
    pub fn care(self) -> Care {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "all others have no address in use"
        )]
        match self.state {
            NeighbourState::Permanent | NeighbourState::Noarp | NeighbourState::Probe => {
                Care::Nothing
            }
            NeighbourState::Reachable | NeighbourState::Stale | NeighbourState::Delay => {
                Care::Confirm
            }
            _ => Care::Resolve,
        }
    }
}

/// The whole table, by address and index of the interface.
///
/// # Errors
/// [`RunError::Netlink`].
pub async fn neighbours(handle: &Handle) -> Result<HashMap<(IpAddr, u32), Neighbour>, RunError> {
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

/// The address an entry is about.
#[must_use]
pub fn destination(message: &NeighbourMessage) -> Option<IpAddr> {
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

/// An address out of a route.
#[must_use]
pub fn ip(gateway: &RouteAddress, fallback: IpAddr) -> IpAddr {
    #[expect(clippy::wildcard_enum_match_arm, reason = "other families route no IP")]
    match gateway {
        RouteAddress::Inet(address) => (*address).into(),
        RouteAddress::Inet6(address) => (*address).into(),
        _ => fallback,
    }
}

/// Makes the kernel find out the neighbour's MAC address.
pub async fn resolve(handle: &Handle, address: IpAddr, ifindex: u32) {
    let request = handle
        .neighbours()
        .add(ifindex, address)
        .state(NeighbourState::None)
        .flags(NeighbourFlags::Use)
        .replace();
    if let Err(error) = request.execute().await {
        debug!(%address, %error, "asking the kernel to resolve a neighbour");
    }
}
