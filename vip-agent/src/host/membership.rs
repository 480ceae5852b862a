//! Makes neighbour solicitations for IPv6 VIPs reach this node.
//!
//! They are sent to the solicited-node multicast group of the VIP (RFC 4291 §2.7.1). A VIP on `lo`
//! makes the kernel join nothing on the interface the solicitations come by, so network card filter
//! and snooping switches would keep them away. Joining as an ordinary listener programs the one and
//! tells the others (MLD).
//!
//! The groups of VRRP are joined too: another router that uses the identifier of an instance is
//! noticed by the adverts it sends there.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

use crate::error::RunError;
use crate::host::interface::Interface;

/// Groups one socket joins: memory for them is charged to the socket (`net.core.optmem_max`).
const GROUPS_PER_SOCKET: usize = 200;

/// Where VRRP adverts go (RFC 9568 §5.1.1.2, §5.1.2.2).
const VRRP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
const VRRP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

/// Memberships of one interface; given up when dropped.
#[derive(Debug)]
pub struct Memberships {
    _sockets: Vec<Socket>,
}

/// Joins the solicited-node groups of all IPv6 addresses among `vips` on the interface, and the groups
/// of VRRP of the families of `vips`.
///
/// # Errors
/// [`RunError::Io`], naming the group.
pub fn join(interface: &Interface, vips: &[IpAddr]) -> Result<Memberships, RunError> {
    let groups: Vec<Ipv6Addr> = vips
        .iter()
        .filter_map(|vip| match vip {
            IpAddr::V4(_) => None,
            IpAddr::V6(vip) => Some(solicited_node_group(*vip)),
        })
        .chain(vips.iter().any(IpAddr::is_ipv6).then_some(VRRP_V6))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let mut sockets: Vec<Socket> = groups
        .chunks(GROUPS_PER_SOCKET)
        .map(|groups| join_groups(interface, groups))
        .collect::<Result<_, _>>()?;
    if vips.iter().any(IpAddr::is_ipv4) {
        sockets.push(join_vrrp_v4(interface)?);
    }
    Ok(Memberships { _sockets: sockets })
}

fn join_groups(interface: &Interface, groups: &[Ipv6Addr]) -> Result<Socket, RunError> {
    let open =
        || -> io::Result<Socket> { Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP)) };
    let socket = open().map_err(RunError::io("opening a socket for group memberships"))?;
    for group in groups {
        socket
            .join_multicast_v6(group, interface.index)
            .map_err(RunError::io(format!(
                "joining the solicited-node group {group} on {}",
                interface.name
            )))?;
    }
    Ok(socket)
}

fn join_vrrp_v4(interface: &Interface) -> Result<Socket, RunError> {
    let join = || -> io::Result<Socket> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        let index = InterfaceIndexOrAddress::Index(interface.index);
        socket.join_multicast_v4_n(&VRRP_V4, &index)?;
        Ok(socket)
    };
    join().map_err(RunError::io(format!(
        "joining the group {VRRP_V4} on {}",
        interface.name
    )))
}

/// `ff02::1:ffXX:XXXX` with the last 24 bits of the address.
fn solicited_node_group(address: Ipv6Addr) -> Ipv6Addr {
    let [.., high, low] = address.segments();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | (high & 0xff), low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_carries_the_last_24_bits() {
        let address: Ipv6Addr = "2001:db8::1:800:200e:8c6c".parse().unwrap();
        assert_eq!(
            solicited_node_group(address),
            "ff02::1:ff0e:8c6c".parse::<Ipv6Addr>().unwrap()
        );
    }
}
