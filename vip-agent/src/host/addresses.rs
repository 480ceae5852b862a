//! Keeps the VIPs where they belong while the agent runs: on `lo`, and nowhere else.
//!
//! Somebody may delete one from `lo` (or take `lo` down, which deletes the IPv6 ones), or add one to
//! another interface. The first is put right, the second reported: the address is not ours to delete.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::{FutureExt as _, Stream, StreamExt as _};
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::SocketAddr;
use rtnetlink::{Handle, MulticastGroup, new_multicast_connection};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use super::interface;
use super::provision;
use crate::error::RunError;

/// Changes often come several at once: they are looked at together.
const SETTLE: Duration = Duration::from_millis(100);

/// Pause after something failed: the look, or the netlink stream.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What is to be where.
#[derive(Debug, Clone)]
pub struct Watched {
    /// The VIPs that belong on `lo`; empty if the agent does not provision them.
    pub provisioned: Vec<IpAddr>,
    /// All VIPs: none of them belongs on another interface.
    pub vips: BTreeSet<IpAddr>,
}

/// Watches for ever.
///
/// # Errors
/// [`RunError::Io`] if netlink cannot be subscribed to.
pub async fn watch(watched: Watched) -> Result<(), RunError> {
    let mut elsewhere = BTreeSet::new();
    loop {
        let groups = [MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
        let (connection, handle, mut changes) = new_multicast_connection(&groups)
            .map_err(RunError::io("subscribing to address changes"))?;
        let mut connections = JoinSet::new();
        connections.spawn(connection);
        let mut trouble = None;
        loop {
            let outcome = look(&handle, &watched, &mut elsewhere).await;
            let now = outcome.err().map(|error| error.to_string());
            if let Some(error) = now.as_ref().filter(|_| now != trouble) {
                warn!(error, "the VIPs cannot be looked after; trying again");
            }
            trouble = now;
            let patience = if trouble.is_some() {
                LOOK_AGAIN
            } else {
                Duration::MAX
            };
            match timeout(patience, change(&mut changes, &watched.vips)).await {
                Ok(false) => break,
                Ok(true) => {
                    sleep(SETTLE).await;
                    while let Some(Some(_)) = changes.next().now_or_never() {}
                }
                Err(_) => {}
            }
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// Waits for a message that concerns a VIP; answers whether there was one before the stream ended.
async fn change<S>(changes: &mut S, vips: &BTreeSet<IpAddr>) -> bool
where
    S: Stream<Item = (NetlinkMessage<RouteNetlinkMessage>, SocketAddr)> + Unpin,
{
    while let Some((message, _)) = changes.next().await {
        if concerns(&message, vips) {
            return true;
        }
    }
    false
}

/// Whether a message is about a VIP. Hosts with many containers see addresses come and go all the
/// time. Whatever is no address message (the kernel had to drop some) may be about one.
fn concerns(message: &NetlinkMessage<RouteNetlinkMessage>, vips: &BTreeSet<IpAddr>) -> bool {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "only addresses can be told apart"
    )]
    match &message.payload {
        NetlinkPayload::InnerMessage(
            RouteNetlinkMessage::NewAddress(address) | RouteNetlinkMessage::DelAddress(address),
        ) => provision::address_of(address).is_none_or(|address| vips.contains(&address)),
        _ => true,
    }
}

/// Puts right what can be, and reports what is new of the rest.
async fn look(
    handle: &Handle,
    watched: &Watched,
    elsewhere: &mut BTreeSet<(String, IpAddr)>,
) -> Result<(), RunError> {
    let restored = provision::add_vips(handle, &watched.provisioned).await?;
    if restored > 0 {
        info!(restored, "VIPs were missing on lo and were put back");
    }
    let present: BTreeSet<(String, IpAddr)> = interface::list(handle)
        .await?
        .into_iter()
        .filter(|interface| interface.index != provision::LOOPBACK)
        .flat_map(|interface| {
            let name = interface.name;
            interface
                .addresses
                .into_iter()
                .map(move |address| (name.clone(), address))
        })
        .filter(|(_, address)| watched.vips.contains(address))
        .collect();
    for (interface, vip) in present.difference(elsewhere) {
        error!(
            interface,
            %vip,
            "a VIP was added to an interface: remove it (ip address del {vip} dev {interface}); \
             the kernel may use it as a source although another node is active"
        );
    }
    *elsewhere = present;
    Ok(())
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::NetlinkHeader;
    use netlink_packet_route::address::{AddressAttribute, AddressMessage};

    use super::*;

    #[test]
    fn only_messages_about_vips_make_it_look() {
        let [vip, other]: [IpAddr; 2] =
            ["10.0.0.100", "10.0.0.1"].map(|text| text.parse().unwrap());
        let vips = BTreeSet::from([vip]);
        let deleted = |address| {
            let mut message = AddressMessage::default();
            message.attributes.push(AddressAttribute::Address(address));
            NetlinkMessage::new(
                NetlinkHeader::default(),
                NetlinkPayload::from(RouteNetlinkMessage::DelAddress(message)),
            )
        };
        assert!(concerns(&deleted(vip), &vips));
        assert!(!concerns(&deleted(other), &vips));
        let overrun = NetlinkMessage::new(
            NetlinkHeader::default(),
            NetlinkPayload::Overrun(Vec::new()),
        );
        assert!(concerns(&overrun, &vips));
    }
}
