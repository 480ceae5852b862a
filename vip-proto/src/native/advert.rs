//! An advert as values, and how it is written.

use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use super::keyring::{Keyring, MAC_LEN};
use super::view::AdvertView;
use super::{ECHO_LEN, HEADER_LEN, MAGIC, RECORD_LEN, TYPE_ADVERT, VERSION};
use crate::election::State;
use crate::{Epoch, Incarnation, NodeAddress, Vrid};

/// Flags of an instance record. Bits without a meaning survive parsing and are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(pub u8);

impl Flags {
    /// The sender has a higher priority than the Active node and asks it to hand over.
    pub const REQUEST: Self = Self(1);
    /// The sender has just stopped being Active, or was stopped itself: it gives way to all others.
    pub const YIELD: Self = Self(2);
    /// The sender is about to become Active after an unusual wait: whoever objects says so now.
    pub const INTENT: Self = Self(4);
    /// While Active: the successor named shall claim, while the sender still answers. Afterwards: that
    /// was so when the sender's lease ended; being named is no reason to claim then.
    pub const HANDOVER: Self = Self(8);

    /// These flags and `other`'s.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all bits of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The fixed part of an advert. Counts, version and type are not kept: they follow from the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Key that signed it. Written by [`Advert::emit`] from the keyring, not from here.
    pub key_id: u8,
    /// Address of the sender: must be the source of the datagram; breaks ties of priority.
    pub sender: NodeAddress,
    /// The start of the sender's agent.
    pub incarnation: Incarnation,
    /// Number of the advert within the incarnation, from 1.
    pub sequence: u64,
    /// The sender's advert interval.
    pub advert_interval: Duration,
    /// The sender's down factor: receivers wait at least this many intervals.
    pub down_factor: u8,
    /// How much longer than usual the sender may be silent, because its agent restarts while its data
    /// plane goes on: whole milliseconds, usually 0.
    pub grace: Duration,
}

/// What the sender says of one instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstanceRecord {
    /// Which instance.
    pub vrid: Vrid,
    /// The sender's priority; 0: it cannot be Active.
    pub priority: u8,
    /// The sender's state.
    pub state: State,
    /// What it asks for.
    pub flags: Flags,
    /// Highest epoch the sender knows.
    pub epoch: Epoch,
    /// Who shall take over, if the sender hands over.
    pub successor: Option<Incarnation>,
    /// Digest of the VIPs the sender has configured.
    pub vips_digest: u32,
    /// The sender's MAC address on the instance's link, where stray packets are sent on to; zero:
    /// unknown.
    pub mac: [u8; 6],
}

/// The last advert heard of a peer: proves to that peer that what echoes it was made afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Echo {
    /// The start of the peer's agent.
    pub incarnation: Incarnation,
    /// Greatest sequence number heard of it.
    pub sequence: u64,
}

/// A whole advert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advert {
    /// The fixed part.
    pub header: Header,
    /// At most [`MAX_INSTANCES`](super::MAX_INSTANCES), each VRID once.
    pub records: Vec<InstanceRecord>,
    /// At most [`MAX_ECHOES`](super::MAX_ECHOES).
    pub echoes: Vec<Echo>,
}

/// The buffer is too small for the advert, or the advert has more parts than its counts can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the advert does not fit")]
pub struct DoesNotFit;

impl Advert {
    /// The values of a checked advert.
    #[must_use]
    pub fn parse(view: &AdvertView<'_>) -> Self {
        Self {
            header: *view.header(),
            records: view.records().collect(),
            echoes: view.echoes().collect(),
        }
    }

    /// Length of the datagram in bytes.
    #[must_use]
    pub const fn buffer_len(&self) -> usize {
        HEADER_LEN + self.records.len() * RECORD_LEN + self.echoes.len() * ECHO_LEN + MAC_LEN
    }

    /// Writes and signs the datagram; answers its bytes.
    ///
    /// # Errors
    /// [`DoesNotFit`] if `buffer` is shorter than [`Self::buffer_len`] or a count exceeds 255.
    pub fn emit<'b>(&self, keys: &Keyring, buffer: &'b mut [u8]) -> Result<&'b [u8], DoesNotFit> {
        emit(
            &self.header,
            self.records.iter().copied(),
            self.echoes.iter().copied(),
            keys,
            buffer,
        )
    }
}

/// As [`Advert::emit`], from iterators: what a node does each interval, without allocating.
pub(crate) fn emit<'b>(
    header: &Header,
    records: impl ExactSizeIterator<Item = InstanceRecord>,
    echoes: impl ExactSizeIterator<Item = Echo>,
    keys: &Keyring,
    buffer: &'b mut [u8],
) -> Result<&'b [u8], DoesNotFit> {
    let counts = (count(records.len())?, count(echoes.len())?);
    let mut writer = Writer {
        buffer: &mut *buffer,
        used: 0,
    };
    write_header(&mut writer, header, counts, keys.signing_id())?;
    for record in records {
        write_record(&mut writer, &record)?;
    }
    for echo in echoes {
        writer.put(&echo.incarnation.0.to_be_bytes())?;
        writer.put(&echo.sequence.to_be_bytes())?;
    }
    let used = writer.used;
    let (signed, rest) = buffer.split_at_mut_checked(used).ok_or(DoesNotFit)?;
    rest.first_chunk_mut()
        .map(|mac: &mut [u8; MAC_LEN]| *mac = keys.sign(signed))
        .ok_or(DoesNotFit)?;
    buffer.get(..used + MAC_LEN).ok_or(DoesNotFit)
}

fn count(len: usize) -> Result<u8, DoesNotFit> {
    u8::try_from(len).map_err(|_| DoesNotFit)
}

fn write_header(
    writer: &mut Writer<'_>,
    header: &Header,
    counts: (u8, u8),
    key_id: u8,
) -> Result<(), DoesNotFit> {
    let sender = match header.sender.0 {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    let interval = u32::try_from(header.advert_interval.as_micros()).unwrap_or(u32::MAX);
    writer.put(&MAGIC)?;
    writer.put(&[
        VERSION,
        TYPE_ADVERT,
        key_id,
        counts.0,
        counts.1,
        header.down_factor,
    ])?;
    writer.put(&sender.octets())?;
    writer.put(&header.incarnation.0.to_be_bytes())?;
    writer.put(&header.sequence.to_be_bytes())?;
    writer.put(&interval.to_be_bytes())?;
    let grace = u32::try_from(header.grace.as_millis()).unwrap_or(u32::MAX);
    writer.put(&grace.to_be_bytes())
}

fn write_record(writer: &mut Writer<'_>, record: &InstanceRecord) -> Result<(), DoesNotFit> {
    writer.put(&[
        record.vrid.get(),
        record.priority,
        record.state as u8,
        record.flags.0,
    ])?;
    writer.put(&record.epoch.0.to_be_bytes())?;
    writer.put(
        &record
            .successor
            .map_or(0, |successor| successor.0)
            .to_be_bytes(),
    )?;
    writer.put(&record.vips_digest.to_be_bytes())?;
    writer.put(&record.mac)?;
    writer.put(&[0; 2])
}

/// Appends fields in their order.
struct Writer<'b> {
    buffer: &'b mut [u8],
    used: usize,
}

impl Writer<'_> {
    fn put(&mut self, field: &[u8]) -> Result<(), DoesNotFit> {
        let end = self.used + field.len();
        self.buffer
            .get_mut(self.used..end)
            .ok_or(DoesNotFit)?
            .copy_from_slice(field);
        self.used = end;
        Ok(())
    }
}
