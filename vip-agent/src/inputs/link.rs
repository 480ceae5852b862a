//! Interface changes, straight from the kernel to the election thread.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
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

/// `RTM_NEWLINK` and `RTM_DELLINK` of linux/rtnetlink.h.
const NEW_LINK: u16 = 16;
const DELETED_LINK: u16 = 17;

/// `AF_UNSPEC` of linux/socket.h, as `ifi_family` has it.
const UNSPECIFIED: u8 = 0;

/// Calls of [`LinkWatch::retry`] after which a listing without an end is given up.
const PATIENCE: u32 = 5;

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
    /// All interfaces were listed. One that is not among these does not exist, whether or not its
    /// deletion was ever told.
    Listed {
        /// Their indices.
        present: BTreeSet<u32>,
    },
}

/// A subscription to interface changes, starting with the present state of all interfaces.
#[derive(Debug)]
pub struct LinkWatch {
    socket: Socket,
    buffer: Vec<u8>,
    listing: Listing,
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
        let mut watch = Self {
            socket,
            buffer: Vec::with_capacity(BUFFER),
            listing: Listing::default(),
        };
        let sequence = watch.listing.begin();
        watch.ask(sequence)?;
        Ok(watch)
    }

    /// Asks for the state of all interfaces; the answers come like changes.
    fn ask(&self, sequence: u32) -> io::Result<()> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        header.sequence_number = sequence;
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
    /// asked for again, once the queue is empty: there is room for the answer then, and nothing
    /// older than it comes after it.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn receive(&mut self, mut handle: impl FnMut(LinkEvent)) -> io::Result<()> {
        loop {
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, libc::MSG_DONTWAIT) {
                Ok(0) => return Ok(()),
                Ok(_) => self.listing.take(&self.buffer, &mut handle),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !self.listing.is_due() {
                        return Ok(());
                    }
                    let sequence = self.listing.begin();
                    if self.ask(sequence).is_err() {
                        self.listing.failed();
                        return Ok(());
                    }
                }
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => self.listing.lost(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether [`Self::retry`] is needed.
    #[must_use]
    pub const fn is_pending(&self) -> bool {
        self.listing.running || self.listing.wanted
    }

    /// Lets the next [`Self::receive`] ask again if the last listing failed; call it each second
    /// while [`Self::is_pending`].
    pub const fn retry(&mut self) {
        self.listing.retry();
    }
}

impl AsFd for LinkWatch {
    #[expect(unsafe_code, reason = "netlink-sys offers only the raw descriptor")]
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the socket owns the descriptor and lives as long as the borrow.
        unsafe { BorrowedFd::borrow_raw(self.socket.as_raw_fd()) }
    }
}

/// The listing of all interfaces: which of them were seen since it began.
#[derive(Debug, Default)]
struct Listing {
    sequence: u32,
    /// Asked for, and not ended yet.
    running: bool,
    /// Something was lost that only another listing can tell.
    wanted: bool,
    /// The last one failed: the next waits for [`Self::retry`].
    held_back: bool,
    /// Changes while it ran may have hidden an interface from it.
    interrupted: bool,
    /// From its first answer on: what was queued before that is older than the listing.
    seen: Option<BTreeSet<u32>>,
    /// Calls of [`Self::retry`] since it began.
    waited: u32,
}

impl Listing {
    /// A new listing is asked for, with this sequence number.
    fn begin(&mut self) -> u32 {
        *self = Self {
            sequence: self.sequence.wrapping_add(1).max(1),
            running: true,
            ..Self::default()
        };
        self.sequence
    }

    /// Whether to ask now. The kernel lists once at a time for one socket.
    const fn is_due(&self) -> bool {
        self.wanted && !self.running && !self.held_back
    }

    /// The kernel had to drop messages.
    const fn lost(&mut self) {
        self.wanted = true;
        self.held_back = false;
    }

    /// The kernel did not list.
    const fn failed(&mut self) {
        self.running = false;
        self.wanted = true;
        self.held_back = true;
    }

    const fn retry(&mut self) {
        self.held_back = false;
        if self.running {
            self.waited += 1;
            if self.waited >= PATIENCE {
                self.running = false;
                self.wanted = true;
            }
        }
    }

    /// Takes the messages of one datagram apart.
    fn take(&mut self, mut bytes: &[u8], handle: &mut impl FnMut(LinkEvent)) {
        while let Ok(buffer) = NetlinkBuffer::new_checked(bytes) {
            let length = (buffer.length() as usize).next_multiple_of(4);
            let answers = self.running && buffer.sequence_number() == self.sequence;
            if answers {
                self.interrupted |= buffer.flags() & NLM_F_DUMP_INTR != 0;
                self.seen.get_or_insert_default();
            }
            if !is_of_one_protocol(buffer.message_type(), buffer.payload()) {
                self.count(buffer.message_type(), buffer.payload());
                if let Ok(message) = NetlinkMessage::deserialize(bytes) {
                    self.message(message.payload, answers, handle);
                }
            }
            match bytes.get(length..) {
                Some(rest) if length > 0 => bytes = rest,
                _ => return,
            }
        }
    }

    /// Which interfaces there are, by the messages' fixed part: one whose attributes are too new to
    /// be parsed exists nevertheless.
    fn count(&mut self, message_type: u16, payload: &[u8]) {
        let (Some(seen), Some(index)) = (self.seen.as_mut(), index(payload)) else {
            return;
        };
        match message_type {
            NEW_LINK => {
                seen.insert(index);
            }
            DELETED_LINK => {
                seen.remove(&index);
            }
            _ => {}
        }
    }

    fn message(
        &mut self,
        payload: NetlinkPayload<RouteNetlinkMessage>,
        answers: bool,
        handle: &mut impl FnMut(LinkEvent),
    ) {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "only links are subscribed to"
        )]
        match payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => {
                if let Some(interface) = Interface::from_link(&link) {
                    handle(LinkEvent::Is(interface));
                }
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link)) => {
                handle(LinkEvent::Deleted {
                    index: link.header.index,
                });
            }
            NetlinkPayload::Done(done) if answers && done.code == 0 => self.done(handle),
            NetlinkPayload::Done(_) if answers => self.failed(),
            // Most likely EBUSY: the kernel is not done with an earlier one.
            NetlinkPayload::Error(error) if answers && error.code.is_some() => self.failed(),
            _ => {}
        }
    }

    /// The listing has come to its end.
    fn done(&mut self, handle: &mut impl FnMut(LinkEvent)) {
        self.running = false;
        let seen = self.seen.take();
        if self.interrupted {
            self.failed();
        } else if let Some(present) = seen {
            handle(LinkEvent::Listed { present });
        }
    }
}

/// Whether a link message tells of one protocol's part of an interface (`ifi_family`), not of the
/// interface: a bridge tells of its ports by `AF_BRIDGE` ones in the same group. They lack what is in
/// the XDP slot, and "deleted" only means that the interface is no port any more.
fn is_of_one_protocol(message_type: u16, payload: &[u8]) -> bool {
    let family = payload.first().copied().unwrap_or(UNSPECIFIED);
    matches!(message_type, NEW_LINK | DELETED_LINK) && family != UNSPECIFIED
}

/// The interface's index in the fixed part of a link message, `struct ifinfomsg`.
fn index(payload: &[u8]) -> Option<u32> {
    payload
        .get(4..8)
        .and_then(|bytes| bytes.try_into().ok())
        .map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests;
