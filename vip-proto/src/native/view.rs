//! An advert as borrowed bytes: checked once, then read without any possibility of failure.

use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;

use super::advert::{Echo, Flags, Header, InstanceRecord};
use super::error::{Field, RejectReason};
use super::keyring::{Keyring, MAC_LEN};
use super::{
    DOWN_FACTOR_RANGE, ECHO_LEN, HEADER_LEN, INTERVAL_RANGE, MAGIC, MAX_DATAGRAM, MAX_ECHOES,
    MAX_INSTANCES, RECORD_LEN, TYPE_ADVERT, VERSION,
};
use crate::election::State;
use crate::{Epoch, Incarnation, NodeAddress, Vrid};

/// A well-formed advert that has **not** been authenticated yet: see [`Self::verify`].
#[derive(Debug, Clone, Copy)]
pub struct AdvertView<'a> {
    header: Header,
    records: &'a [[u8; RECORD_LEN]],
    echoes: &'a [[u8; ECHO_LEN]],
    signed: &'a [u8],
    mac: &'a [u8; MAC_LEN],
}

impl<'a> AdvertView<'a> {
    /// Checks lengths, constants and ranges.
    ///
    /// # Errors
    /// What is wrong, down to the field.
    pub fn new_checked(datagram: &'a [u8]) -> Result<Self, RejectReason> {
        if datagram.len() > MAX_DATAGRAM {
            return Err(RejectReason::TooLong);
        }
        let (signed, mac) = datagram
            .split_last_chunk::<MAC_LEN>()
            .ok_or(RejectReason::TooShort)?;
        let (header, body) = signed
            .split_first_chunk::<HEADER_LEN>()
            .ok_or(RejectReason::TooShort)?;
        let (header, records, echoes) = read_header(header)?;
        let (records, echoes) = body
            .split_at_checked(records * RECORD_LEN)
            .filter(|(_, rest)| rest.len() == echoes * ECHO_LEN)
            .ok_or(RejectReason::LengthMismatch)?;
        // Both lengths are exact multiples by the check above: no remainder is left out.
        let (records, echoes) = (records.as_chunks().0, echoes.as_chunks().0);
        check_records(records)?;
        Ok(Self {
            header,
            records,
            echoes,
            signed,
            mac,
        })
    }

    /// Checks the authentication code.
    ///
    /// # Errors
    /// [`RejectReason::UnknownKey`] or [`RejectReason::BadMac`].
    pub fn verify(&self, keys: &Keyring) -> Result<(), RejectReason> {
        keys.verify(self.header.key_id, self.signed, self.mac)
    }

    /// The fixed part.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The instance records in their order.
    pub fn records(&self) -> impl Iterator<Item = InstanceRecord> + use<'a> {
        // All records were readable in `new_checked`.
        self.records
            .iter()
            .filter_map(|bytes| read_record(bytes).ok())
    }

    /// What the sender has heard.
    pub fn echoes(&self) -> impl Iterator<Item = Echo> + use<'a> {
        // Two fields of eight bytes are all there is to each.
        self.echoes.iter().filter_map(|bytes| read_echo(bytes).ok())
    }
}

/// Header, number of records, number of echoes.
fn read_header(bytes: &[u8; HEADER_LEN]) -> Result<(Header, usize, usize), RejectReason> {
    let mut cursor = Cursor(bytes);
    if cursor.take()? != MAGIC {
        return Err(RejectReason::WrongMagic);
    }
    let [version, kind, key_id, records, echoes, down_factor] = cursor.take()?;
    if version != VERSION {
        return Err(RejectReason::WrongVersion { found: version });
    }
    if kind != TYPE_ADVERT {
        return Err(RejectReason::WrongType { found: kind });
    }
    let (records, echoes) = (usize::from(records), usize::from(echoes));
    check(records <= MAX_INSTANCES, Field::InstanceCount)?;
    check(echoes <= MAX_ECHOES, Field::EchoCount)?;
    check(DOWN_FACTOR_RANGE.contains(&down_factor), Field::DownFactor)?;
    let sender = NodeAddress(IpAddr::V6(Ipv6Addr::from(cursor.take::<16>()?)).to_canonical());
    let incarnation = Incarnation(u64::from_be_bytes(cursor.take()?));
    check(incarnation.0 != 0, Field::Incarnation)?;
    let sequence = u64::from_be_bytes(cursor.take()?);
    check(sequence != 0, Field::Sequence)?;
    let advert_interval = Duration::from_micros(u32::from_be_bytes(cursor.take()?).into());
    check(
        INTERVAL_RANGE.contains(&advert_interval),
        Field::AdvertInterval,
    )?;
    let grace = Duration::from_millis(u32::from_be_bytes(cursor.take()?).into());
    let header = Header {
        key_id,
        sender,
        incarnation,
        sequence,
        advert_interval,
        down_factor,
        grace,
    };
    Ok((header, records, echoes))
}

fn check_records(records: &[[u8; RECORD_LEN]]) -> Result<(), RejectReason> {
    let mut seen = [false; 256];
    for bytes in records {
        let vrid = read_record(bytes)?.vrid;
        let seen = seen
            .get_mut(usize::from(vrid.get()))
            .ok_or(RejectReason::BadField(Field::Vrid))?;
        check(!core::mem::replace(seen, true), Field::Vrid)?;
    }
    Ok(())
}

fn read_record(bytes: &[u8; RECORD_LEN]) -> Result<InstanceRecord, RejectReason> {
    let mut cursor = Cursor(bytes);
    let [vrid, priority, state, flags] = cursor.take()?;
    let epoch = Epoch(u32::from_be_bytes(cursor.take()?));
    let successor = u64::from_be_bytes(cursor.take()?);
    let vips_digest = u32::from_be_bytes(cursor.take()?);
    let mac = cursor.take()?;
    Ok(InstanceRecord {
        vrid: Vrid::new(vrid).ok_or(RejectReason::BadField(Field::Vrid))?,
        priority,
        state: State::from_wire(state).ok_or(RejectReason::BadField(Field::State))?,
        flags: Flags(flags),
        epoch,
        successor: (successor != 0).then_some(Incarnation(successor)),
        vips_digest,
        mac,
    })
}

fn read_echo(bytes: &[u8; ECHO_LEN]) -> Result<Echo, RejectReason> {
    let mut cursor = Cursor(bytes);
    Ok(Echo {
        incarnation: Incarnation(u64::from_be_bytes(cursor.take()?)),
        sequence: u64::from_be_bytes(cursor.take()?),
    })
}

const fn check(holds: bool, field: Field) -> Result<(), RejectReason> {
    if holds {
        Ok(())
    } else {
        Err(RejectReason::BadField(field))
    }
}

/// Reads fields in their order.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], RejectReason> {
        let (field, rest) = self.0.split_first_chunk().ok_or(RejectReason::TooShort)?;
        self.0 = rest;
        Ok(*field)
    }
}
