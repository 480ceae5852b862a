//! Numbers of the reasons for which a datagram is not accepted: the reason in the low byte, what it
//! names in the next.

use vip_proto::native::{Field, RejectReason};

/// The number of a reason, which never changes.
pub(super) fn number(reason: RejectReason) -> u64 {
    let (number, parameter) = match reason {
        RejectReason::TooShort => (1, 0),
        RejectReason::TooLong => (2, 0),
        RejectReason::WrongMagic => (3, 0),
        RejectReason::WrongVersion { found } => (4, found),
        RejectReason::WrongType { found } => (5, found),
        RejectReason::LengthMismatch => (6, 0),
        RejectReason::BadField(field) => (7, field_number(field)),
        RejectReason::SenderMismatch => (8, 0),
        RejectReason::UnknownPeer => (9, 0),
        RejectReason::TooManyPeers => (10, 0),
        RejectReason::UnknownKey { id } => (11, id),
        RejectReason::BadMac => (12, 0),
        RejectReason::Replayed => (13, 0),
        RejectReason::StaleSession => (14, 0),
        RejectReason::OwnPacket => (15, 0),
    };
    u64::from_le_bytes([number, parameter, 0, 0, 0, 0, 0, 0])
}

/// The reason with this number, if it has one.
pub(super) fn reason(number: u64) -> Option<RejectReason> {
    let [number, parameter, ..] = number.to_le_bytes();
    Some(match number {
        1 => RejectReason::TooShort,
        2 => RejectReason::TooLong,
        3 => RejectReason::WrongMagic,
        4 => RejectReason::WrongVersion { found: parameter },
        5 => RejectReason::WrongType { found: parameter },
        6 => RejectReason::LengthMismatch,
        7 => RejectReason::BadField(
            FIELDS
                .into_iter()
                .find(|field| field_number(*field) == parameter)?,
        ),
        8 => RejectReason::SenderMismatch,
        9 => RejectReason::UnknownPeer,
        10 => RejectReason::TooManyPeers,
        11 => RejectReason::UnknownKey { id: parameter },
        12 => RejectReason::BadMac,
        13 => RejectReason::Replayed,
        14 => RejectReason::StaleSession,
        15 => RejectReason::OwnPacket,
        _ => return None,
    })
}

const FIELDS: [Field; 8] = [
    Field::InstanceCount,
    Field::EchoCount,
    Field::DownFactor,
    Field::Incarnation,
    Field::Sequence,
    Field::AdvertInterval,
    Field::Vrid,
    Field::State,
];

const fn field_number(field: Field) -> u8 {
    match field {
        Field::InstanceCount => 1,
        Field::EchoCount => 2,
        Field::DownFactor => 3,
        Field::Incarnation => 4,
        Field::Sequence => 5,
        Field::AdvertInterval => 6,
        Field::Vrid => 7,
        Field::State => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_that_of_its_reason() {
        let numbers: Vec<u8> = (0..=u8::MAX).collect();
        let mut known = 0;
        for kind in &numbers {
            for parameter in &numbers {
                let word = u64::from_le_bytes([*kind, *parameter, 0, 0, 0, 0, 0, 0]);
                let Some(reason) = reason(word) else { continue };
                known += 1;
                // What a reason does not name is not looked at.
                assert!([word, word & 0xff].contains(&number(reason)), "{reason}");
            }
        }
        assert_eq!(known, 14 * 256 + FIELDS.len());
    }
}
