//! The UDP socket that adverts come and go by.

mod filter;
mod source;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use rtnetlink::Handle;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::time::{Instant as TokioInstant, sleep};
use tracing::info;
use vip_proto::NodeAddress;
use vip_proto::native::MAX_DATAGRAM;

use crate::config::{Cluster, Transport};
use crate::error::RunError;
use crate::host::interface::{self, Interface};

/// Internetwork control: what routers mark their own protocols with (RFC 4594 §3.1, RFC 9568's
/// implementations).
const CLASS_SELECTOR_6: u32 = 0xc0;

/// How long the start waits for an address that is not there yet: at boot the configuration of the
/// network may still go on, and duplicate address detection takes one to two seconds.
const ADDRESS_BOUND: Duration = Duration::from_secs(5);
/// Time between two tries.
const TRY_EVERY: Duration = Duration::from_millis(100);

/// Room for adverts that wait, in bytes as the kernel counts them: some 500 of the longest. With the
/// default a short burst of anything else would push adverts out.
const RECEIVE_BUFFER: usize = 1 << 20;

/// The advert socket and where adverts go.
#[derive(Debug)]
pub struct AdvertSocket {
    socket: UdpSocket,
    address: NodeAddress,
    destinations: Vec<SocketAddr>,
    membership: Option<Membership>,
}

/// A multicast group on an interface. The kernel knows the interface by its index alone.
#[derive(Debug)]
struct Membership {
    group: IpAddr,
    interface: String,
    index: u32,
}

impl AdvertSocket {
    /// Opens the socket as the configuration says. Waits a few seconds for an address that is not
    /// there yet.
    ///
    /// # Errors
    /// [`RunError::Io`] with what could not be done; [`RunError::NoInterface`] if the multicast
    /// interface does not exist.
    pub async fn open(cluster: &Cluster, handle: &Handle) -> Result<Self, RunError> {
        let deadline = TokioInstant::now() + ADDRESS_BOUND;
        let mut said = false;
        loop {
            let error = match Self::try_open(cluster, &interface::list(handle).await?) {
                Err(error) if may_pass(&error) => error,
                result => return result,
            };
            if TokioInstant::now() >= deadline {
                return Err(error);
            }
            if !std::mem::replace(&mut said, true) {
                info!(%error, "waiting up to {} s for the network", ADDRESS_BOUND.as_secs());
            }
            sleep(TRY_EVERY).await;
        }
    }

    fn try_open(cluster: &Cluster, interfaces: &[Interface]) -> Result<Self, RunError> {
        match &cluster.transport {
            Transport::Unicast { peers } => unicast(cluster, peers),
            Transport::Multicast { group, interface } => {
                let wanted_by = "[cluster] multicast";
                let interface = interface::find(interfaces, interface, wanted_by)?;
                multicast(cluster, *group, interface)
            }
        }
    }

    /// The address adverts come from.
    #[must_use]
    pub const fn address(&self) -> NodeAddress {
        self.address
    }

    /// Index of the interface that multicast goes out of; `None`: adverts go by unicast.
    #[must_use]
    pub fn interface(&self) -> Option<u32> {
        self.membership.as_ref().map(|membership| membership.index)
    }

    /// Sends one advert to all peers. Fails only if no peer could be sent to: a single dead peer
    /// whose MAC address does not resolve is no failure of ours.
    ///
    /// # Errors
    /// What the kernel answered for the last peer.
    pub fn send(&self, advert: &[u8]) -> io::Result<()> {
        let mut failure = None;
        let mut sent = false;
        for destination in &self.destinations {
            match self.send_to(advert, *destination) {
                Ok(()) => sent = true,
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) if !sent => Err(error),
            _ => Ok(()),
        }
    }

    fn send_to(&self, advert: &[u8], destination: SocketAddr) -> io::Result<()> {
        match &self.membership {
            // This socket is bound to the address.
            None => self.socket.send_to(advert, destination).map(|_| ()),
            // This one must not be: it would not hear the group.
            Some(membership) => source::send_from(
                &self.socket,
                self.address.0,
                membership.index,
                advert,
                destination,
            ),
        }
    }

    /// The next advert that waits in the queue, with its source; `None`: the queue is empty.
    ///
    /// # Errors
    /// What the kernel answered; an error some peer's host reported by ICMP is not one.
    pub fn receive<'b>(
        &self,
        buffer: &'b mut [u8; MAX_DATAGRAM],
    ) -> io::Result<Option<(NodeAddress, &'b [u8])>> {
        loop {
            match self.socket.recv_from(buffer) {
                Ok((length, from)) => {
                    let from = NodeAddress(from.ip().to_canonical());
                    return Ok(buffer.get(..length).map(|datagram| (from, datagram)));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Moves to the multicast interface after it was made anew; any other interface is ignored. Tries
    /// again at the next call if that fails. The address stays: it is this node's name among its
    /// peers. While the new interface does not have it, [`Self::send`] fails.
    ///
    /// # Errors
    /// What the kernel answered.
    pub fn follow(&mut self, interface: &Interface) -> io::Result<()> {
        let Some(membership) = self.membership.as_mut().filter(|membership| {
            membership.interface == interface.name && membership.index != interface.index
        }) else {
            return Ok(());
        };
        let options = socket2::SockRef::from(&self.socket);
        // First of all: a bound socket cannot send by another interface than its own.
        options.bind_device(Some(interface.name.as_bytes()))?;
        leave(&options, membership.group, membership.index);
        join(&options, membership.group, interface)?;
        membership.index = interface.index;
        for destination in &mut self.destinations {
            if let SocketAddr::V6(group) = destination {
                group.set_scope_id(interface.index);
            }
        }
        Ok(())
    }
}

impl AsFd for AdvertSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Errors that tell of a peer, not of the socket.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
    )
}

/// Errors that may be over when the network has been configured.
fn may_pass(error: &RunError) -> bool {
    matches!(error, RunError::Io { source, .. } if matches!(
        source.kind(),
        io::ErrorKind::AddrNotAvailable
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
    ))
}

fn unicast(cluster: &Cluster, peers: &[IpAddr]) -> Result<AdvertSocket, RunError> {
    let address = match (cluster.address, peers.first()) {
        (Some(address), _) => address,
        (None, Some(peer)) => {
            source::towards(SocketAddr::new(*peer, cluster.port)).map_err(RunError::io(format!(
                "finding the address this node has towards its peer {peer} ([cluster] address \
                 sets it)"
            )))?
        }
        (None, None) => {
            return Err(RunError::HostConfig(
                "[cluster] names neither an address nor a peer: this node cannot tell which of its \
                 addresses is meant"
                    .to_owned(),
            ));
        }
    };
    let local = SocketAddr::new(address, cluster.port);
    let what = format!("opening the advert socket on {local}");
    let socket = bound(local, peers).map_err(RunError::io(what))?;
    let destinations = peers
        .iter()
        .map(|peer| SocketAddr::new(*peer, cluster.port))
        .collect();
    Ok(AdvertSocket {
        socket,
        address: NodeAddress(address),
        destinations,
        membership: None,
    })
}

fn multicast(
    cluster: &Cluster,
    group: IpAddr,
    interface: &Interface,
) -> Result<AdvertSocket, RunError> {
    let what = || {
        format!(
            "opening the advert socket for {group} on {}",
            interface.name
        )
    };
    let destination = match group {
        IpAddr::V4(_) => SocketAddr::new(group, cluster.port),
        IpAddr::V6(group) => {
            SocketAddr::V6(SocketAddrV6::new(group, cluster.port, 0, interface.index))
        }
    };
    let any: IpAddr = match group {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = bound(SocketAddr::new(any, cluster.port), &[]).map_err(RunError::io(what()))?;
    let options = socket2::SockRef::from(&socket);
    join(&options, group, interface).map_err(RunError::io(what()))?;
    options
        .bind_device(Some(interface.name.as_bytes()))
        .map_err(RunError::io(what()))?;
    let address =
        source::for_group(cluster.address, group, interface).map_err(RunError::io(format!(
            "finding the address of {} that adverts come from",
            interface.name
        )))?;
    Ok(AdvertSocket {
        socket,
        address: NodeAddress(address),
        destinations: vec![destination],
        membership: Some(Membership {
            group,
            interface: interface.name.clone(),
            index: interface.index,
        }),
    })
}

/// Joins the group, sends to it by this interface, one hop far, and not to ourselves.
fn join(socket: &Socket, group: IpAddr, interface: &Interface) -> io::Result<()> {
    match group {
        IpAddr::V4(group) => {
            let index = InterfaceIndexOrAddress::Index(interface.index);
            socket.join_multicast_v4_n(&group, &index)?;
            socket.set_multicast_ttl_v4(1)?;
            socket.set_multicast_loop_v4(false)
        }
        IpAddr::V6(group) => {
            socket.join_multicast_v6(&group, interface.index)?;
            socket.set_multicast_if_v6(interface.index)?;
            socket.set_multicast_hops_v6(1)?;
            socket.set_multicast_loop_v6(false)
        }
    }
}

/// Leaves the group on an interface that is gone: the socket's list of groups has little room.
fn leave(socket: &Socket, group: IpAddr, index: u32) {
    let left = match group {
        IpAddr::V4(group) => {
            socket.leave_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(index))
        }
        IpAddr::V6(group) => socket.leave_multicast_v6(&group, index),
    };
    if let Err(error) = left {
        tracing::debug!(%group, index, %error, "leaving the group on an interface that is gone");
    }
}

/// A non-blocking, marked UDP socket on this address, for adverts of these peers (none: of anybody).
fn bound(local: SocketAddr, peers: &[IpAddr]) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    match local {
        SocketAddr::V4(_) => socket.set_tos_v4(CLASS_SELECTOR_6)?,
        SocketAddr::V6(_) => {
            socket.set_only_v6(true)?;
            socket.set_tclass_v6(CLASS_SELECTOR_6)?;
        }
    }
    // The highest band of the default queueing discipline that needs no privilege.
    socket.set_priority(6)?;
    socket.set_nonblocking(true)?;
    make_room(&socket)?;
    // Before it is bound: nothing that it would drop is in the queue.
    socket.attach_filter(&filter::program(peers))?;
    socket.bind(&local.into())?;
    Ok(socket.into())
}

/// Enlarges the receive buffer, beyond the system's limit if this process may.
fn make_room(socket: &Socket) -> io::Result<()> {
    match setsockopt(socket, sockopt::RcvBufForce, &RECEIVE_BUFFER) {
        Ok(()) => Ok(()),
        Err(_) => socket.set_recv_buffer_size(RECEIVE_BUFFER),
    }
}
