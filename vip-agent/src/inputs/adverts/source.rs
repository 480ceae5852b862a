//! Which address adverts come from, and sending from that one and no other.
//!
//! The source is the node's name in the cluster: peers refuse an advert whose header names another
//! address than its datagram came from. The kernel's own choice may change with every address that
//! is added or that passes its duplicate address detection.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd as _;

use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg};

use crate::host::interface::Interface;

/// Sends from `source`, an address of the interface with this index.
///
/// # Errors
/// What the kernel answers; `AddrNotAvailable` if the interface has no such address (any more, or
/// not yet).
pub(super) fn send_from(
    socket: &UdpSocket,
    source: IpAddr,
    index: u32,
    datagram: &[u8],
    destination: SocketAddr,
) -> io::Result<()> {
    let parts = [IoSlice::new(datagram)];
    let to = SockaddrStorage::from(destination);
    let (v4, v6);
    let source = match source {
        IpAddr::V4(source) => {
            v4 = libc::in_pktinfo {
                ipi_ifindex: i32::try_from(index).map_err(io::Error::other)?,
                ipi_spec_dst: libc::in_addr {
                    s_addr: u32::from_ne_bytes(source.octets()),
                },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            ControlMessage::Ipv4PacketInfo(&v4)
        }
        IpAddr::V6(source) => {
            v6 = libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr {
                    s6_addr: source.octets(),
                },
                ipi6_ifindex: index,
            };
            ControlMessage::Ipv6PacketInfo(&v6)
        }
    };
    match sendmsg(
        socket.as_raw_fd(),
        &parts,
        &[source],
        MsgFlags::empty(),
        Some(&to),
    ) {
        Ok(_) => Ok(()),
        // The kernel's word for a source that is not there.
        Err(nix::errno::Errno::EINVAL) => Err(io::ErrorKind::AddrNotAvailable.into()),
        Err(error) => Err(error.into()),
    }
}

/// The source address the kernel would choose towards `destination`.
pub(super) fn towards(destination: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = match destination {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    socket.connect(destination)?;
    Ok(socket.local_addr()?.ip())
}

/// The address adverts to `group` by this interface come from: `configured`, or one of the
/// interface's own. Only an address that can be used now: not one whose duplicate address detection
/// (RFC 4862 §5.4) goes on or has failed.
///
/// # Errors
/// `AddrNotAvailable`, with what is missing.
pub(super) fn for_group(
    configured: Option<IpAddr>,
    group: IpAddr,
    interface: &Interface,
) -> io::Result<IpAddr> {
    let missing = |what: String| io::Error::new(io::ErrorKind::AddrNotAvailable, what);
    if let Some(address) = configured {
        return usable(address, interface)
            .then_some(address)
            .ok_or_else(|| {
                missing(format!(
                    "[cluster] address = \"{address}\" is not an address of this host, or \
                 {STILL_TENTATIVE}"
                ))
            });
    }
    let candidate = match group {
        IpAddr::V4(_) => interface.addresses.iter().find(|own| own.is_ipv4()),
        // Link-local first: such an address there always is, and it depends on the MAC address alone.
        IpAddr::V6(_) => interface
            .addresses
            .iter()
            .filter(|own| own.is_ipv6())
            .min_by_key(|own| !is_link_local(**own)),
    };
    let address = *candidate.ok_or_else(|| {
        let family = if group.is_ipv4() { "IPv4" } else { "IPv6" };
        missing(format!("it has no {family} address"))
    })?;
    usable(address, interface)
        .then_some(address)
        .ok_or_else(|| missing(format!("{address} cannot be used, {STILL_TENTATIVE}")))
}

/// Why an address that is there may be unusable.
const STILL_TENTATIVE: &str = "its duplicate address detection has not ended well";

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// Whether the kernel lets a socket have this address.
fn usable(address: IpAddr, interface: &Interface) -> bool {
    let local = match address {
        IpAddr::V4(_) => SocketAddr::new(address, 0),
        IpAddr::V6(address) => SocketAddrV6::new(address, 0, 0, interface.index).into(),
    };
    UdpSocket::bind(local).is_ok()
}
