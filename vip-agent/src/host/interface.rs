//! The host's interfaces, as netlink tells of them.

use std::net::IpAddr;

use futures_util::TryStreamExt;
use netlink_packet_route::link::{
    LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp, XdpAttached,
};
use rtnetlink::Handle;

use super::provision::address_of;
use crate::error::RunError;

/// An XDP program that is attached to an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttachedXdp {
    /// Kernel's number of the program.
    pub id: u32,
    /// Whether it runs in the driver (else in the generic hook).
    pub native: bool,
}

/// One interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// Its MAC address; all zero for interfaces without one.
    pub mac: [u8; 6],
    /// Whether it is up and has carrier.
    pub up: bool,
    /// Its own addresses.
    pub addresses: Vec<IpAddr>,
    /// What is in its XDP slot.
    pub xdp: Option<AttachedXdp>,
    /// What kind of virtual interface it is (`veth`, `bridge` …); `None` for physical ones.
    pub kind: Option<String>,
    /// Index of the bridge, bond or team it is part of.
    pub controller: Option<u32>,
    /// Index of the interface it is on top of (VLANs), or its other end (`veth`).
    pub lower: Option<u32>,
}

impl Interface {
    /// What a link message says; addresses are not part of it. `None`: the message names no interface.
    #[must_use]
    pub fn from_link(link: &LinkMessage) -> Option<Self> {
        let mut interface = Self {
            name: String::new(),
            index: link.header.index,
            mac: [0; 6],
            up: is_up(link),
            addresses: Vec::new(),
            xdp: None,
            kind: None,
            controller: None,
            lower: None,
        };
        for attribute in &link.attributes {
            #[expect(
                clippy::wildcard_enum_match_arm,
                reason = "one of a hundred attributes"
            )]
            match attribute {
                LinkAttribute::IfName(name) => interface.name.clone_from(name),
                LinkAttribute::Address(address) => {
                    interface.mac = address.as_slice().try_into().unwrap_or_default();
                }
                LinkAttribute::Xdp(xdp) => interface.xdp = attached(xdp),
                LinkAttribute::LinkInfo(infos) => interface.kind = kind(infos),
                LinkAttribute::Controller(index) => interface.controller = Some(*index),
                LinkAttribute::Link(index) => interface.lower = Some(*index),
                _ => {}
            }
        }
        (!interface.name.is_empty()).then_some(interface)
    }
}

/// Up, and with carrier.
#[must_use]
pub fn is_up(link: &LinkMessage) -> bool {
    link.header
        .flags
        .contains(LinkFlags::Up | LinkFlags::LowerUp)
}

fn attached(attributes: &[LinkXdp]) -> Option<AttachedXdp> {
    let mut id = None;
    let mut native = false;
    for attribute in attributes {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "only two of the attributes matter"
        )]
        match attribute {
            LinkXdp::ProgId(number) => id = Some(*number),
            LinkXdp::Attached(mode) => native = *mode != XdpAttached::SocketBuffer,
            _ => {}
        }
    }
    id.map(|id| AttachedXdp { id, native })
}

fn kind(infos: &[LinkInfo]) -> Option<String> {
    infos.iter().find_map(|info| {
        #[expect(clippy::wildcard_enum_match_arm, reason = "only the kind matters")]
        match info {
            LinkInfo::Kind(kind) => Some(kind.to_string()),
            _ => None,
        }
    })
}

/// All interfaces of this network namespace, with their addresses.
///
/// # Errors
/// [`RunError::Netlink`].
pub async fn list(handle: &Handle) -> Result<Vec<Interface>, RunError> {
    let mut interfaces: Vec<Interface> = handle
        .link()
        .get()
        .execute()
        .try_filter_map(async |link| Ok(Interface::from_link(&link)))
        .try_collect()
        .await
        .map_err(RunError::netlink("listing the interfaces"))?;
    let mut addresses = handle.address().get().execute();
    while let Some(address) = addresses
        .try_next()
        .await
        .map_err(RunError::netlink("listing the addresses"))?
    {
        let Some(address_here) = address_of(&address) else {
            continue;
        };
        if let Some(interface) = interfaces
            .iter_mut()
            .find(|interface| interface.index == address.header.index)
        {
            interface.addresses.push(address_here);
        }
    }
    Ok(interfaces)
}

/// The interface with this name.
///
/// # Errors
/// [`RunError::NoInterface`], naming what there is instead.
pub fn find<'i>(
    interfaces: &'i [Interface],
    name: &str,
    wanted_by: &str,
) -> Result<&'i Interface, RunError> {
    interfaces
        .iter()
        .find(|interface| interface.name == name)
        .ok_or_else(|| {
            let present: Vec<&str> = interfaces
                .iter()
                .map(|interface| interface.name.as_str())
                .collect();
            RunError::NoInterface {
                name: name.to_owned(),
                wanted_by: wanted_by.to_owned(),
                present: present.join(", "),
            }
        })
}

/// The other ways into this host: interfaces that are up, could bring packets from other stations,
/// and are not behind one of the `guarded`.
#[must_use]
pub fn unguarded<'i>(interfaces: &'i [Interface], guarded: &[u32]) -> Vec<&'i Interface> {
    let is_guarded = |index: Option<u32>| index.is_some_and(|index| guarded.contains(&index));
    interfaces
        .iter()
        .filter(|interface| {
            let on_top = interface.kind.as_deref() == Some("vlan") && is_guarded(interface.lower);
            let part = is_guarded(interface.controller);
            let guarded = guarded.contains(&interface.index) || on_top || part;
            interface.up && interface.mac != [0; 6] && !guarded
        })
        .collect()
}

/// Name of the interface's driver: the kind of a virtual one, else what sysfs tells.
#[must_use]
pub fn driver(interface: &Interface) -> String {
    let physical = || {
        let path = format!("/sys/class/net/{}/device/driver", interface.name);
        let driver = std::fs::read_link(path).ok()?;
        Some(driver.file_name()?.to_string_lossy().into_owned())
    };
    interface
        .kind
        .clone()
        .or_else(physical)
        .unwrap_or_else(|| "unknown driver".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(index: u32) -> Interface {
        Interface {
            name: format!("eth{index}"),
            index,
            mac: [2; 6],
            up: true,
            addresses: Vec::new(),
            xdp: None,
            kind: None,
            controller: None,
            lower: None,
        }
    }

    #[test]
    fn ways_in_that_pass_no_guard_are_found() {
        let kind = |kind: &str| Some(kind.to_owned());
        let present = [
            Interface {
                mac: [0; 6],
                ..interface(1)
            },
            interface(2),
            interface(3),
            Interface {
                up: false,
                ..interface(4)
            },
            // A VLAN on the guarded one, a port of it, and a veth whose other end has its number.
            Interface {
                lower: Some(2),
                kind: kind("vlan"),
                ..interface(5)
            },
            Interface {
                controller: Some(2),
                ..interface(6)
            },
            Interface {
                lower: Some(2),
                kind: kind("veth"),
                ..interface(7)
            },
        ];
        let found: Vec<u32> = unguarded(&present, &[2]).iter().map(|i| i.index).collect();
        assert_eq!(found, [3, 7]);
    }
}
