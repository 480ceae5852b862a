//! Sends whole Ethernet frames.

use std::io;
use std::os::fd::AsRawFd;

use socket2::{Domain, Socket, Type};

#[expect(clippy::cast_possible_truncation, reason = "17 fits")]
const AF_PACKET: u16 = libc::AF_PACKET as u16;

#[expect(clippy::cast_possible_truncation, reason = "20 fits")]
const ADDRESS_LENGTH: libc::socklen_t = size_of::<libc::sockaddr_ll>() as libc::socklen_t;

/// A packet socket that only sends.
#[derive(Debug)]
pub(super) struct PacketSocket(Socket);

impl PacketSocket {
    /// Opens it; needs `CAP_NET_RAW`. Protocol 0: nothing is received.
    pub(super) fn open() -> io::Result<Self> {
        Socket::new(Domain::PACKET, Type::RAW, None).map(Self)
    }

    /// Sends `frame` out of the interface with this index.
    #[expect(unsafe_code, reason = "no safe wrapper sends to a link-layer address")]
    pub(super) fn send(&self, ifindex: u32, frame: &[u8]) -> io::Result<()> {
        let sll_ifindex = i32::try_from(ifindex)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "interface index"))?;
        let address = libc::sockaddr_ll {
            sll_family: AF_PACKET,
            sll_protocol: 0,
            sll_ifindex,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        // SAFETY: frame and address are valid for the lengths given and outlive the call.
        let sent = unsafe {
            libc::sendto(
                self.0.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const address).cast(),
                ADDRESS_LENGTH,
            )
        };
        match usize::try_from(sent) {
            Ok(length) if length == frame.len() => Ok(()),
            Ok(_) => Err(io::Error::from(io::ErrorKind::WriteZero)),
            Err(_) => Err(io::Error::last_os_error()),
        }
    }
}
