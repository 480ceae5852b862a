//! Keeps the VIPs where they belong while the agent runs: on `lo`, and nowhere else.
//!
//! Somebody may delete one from `lo` (or take `lo` down, which deletes the IPv6 ones), or add one to
//! another interface. The first is put right, the second reported: the address is not ours to delete.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use rtnetlink::{Handle, MulticastGroup, new_multicast_connection};
use tokio::time::sleep;
use tracing::{error, info, warn};

use super::interface;
use super::provision;
use crate::error::RunError;

/// Changes often come several at once: they are looked at together.
const SETTLE: Duration = Duration::from_millis(100);

/// Pause before a netlink stream that has ended is opened again.
const REOPEN: Duration = Duration::from_secs(1);

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
        let connection = tokio::spawn(connection);
        loop {
            if let Err(error) = look(&handle, &watched, &mut elsewhere).await {
                warn!(%error, "looking after the VIPs");
            }
            if changes.next().await.is_none() {
                break;
            }
            sleep(SETTLE).await;
            while let Some(Some(_)) = futures_util::FutureExt::now_or_never(changes.next()) {}
        }
        connection.abort();
        sleep(REOPEN).await;
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
