//! Interface changes, straight from the kernel to the election thread.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use crate::host::interface::Interface;

/// `RTMGRP_LINK` of linux/rtnetlink.h.
const LINK_GROUP: u32 = 1;

/// Enough for the largest message the kernel makes (a page or two per interface).
const BUFFER: usize = 64 * 1024;

/// What happened to an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEvent {
    /// It exists, in this condition.
    Is(Interface),
    /// It was deleted.
    Deleted {
        /// Its index.
        index: u32,
    },
}

/// A subscription to interface changes, starting with the present state of all interfaces.
#[derive(Debug)]
pub struct LinkWatch {
    socket: Socket,
    buffer: Vec<u8>,
}

impl LinkWatch {
    /// Subscribes, and asks for the present state.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, LINK_GROUP))?;
        socket.set_non_blocking(true)?;
        let watch = Self {
            socket,
            buffer: Vec::with_capacity(BUFFER),
        };
        watch.ask()?;
        Ok(watch)
    }

    /// Asks for the state of all interfaces; the answers come like changes.
    fn ask(&self) -> io::Result<()> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        let mut message = NetlinkMessage::new(
            header,
            NetlinkPayload::from(RouteNetlinkMessage::GetLink(LinkMessage::default())),
        );
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        Ok(())
    }

    /// Hands each waiting event to `handle`. When the kernel had to drop some, the present state is
    /// asked for again.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn receive(&mut self, mut handle: impl FnMut(LinkEvent)) -> io::Result<()> {
        loop {
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, libc::MSG_DONTWAIT) {
                Ok(0) => return Ok(()),
                Ok(_) => parse(&self.buffer, &mut handle),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => self.ask()?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for LinkWatch {
    #[expect(unsafe_code, reason = "netlink-sys offers only the raw descriptor")]
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the socket owns the descriptor and lives as long as the borrow.
        unsafe { BorrowedFd::borrow_raw(self.socket.as_raw_fd()) }
    }
}

/// Takes the messages of one datagram apart; what cannot be parsed concerns newer kernels' links.
fn parse(mut bytes: &[u8], handle: &mut impl FnMut(LinkEvent)) {
    while let Ok(buffer) = NetlinkBuffer::new_checked(bytes) {
        let length = (buffer.length() as usize).next_multiple_of(4);
        if let Some(event) = NetlinkMessage::deserialize(bytes).ok().and_then(event) {
            handle(event);
        }
        match bytes.get(length..) {
            Some(rest) if length > 0 => bytes = rest,
            _ => return,
        }
    }
}

fn event(message: NetlinkMessage<RouteNetlinkMessage>) -> Option<LinkEvent> {
    let NetlinkPayload::InnerMessage(message) = message.payload else {
        return None;
    };
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "only links are subscribed to"
    )]
    match message {
        RouteNetlinkMessage::NewLink(link) => Interface::from_link(&link).map(LinkEvent::Is),
        RouteNetlinkMessage::DelLink(link) => Some(LinkEvent::Deleted {
            index: link.header.index,
        }),
        _ => None,
    }
}
