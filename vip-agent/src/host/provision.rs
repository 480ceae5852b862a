//! Prepares the host to carry VIPs it does not own yet: addresses on `lo`, and the kernel's manners.
//!
//! All of this is done once, at the start, on every node. Nothing is added or removed at failover.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use futures_util::TryStreamExt;
use netlink_packet_route::address::{
    AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope, CacheInfo,
};
use rtnetlink::Handle;
use tracing::{info, warn};

use crate::error::RunError;

/// Index of `lo` in every network namespace.
pub const LOOPBACK: u32 = 1;

/// Puts the VIPs on `lo` as host addresses. The data plane must be attached before: until then the
/// kernel would answer for them.
///
/// An address that is there already is kept: an earlier agent left it. Answers how many were missing.
///
/// # Errors
/// [`RunError::Netlink`], naming the address.
pub async fn add_vips(handle: &Handle, vips: &[IpAddr]) -> Result<usize, RunError> {
    let present = loopback_addresses(handle).await?;
    let mut added = 0;
    for vip in vips {
        if present.iter().any(|message| is_vip(message, *vip)) {
            continue;
        }
        let mut request = handle.address().add(LOOPBACK, *vip, host_prefix(*vip));
        let message = request.message_mut();
        match vip {
            // Host scope keeps the kernel from choosing the VIP as the source of new connections.
            IpAddr::V4(_) => message.header.scope = AddressScope::Host,
            IpAddr::V6(_) => {
                // Without duplicate address detection it is usable at once; deprecated (preferred
                // lifetime 0) it is not chosen as the source of new connections.
                message.header.flags |= AddressHeaderFlags::Nodad;
                let mut lifetimes = CacheInfo::default();
                lifetimes.ifa_preferred = 0;
                lifetimes.ifa_valid = u32::MAX;
                message
                    .attributes
                    .push(AddressAttribute::CacheInfo(lifetimes));
            }
        }
        request
            .execute()
            .await
            .map_err(RunError::netlink(format!("adding {vip} to lo")))?;
        added += 1;
    }
    Ok(added)
}

/// Takes the VIPs off `lo` again. Must happen before the data plane is detached, or the kernel
/// would answer for them.
///
/// # Errors
/// [`RunError::Netlink`], naming the address.
pub async fn remove_vips(handle: &Handle, vips: &[IpAddr]) -> Result<(), RunError> {
    for message in loopback_addresses(handle).await? {
        let Some(vip) = vips.iter().find(|vip| is_vip(&message, **vip)) else {
            continue;
        };
        handle
            .address()
            .del(message)
            .execute()
            .await
            .map_err(RunError::netlink(format!("removing {vip} from lo")))?;
    }
    Ok(())
}

async fn loopback_addresses(handle: &Handle) -> Result<Vec<AddressMessage>, RunError> {
    handle
        .address()
        .get()
        .set_link_index_filter(LOOPBACK)
        .execute()
        .try_collect()
        .await
        .map_err(RunError::netlink("listing the addresses of lo"))
}

fn is_vip(message: &AddressMessage, vip: IpAddr) -> bool {
    message.header.index == LOOPBACK
        && message.header.prefix_len == host_prefix(vip)
        && message.attributes.contains(&AddressAttribute::Address(vip))
}

const fn host_prefix(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// Kernel settings of one interface, as they were before; put back when dropped.
#[derive(Debug)]
pub struct Manners {
    before: Vec<(PathBuf, String)>,
}

impl Manners {
    /// Leaves the settings as they are now.
    pub fn keep(mut self) {
        self.before.clear();
    }
}

/// What the kernel must not do on an interface with VIPs, and why.
const MANNERS: [(&str, &str, &str); 2] = [
    // A node that has just lost a VIP still has connections from it; an ARP request for their
    // clients with the VIP as sender would overwrite the new Active node in every neighbour's cache.
    (
        "arp_announce",
        "2",
        "no ARP request carries a VIP as its sender",
    ),
    // XDP answers for the VIPs; where it is not attached nobody should.
    (
        "arp_ignore",
        "1",
        "the kernel answers ARP only for addresses of the asking interface",
    ),
];

/// Teaches the kernel the manners of a VIP host on `interface`.
#[must_use]
pub fn teach_manners(interface: &str) -> Manners {
    let mut manners = Manners { before: Vec::new() };
    for (key, wanted, reason) in MANNERS {
        let path = PathBuf::from(format!("/proc/sys/net/ipv4/conf/{interface}/{key}"));
        match set(&path, wanted) {
            Ok(before) if before == wanted => {}
            Ok(before) => {
                info!(
                    interface,
                    key,
                    from = before,
                    to = wanted,
                    reason,
                    "kernel setting changed"
                );
                manners.before.push((path, before));
            }
            Err(error) => warn!(
                interface, key, wanted, %error,
                "kernel setting could not be changed; set it by hand so that {reason}"
            ),
        }
    }
    manners
}

/// Writes a setting and answers what it was.
fn set(path: &PathBuf, wanted: &str) -> io::Result<String> {
    let before = fs::read_to_string(path)?.trim().to_owned();
    if before != wanted {
        fs::write(path, wanted)?;
    }
    Ok(before)
}

impl Drop for Manners {
    fn drop(&mut self) {
        for (path, before) in &self.before {
            match fs::write(path, before) {
                // The interface, and its settings with it, may be gone by now.
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    warn!(path = %path.display(), %error, "kernel setting not put back");
                }
                Ok(()) | Err(_) => {}
            }
        }
    }
}
