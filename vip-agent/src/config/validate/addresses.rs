//! Which addresses can be VIPs, and which can be nodes.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;

use crate::config::diagnostic::{Finding, Findings};
use crate::config::raw;

/// Why an address cannot belong to a host that one sends packets to, and what to do.
pub(super) fn not_a_node(address: IpAddr) -> Option<(&'static str, &'static str)> {
    let help = "give the address of one host, as others reach it";
    match address {
        _ if address.is_unspecified() => Some(("it is unspecified", help)),
        _ if address.is_multicast() => Some(("it is a multicast address", help)),
        IpAddr::V4(Ipv4Addr::BROADCAST) => Some(("it is the broadcast address", help)),
        IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => {
            Some(("it is an IPv4-mapped address", "write it as IPv4"))
        }
        IpAddr::V6(address) if address.is_unicast_link_local() => Some((
            "it is link-local",
            "such an address means nothing without its interface: give a global or unique local \
             (fd00::/8) one",
        )),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

/// Why an address cannot be a VIP, and what to do.
fn not_a_vip(address: IpAddr) -> Option<(&'static str, &'static str)> {
    let help = "choose a free address of the network the clients reach the nodes by";
    match address {
        _ if address.is_loopback() => Some(("it is a loopback address", help)),
        IpAddr::V6(address) if address.is_unicast_link_local() => Some((
            "it is link-local",
            "the kernel makes link-local addresses on each interface by itself, and clients would \
             have to name their interface with it: choose a global or unique local (fd00::/8) one",
        )),
        IpAddr::V4(address) if address.octets()[0] == 0 => Some(("it means no host", help)),
        IpAddr::V4(address) if address.octets()[0] >= 240 && !address.is_broadcast() => {
            Some(("it is reserved (240.0.0.0/4)", help))
        }
        IpAddr::V4(_) | IpAddr::V6(_) => not_a_node(address).map(|(why, how)| {
            (
                why,
                if how.starts_with("give the address") {
                    help
                } else {
                    how
                },
            )
        }),
    }
}

/// What an address is used for, and where.
struct Use<'f> {
    address: &'f IpAddr,
    role: &'static str,
    span: Range<usize>,
}

/// Checks each VIP for itself, against all other VIPs, and against the addresses of hosts.
pub(super) fn check_vips(
    instances: &[&raw::Instance],
    cluster: Option<&raw::Cluster>,
    findings: &mut Findings,
) {
    let hosts = hosts(instances, cluster);
    let mut seen: std::collections::BTreeMap<IpAddr, Range<usize>> = Default::default();
    for (vip, span) in instances
        .iter()
        .flat_map(|instance| instance.vips.elements())
    {
        if let Some((why, help)) = not_a_vip(*vip) {
            findings.push(
                Finding::error("config::bad_vip", format!("{vip} cannot be a VIP: {why}"))
                    .at(span, why)
                    .help(help),
            );
            continue;
        }
        if let Some(first) = seen.get(vip) {
            findings.push(
                Finding::error("config::duplicate_vip", format!("VIP {vip} is given twice"))
                    .at(span, "again")
                    .at(first.clone(), "first here")
                    .help("a VIP belongs to exactly one instance: remove one of the two"),
            );
            continue;
        }
        if let Some(host) = hosts.iter().find(|host| host.address == vip) {
            findings.push(
                Finding::error(
                    "config::vip_is_host",
                    format!("VIP {vip} is also {}", host.role),
                )
                .at(span.clone(), "a VIP")
                .at(host.span.clone(), host.role)
                .help(
                    "a VIP moves between nodes, so it cannot be the address of one host: choose a \
                     free one",
                ),
            );
        }
        seen.insert(*vip, span);
    }
}

/// The addresses of hosts in the file.
fn hosts<'f>(instances: &[&'f raw::Instance], cluster: Option<&'f raw::Cluster>) -> Vec<Use<'f>> {
    let mut hosts = Vec::new();
    if let Some(cluster) = cluster {
        hosts.extend(cluster.address.get().map(|address| Use {
            address,
            role: "this node's own address",
            span: cluster.address.span(),
        }));
        let peers = cluster.peers.elements();
        hosts.extend(peers.map(|(address, span)| Use {
            address,
            role: "the address of a peer",
            span,
        }));
    }
    for instance in instances {
        for backend in instance
            .backend
            .get()
            .into_iter()
            .flatten()
            .filter_map(|b| b.get())
        {
            hosts.extend(backend.address.get().map(|address| Use {
                address,
                role: "the address of a backend",
                span: backend.address.span(),
            }));
        }
    }
    hosts
}
