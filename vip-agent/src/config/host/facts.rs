//! Reads the interfaces of this host.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::SockaddrStorage;

use super::InterfaceFacts;

/// The interfaces of this host (of the network namespace this runs in).
///
/// # Errors
/// If the kernel does not tell.
pub fn interface_facts() -> io::Result<Vec<InterfaceFacts>> {
    let mut interfaces: BTreeMap<String, InterfaceFacts> = BTreeMap::new();
    for entry in getifaddrs()? {
        let up = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING;
        let facts = interfaces
            .entry(entry.interface_name.clone())
            .or_insert_with(|| InterfaceFacts {
                mtu: mtu(&entry.interface_name),
                name: entry.interface_name.clone(),
                addresses: Vec::new(),
                carrier: entry.flags.contains(up),
            });
        let address = entry.address.as_ref().and_then(ip);
        let prefix = entry
            .netmask
            .as_ref()
            .and_then(ip)
            .map_or(128, prefix_length);
        facts
            .addresses
            .extend(address.map(|address| (address, prefix)));
    }
    Ok(interfaces.into_values().collect())
}

/// MTU as sysfs tells it; sysfs may show another network namespace, then there is none to read.
fn mtu(name: &str) -> Option<u32> {
    std::fs::read_to_string(format!("/sys/class/net/{name}/mtu"))
        .ok()?
        .trim()
        .parse()
        .ok()
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address
        .as_sockaddr_in()
        .map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| {
        address
            .as_sockaddr_in6()
            .map(|address| IpAddr::V6(address.ip()))
    })
}

fn prefix_length(mask: IpAddr) -> u8 {
    let ones = match mask {
        IpAddr::V4(mask) => mask.to_bits().leading_ones(),
        IpAddr::V6(mask) => mask.to_bits().leading_ones(),
    };
    u8::try_from(ones).unwrap_or(128)
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_host_has_a_loopback_interface() {
        let facts = super::interface_facts().unwrap();
        let lo = facts.iter().find(|facts| facts.name == "lo").unwrap();
        assert!(lo.mtu.is_some());
        assert!(
            lo.addresses.is_empty() || lo.addresses.contains(&("127.0.0.1".parse().unwrap(), 8))
        );
    }
}
