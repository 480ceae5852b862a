//! Holds a configuration against the interfaces of a host.

mod facts;

use std::net::{IpAddr, Ipv4Addr};

use super::diagnostic::Finding;
use super::{Config, Instance, Transport};

pub use facts::interface_facts;

/// Code of the finding that a configured interface does not exist.
pub const NO_SUCH_INTERFACE: &str = "host::no_such_interface";

/// Code of the finding that this host does not have the address of `cluster.address`.
pub const NO_SUCH_ADDRESS: &str = "host::no_such_address";

/// An interface of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceFacts {
    /// Its name.
    pub name: String,
    /// Its addresses with their prefix lengths.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Its MTU in bytes, if known.
    pub mtu: Option<u32>,
    /// Whether it is up and has carrier.
    pub carrier: bool,
}

/// What does not fit between a configuration and a host, errors and warnings.
#[must_use]
pub fn host_findings(config: &Config, facts: &[InterfaceFacts]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    let find = |name: &str| facts.iter().find(|interface| interface.name == name);
    let transport = match &config.cluster.transport {
        Transport::Multicast { interface, .. } => Some(interface.as_str()),
        Transport::Unicast { .. } => None,
    };
    for name in config
        .instances
        .iter()
        .map(|i| i.interface.as_str())
        .chain(transport)
    {
        if seen.contains(&name) {
            continue;
        }
        seen.push(name);
        match find(name) {
            None => findings.push(no_such_interface(name, facts)),
            Some(interface) => findings.extend(interface_findings(interface)),
        }
    }
    for instance in &config.instances {
        findings.extend(instance_findings(instance, facts));
    }
    if let Some(address) = config.cluster.address
        && !facts
            .iter()
            .any(|i| i.addresses.iter().any(|(own, _)| *own == address))
    {
        findings.push(
            Finding::error(
                NO_SUCH_ADDRESS,
                format!("this host does not have the address {address} (`cluster.address`)"),
            )
            .help("give an address of this host, or leave `address` out"),
        );
    }
    findings
}

fn no_such_interface(name: &str, facts: &[InterfaceFacts]) -> Finding {
    let names: Vec<&str> = facts
        .iter()
        .map(|interface| interface.name.as_str())
        .collect();
    Finding::error(
        NO_SUCH_INTERFACE,
        format!("there is no interface {name:?} on this host"),
    )
    .help(format!("it has: {}", names.join(", ")))
}

fn interface_findings(interface: &InterfaceFacts) -> Option<Finding> {
    (!interface.carrier).then(|| {
        Finding::warning(
            "host::link_down",
            format!("interface {} is down or has no carrier", interface.name),
        )
        .help("this node stays Backup until the link is up")
    })
}

fn instance_findings(instance: &Instance, facts: &[InterfaceFacts]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = off_link_findings(instance, facts).into_iter().collect();
    for vip in &instance.vips {
        for interface in facts {
            for (own, prefix) in &interface.addresses {
                let here = interface.name == instance.interface;
                if own == vip && interface.name != "lo" {
                    findings.push(own_address(vip, instance, interface));
                } else if here && is_directed_broadcast(*vip, *own, *prefix) {
                    findings.push(
                        Finding::error(
                            "host::broadcast_vip",
                            format!(
                                "VIP {vip} of instance {:?} is the broadcast address of \
                                 {own}/{prefix} on {}",
                                instance.name, interface.name
                            ),
                        )
                        .help("choose an address within the network"),
                    );
                }
            }
        }
    }
    findings
}

fn own_address(vip: &IpAddr, instance: &Instance, interface: &InterfaceFacts) -> Finding {
    let message = format!(
        "VIP {vip} of instance {:?} is {}'s own address",
        instance.name, interface.name
    );
    Finding::error("host::vip_is_own_address", message).help(format!(
        "a VIP belongs to no node: choose a free address, or remove it from the interface (`ip \
         address del {vip} dev {}`) if it was left behind by other software",
        interface.name
    ))
}

/// How many VIPs a warning names.
const NAMED: usize = 3;

/// One warning for all VIPs neighbours will not ask for.
fn off_link_findings(instance: &Instance, facts: &[InterfaceFacts]) -> Option<Finding> {
    let interface = facts
        .iter()
        .find(|interface| interface.name == instance.interface)?;
    let off_link: Vec<String> = instance
        .vips
        .iter()
        .filter(|vip| is_off_link(**vip, interface))
        .map(ToString::to_string)
        .collect();
    let named = off_link.get(..NAMED).unwrap_or(&off_link).join(", ");
    let (vips, are) = match off_link.len() {
        0 => return None,
        1 => (format!("VIP {named}"), "is"),
        2..=NAMED => (format!("VIPs {named}"), "are"),
        more => (format!("VIPs {named} and {} more", more - NAMED), "are"),
    };
    Some(
        Finding::warning(
            "host::vip_off_link",
            format!(
                "{vips} of instance {:?} {are} in no network of {}",
                instance.name, interface.name
            ),
        )
        .help("neighbours ask only for addresses of their own network: others need a route to it"),
    )
}

/// Whether the VIP is in none of the networks on its interface although there are some of its family.
fn is_off_link(vip: IpAddr, interface: &InterfaceFacts) -> bool {
    let is_network = |(own, _): &&(IpAddr, u8)| {
        own.is_ipv4() == vip.is_ipv4()
            && !matches!(own, IpAddr::V6(own) if own.is_unicast_link_local())
    };
    let mut networks = interface.addresses.iter().filter(is_network).peekable();
    networks.peek().is_some() && !networks.any(|(own, prefix)| same_network(vip, *own, *prefix))
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn same_network(one: IpAddr, other: IpAddr, prefix: u8) -> bool {
    let difference = bits(one) ^ bits(other);
    one.is_ipv4() == other.is_ipv4() && difference.leading_zeros() >= u32::from(prefix)
}

fn is_directed_broadcast(vip: IpAddr, own: IpAddr, prefix: u8) -> bool {
    let (IpAddr::V4(vip), IpAddr::V4(own)) = (vip, own) else {
        return false;
    };
    // Networks of one or two addresses have no broadcast address (RFC 3021).
    let host = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
    prefix < 31 && vip == Ipv4Addr::from_bits(own.to_bits() | host)
}
