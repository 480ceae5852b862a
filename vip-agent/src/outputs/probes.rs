//! The sockets that liveness probes leave by. Nothing is ever read from them: the data plane takes
//! the echoes before they get here.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6, UdpSocket};

use socket2::{Domain, Protocol, SockFilter, Socket, Type};

/// What routers mark their own protocols with (RFC 4594 §3.1).
const CLASS_SELECTOR_6: u32 = 0xc0;
/// `BPF_RET | BPF_K` with 0: the datagram is dropped.
const DROP_ALL: SockFilter = SockFilter::new(0x06, 0, 0, 0);

/// One socket for each of this node's addresses that probes are sent from.
#[derive(Debug)]
pub struct ProbeSockets {
    port: u16,
    sockets: BTreeMap<IpAddr, ProbeSocket>,
    /// By both ends. Connected, so that the kernel need not look for a route each time.
    connected: BTreeMap<(IpAddr, IpAddr), UdpSocket>,
}

/// A socket, and the interface that its link-local address belongs to (0: it is none).
#[derive(Debug)]
struct ProbeSocket {
    socket: UdpSocket,
    scope: u32,
}

impl ProbeSockets {
    /// No sockets yet.
    #[must_use]
    pub const fn new(port: u16) -> Self {
        Self {
            port,
            sockets: BTreeMap::new(),
            connected: BTreeMap::new(),
        }
    }

    /// Opens the socket of one of this node's addresses, also if the host does not have it (yet). A
    /// link-local address belongs to the interface with the index `interface`; on another one than
    /// before it is opened anew.
    ///
    /// # Errors
    /// What the kernel answers, e.g. that the port is in use.
    pub fn open(&mut self, local: IpAddr, interface: u32) -> io::Result<()> {
        let scope = scope(local, interface);
        if self
            .sockets
            .get(&local)
            .is_some_and(|open| open.scope == scope)
        {
            return Ok(());
        }
        self.connected.retain(|(open, _), _| *open != local);
        let socket = bound(scoped(local, self.port, scope))?;
        self.sockets.insert(local, ProbeSocket { socket, scope });
        Ok(())
    }

    /// Prepares to send to this peer from one of the addresses that are open. Where that cannot be
    /// done, as long as there is no route for example, probes are sent all the same.
    pub fn connect(&mut self, local: IpAddr, remote: IpAddr) {
        let Some(scope) = self.sockets.get(&local).map(|open| open.scope) else {
            return;
        };
        let connected = bound(scoped(local, self.port, scope)).and_then(|socket| {
            socket.connect(scoped(remote, self.port, scope))?;
            Ok(socket)
        });
        match connected {
            Ok(socket) => drop(self.connected.insert((local, remote), socket)),
            Err(error) => {
                tracing::debug!(%local, %remote, %error, "probes are sent without a connection");
                self.connected.remove(&(local, remote));
            }
        }
    }

    /// Closes what was connected to others than these peers.
    pub fn keep(&mut self, remotes: &[IpAddr]) {
        self.connected
            .retain(|(_, remote), _| remotes.contains(remote));
    }

    /// Sends one probe.
    ///
    /// # Errors
    /// What the kernel answers. An error that a host reported by ICMP for an earlier probe is none.
    pub fn send(&self, local: IpAddr, remote: IpAddr, probe: &[u8]) -> io::Result<()> {
        if let Some(socket) = self.connected.get(&(local, remote)) {
            // Any error may be what an ICMP message said of a former probe: who forges such messages
            // must not make it look as if this node could not send. Telling resets it.
            let result = socket.send(probe).or_else(|_| socket.send(probe));
            return result.map(|_| ());
        }
        let ProbeSocket { socket, scope } = self
            .sockets
            .get(&local)
            .ok_or_else(|| io::Error::other(format!("no probes are sent from {local}")))?;
        let remote = scoped(remote, self.port, *scope);
        match socket.send_to(probe, remote) {
            // Told of a former one, and reset by telling.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                socket.send_to(probe, remote).map(|_| ())
            }
            result => result.map(|_| ()),
        }
    }
}

/// The interface that the address alone does not tell.
const fn scope(local: IpAddr, interface: u32) -> u32 {
    match local {
        IpAddr::V6(address) if address.is_unicast_link_local() => interface,
        IpAddr::V4(_) | IpAddr::V6(_) => 0,
    }
}

const fn scoped(address: IpAddr, port: u16, scope: u32) -> SocketAddr {
    match address {
        IpAddr::V4(_) => SocketAddr::new(address, port),
        IpAddr::V6(address) => SocketAddr::V6(SocketAddrV6::new(address, port, 0, scope)),
    }
}

fn bound(local: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    match local {
        SocketAddr::V4(_) => {
            socket.set_freebind_v4(true)?;
            socket.set_tos_v4(CLASS_SELECTOR_6)?;
        }
        SocketAddr::V6(_) => {
            socket.set_only_v6(true)?;
            socket.set_freebind_v6(true)?;
            socket.set_tclass_v6(CLASS_SELECTOR_6)?;
        }
    }
    // One for each peer, and one for all.
    socket.set_reuse_address(true)?;
    socket.set_priority(6)?;
    socket.set_nonblocking(true)?;
    // What comes where the data plane is not attached is not for us.
    socket.attach_filter(&[DROP_ALL])?;
    socket.bind(&local.into())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_link_local_addresses_belong_to_an_interface() {
        let scope = |address: &str| scope(address.parse().unwrap(), 7);
        assert_eq!(scope("fe80::1"), 7);
        assert_eq!([scope("fd00::1"), scope("10.0.0.1")], [0, 0]);
        let peer: Ipv6Addr = "fe80::2".parse().unwrap();
        let SocketAddr::V6(to) = scoped(peer.into(), 8113, 7) else {
            panic!("an IPv6 address stays one");
        };
        assert_eq!((to.scope_id(), to.port()), (7, 8113));
    }

    #[test]
    fn probes_leave_and_nothing_comes_in() {
        let here: IpAddr = "127.0.0.1".parse().unwrap();
        let port = UdpSocket::bind((here, 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let peer: IpAddr = "127.0.0.2".parse().unwrap();
        let remote = UdpSocket::bind((peer, port)).unwrap();
        let mut sockets = ProbeSockets::new(port);
        sockets.open(here, 0).unwrap();
        sockets.open(here, 7).unwrap();
        sockets.connect(here, peer);
        assert!(sockets.connected.contains_key(&(here, peer)));
        sockets.keep(&[peer]);
        assert_eq!(sockets.connected.len(), 1);
        sockets.send(here, peer, b"probe").unwrap();
        let mut buffer = [0; 16];
        let (length, from) = remote.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], from.port()), (&b"probe"[..], port));
        remote.send_to(b"echo", from).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        let own = &sockets.sockets[&here].socket;
        let error = own.recv_from(&mut buffer).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(remote);
        for _ in 0..3 {
            sockets.send(here, peer, b"to nobody").unwrap();
        }
        sockets.keep(&[here]);
        assert!(sockets.connected.is_empty());
    }
}
