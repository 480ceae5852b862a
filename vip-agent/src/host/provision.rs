//! Puts VIPs the host does not own yet on its `lo`.
//!
//! That is done once, at the start, on every node. Nothing is added or removed at failover.

use std::collections::HashSet;
use std::net::IpAddr;

use futures_util::TryStreamExt;
use netlink_packet_route::address::{
    AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope, CacheInfo,
};
use rtnetlink::Handle;

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
    let present: HashSet<IpAddr> = loopback_addresses(handle)
        .await?
        .iter()
        .filter_map(host_address)
        .collect();
    let mut added = 0;
    for vip in vips.iter().filter(|vip| !present.contains(vip)) {
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
    if vips.is_empty() {
        return Ok(());
    }
    let vips: HashSet<&IpAddr> = vips.iter().collect();
    for message in loopback_addresses(handle).await? {
        let Some(vip) = host_address(&message).filter(|address| vips.contains(address)) else {
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

/// The address a message about `lo` is about, if it is one of its own length like the VIPs.
fn host_address(message: &AddressMessage) -> Option<IpAddr> {
    let is_on_lo = message.header.index == LOOPBACK;
    address_of(message)
        .filter(|address| is_on_lo && message.header.prefix_len == host_prefix(*address))
}

/// The address a message is about. On a point-to-point link that is the local one.
#[must_use]
pub fn address_of(message: &AddressMessage) -> Option<IpAddr> {
    let mut plain = None;
    for attribute in &message.attributes {
        #[expect(clippy::wildcard_enum_match_arm, reason = "only the address matters")]
        match attribute {
            AddressAttribute::Local(address) => return Some(*address),
            AddressAttribute::Address(address) => plain = Some(*address),
            _ => {}
        }
    }
    plain
}

const fn host_prefix(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(index: u32, prefix_len: u8, attributes: Vec<AddressAttribute>) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.header.index = index;
        message.header.prefix_len = prefix_len;
        message.attributes = attributes;
        message
    }

    #[test]
    fn only_host_addresses_of_lo_are_taken_for_vips() {
        let vip: IpAddr = "10.0.0.100".parse().unwrap();
        let address = || vec![AddressAttribute::Address(vip)];
        assert_eq!(host_address(&message(LOOPBACK, 32, address())), Some(vip));
        assert_eq!(host_address(&message(LOOPBACK, 8, address())), None);
        assert_eq!(host_address(&message(2, 32, address())), None);
    }

    #[test]
    fn of_a_point_to_point_link_the_local_end_counts() {
        let [other, own]: [IpAddr; 2] = ["10.0.0.1", "10.0.0.2"].map(|text| text.parse().unwrap());
        let both = vec![
            AddressAttribute::Address(other),
            AddressAttribute::Local(own),
        ];
        assert_eq!(address_of(&message(2, 32, both)), Some(own));
    }
}
