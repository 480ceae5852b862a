//! The sockets that liveness probes leave by. Nothing is ever read from them: the data plane takes
//! the echoes before they get here.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, SockFilter, Socket, Type};

/// What routers mark their own protocols with (RFC 4594 §3.1).
const CLASS_SELECTOR_6: u32 = 0xc0;
/// `BPF_RET | BPF_K` with 0: the datagram is dropped.
const DROP_ALL: SockFilter = SockFilter::new(0x06, 0, 0, 0);

/// One socket for each of this node's addresses that probes are sent from.
#[derive(Debug)]
pub struct ProbeSockets {
    port: u16,
    sockets: BTreeMap<IpAddr, UdpSocket>,
}

impl ProbeSockets {
    /// No sockets yet.
    #[must_use]
    pub const fn new(port: u16) -> Self {
        Self {
            port,
            sockets: BTreeMap::new(),
        }
    }

    /// Opens the socket of one of this node's addresses, also if the host does not have it (yet).
    ///
    /// # Errors
    /// What the kernel answers, e.g. that the port is in use.
    pub fn open(&mut self, local: IpAddr) -> io::Result<()> {
        if !self.sockets.contains_key(&local) {
            let socket = bound(SocketAddr::new(local, self.port))?;
            self.sockets.insert(local, socket);
        }
        Ok(())
    }

    /// Sends one probe.
    ///
    /// # Errors
    /// What the kernel answers. An error that a host reported by ICMP for an earlier probe is none.
    pub fn send(&self, local: IpAddr, remote: IpAddr, probe: &[u8]) -> io::Result<()> {
        let socket = self
            .sockets
            .get(&local)
            .ok_or_else(|| io::Error::other(format!("no probes are sent from {local}")))?;
        let remote = SocketAddr::new(remote, self.port);
        match socket.send_to(probe, remote) {
            // Told of a former one, and reset by telling.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                socket.send_to(probe, remote).map(|_| ())
            }
            result => result.map(|_| ()),
        }
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
    socket.set_priority(6)?;
    socket.set_nonblocking(true)?;
    // What comes where the data plane is not attached is not for us.
    socket.attach_filter(&[DROP_ALL])?;
    socket.bind(&local.into())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

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
        sockets.open(here).unwrap();
        sockets.open(here).unwrap();
        sockets.send(here, peer, b"probe").unwrap();
        let mut buffer = [0; 16];
        let (length, from) = remote.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], from.port()), (&b"probe"[..], port));
        remote.send_to(b"echo", from).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        let own = &sockets.sockets[&here];
        let error = own.recv_from(&mut buffer).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(remote);
        for _ in 0..3 {
            sockets.send(here, peer, b"to nobody").unwrap();
        }
    }
}
