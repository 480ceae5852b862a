//! Raw Ethernet frames out of and into a host's interface, past its network stack.

use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::net::netdevice::name_to_index;
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

use crate::netns::NetNs;

/// `ETH_P_ALL` in network byte order: all protocols.
const ALL_PROTOCOLS: u16 = 0x0003_u16.to_be();

/// A packet socket on one interface. The kernel takes VLAN tags off received frames before it sees
/// them; use [`crate::Capture`] to look at tagged answers.
#[derive(Debug)]
pub struct FrameSocket {
    /// Bound to the interface.
    socket: Socket,
}

impl FrameSocket {
    /// Opens an interface.
    ///
    /// # Errors
    /// If there is no such interface.
    pub fn open(namespace: &NetNs, interface: &str) -> Result<Self> {
        let socket = namespace.enter(|| {
            let protocol = Protocol::from(i32::from(ALL_PROTOCOLS));
            let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?;
            let index = name_to_index(&socket, interface)
                .with_context(|| format!("looking for interface {interface}"))?;
            socket
                .bind(&link_address(index)?)
                .context("binding a packet socket")?;
            Ok(socket)
        })?;
        Ok(Self { socket })
    }

    /// Sends one frame, from the destination MAC address on, without checksum (FCS).
    ///
    /// # Errors
    /// If the interface is down or the frame too long.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        self.socket.send(frame).context("sending a frame")?;
        Ok(())
    }

    /// The next frame seen on the interface (in or out) for which `wanted` holds; `None` if there is
    /// none within `timeout`.
    ///
    /// # Errors
    /// If the interface cannot be read.
    pub fn receive(
        &self,
        timeout: Duration,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<Option<Vec<u8>>> {
        let end = Instant::now() + timeout;
        let mut buffer = vec![0; 65_536];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.socket
                .set_read_timeout(Some(left))
                .context("setting a timeout")?;
            match (&self.socket).read(&mut buffer) {
                Ok(length) if wanted(&buffer[..length]) => {
                    return Ok(Some(buffer[..length].to_vec()));
                }
                Ok(_) => {}
                Err(error) if is_timeout(error.kind()) => return Ok(None),
                Err(error) => return Err(error).context("receiving a frame"),
            }
        }
    }
}

/// Whether a socket's read ended because nothing came.
pub(crate) fn is_timeout(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

/// The address of an interface for packet(7) sockets.
fn link_address(index: u32) -> Result<SockAddr> {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: `sockaddr_ll` is one of the types a `sockaddr_storage` exists to hold, it fits, and all
    // bit patterns are valid for it.
    let link = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    link.sll_family = u16::try_from(libc::AF_PACKET).context("an address family")?;
    link.sll_protocol = ALL_PROTOCOLS;
    link.sll_ifindex = i32::try_from(index).context("an interface index")?;
    let length = u32::try_from(size_of::<libc::sockaddr_ll>()).context("a length")?;
    // SAFETY: the first `length` bytes are the `sockaddr_ll` filled in above.
    Ok(unsafe { SockAddr::new(storage, length) })
}
