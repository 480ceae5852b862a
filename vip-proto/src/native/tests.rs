//! The codec against itself, against chance and against forgery.

use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::election::State;
use crate::{Epoch, Incarnation, NodeAddress, Vrid};

fn keys(secrets: &[(u8, u8)]) -> Keyring {
    let secrets: Vec<(u8, [u8; 32])> = secrets
        .iter()
        .map(|(id, byte)| (*id, [*byte; 32]))
        .collect();
    let keys: Vec<Key<'_>> = secrets
        .iter()
        .map(|(id, secret)| Key { id: *id, secret })
        .collect();
    Keyring::new(&keys).unwrap()
}

fn emitted(advert: &Advert, keys: &Keyring) -> Vec<u8> {
    let mut buffer = vec![0; advert.buffer_len()];
    advert.emit(keys, &mut buffer).unwrap().to_vec()
}

fn any_address() -> impl Strategy<Value = NodeAddress> {
    prop_oneof![
        any::<u32>().prop_map(|bits| NodeAddress(IpAddr::V4(Ipv4Addr::from(bits)))),
        any::<u128>().prop_map(|bits| NodeAddress(IpAddr::V6(Ipv6Addr::from(bits))).canonical()),
    ]
}

const fn echo((incarnation, sequence): (u64, u64)) -> Echo {
    Echo {
        incarnation: Incarnation(incarnation),
        sequence,
    }
}

prop_compose! {
    fn any_record()(
        vrid in 1u8..,
        priority: u8,
        state in 0u8..3,
        flags: u8,
        epoch: u32,
        successor: u64,
        vips_digest: u32,
        mac: [u8; 6],
    ) -> InstanceRecord {
        InstanceRecord {
            vrid: Vrid::new(vrid).unwrap(),
            priority,
            state: State::from_wire(state).unwrap(),
            flags: Flags(flags),
            epoch: Epoch(epoch),
            successor: (successor != 0).then_some(Incarnation(successor)),
            vips_digest,
            mac,
        }
    }
}

prop_compose! {
    fn any_advert()(
        sender in any_address(),
        incarnation in 1u64..,
        sequence in 1u64..,
        micros in 1_000u64..=40_950_000,
        down_factor in DOWN_FACTOR_RANGE,
        grace: u32,
        records in prop::collection::vec(any_record(), 0..=MAX_INSTANCES),
        echoes in prop::collection::vec(any::<(u64, u64)>(), 0..=MAX_ECHOES),
    ) -> Advert {
        let mut seen = [false; 256];
        let is_new = |record: &InstanceRecord| !core::mem::replace(&mut seen[usize::from(record.vrid.get())], true);
        Advert {
            header: Header {
                key_id: 1,
                sender,
                incarnation: Incarnation(incarnation),
                sequence,
                advert_interval: Duration::from_micros(micros),
                down_factor,
                grace: Duration::from_millis(grace.into()),
            },
            records: records.into_iter().filter(is_new).collect(),
            echoes: echoes.into_iter().map(echo).collect(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_emitted_is_parsed_again_and_emitted_again_byte_for_byte(advert in any_advert()) {
        let keys = keys(&[(1, 7)]);
        let bytes = emitted(&advert, &keys);
        prop_assert_eq!(bytes.len(), advert.buffer_len());
        let view = AdvertView::new_checked(&bytes).unwrap();
        prop_assert_eq!(view.verify(&keys), Ok(()));
        let parsed = Advert::parse(&view);
        prop_assert_eq!(&parsed, &advert);
        prop_assert_eq!(emitted(&parsed, &keys), bytes);
    }

    #[test]
    fn arbitrary_bytes_are_rejected_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..1500)) {
        if let Ok(view) = AdvertView::new_checked(&bytes) {
            prop_assert!(view.verify(&keys(&[(1, 7)])).is_err());
        }
    }

    #[test]
    fn arbitrary_changes_of_a_valid_advert_never_panic(
        advert in any_advert(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        len in any::<prop::sample::Index>(),
    ) {
        let mut bytes = emitted(&advert, &keys(&[(1, 7)]));
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(len.index(bytes.len()) + 1);
        if let Ok(view) = AdvertView::new_checked(&bytes) {
            let parsed = Advert::parse(&view);
            prop_assert_eq!(parsed.buffer_len(), bytes.len());
        }
    }

    #[test]
    fn the_window_accepts_each_number_once(numbers in prop::collection::vec(1u64..200, 1..300)) {
        let mut window = Window::starting_at(100);
        let mut seen: Vec<u64> = (0..=100).collect();
        let mut highest = 100;
        for number in numbers {
            let expected = if number > highest {
                Freshness::Newest
            } else if seen.contains(&number) || highest - number >= Window::LEN {
                Freshness::Replayed
            } else {
                Freshness::Late
            };
            prop_assert_eq!(window.accept(number), expected);
            seen.push(number);
            highest = highest.max(number);
        }
    }
}

fn sample() -> Advert {
    Advert {
        header: Header {
            key_id: 1,
            sender: NodeAddress(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))),
            incarnation: Incarnation(0x0102_0304_0506_0708),
            sequence: 9,
            advert_interval: Duration::from_millis(100),
            down_factor: 3,
            grace: Duration::from_millis(0x0102_0304),
        },
        records: vec![InstanceRecord {
            vrid: Vrid::new(5).unwrap(),
            priority: 100,
            state: State::Active,
            flags: Flags::REQUEST,
            epoch: Epoch(6),
            successor: Some(Incarnation(7)),
            vips_digest: 8,
            mac: [2, 0, 0, 0, 0, 12],
        }],
        echoes: vec![echo((10, 11))],
    }
}

#[test]
fn the_bytes_are_those_of_the_table_in_the_documentation() {
    let bytes = emitted(&sample(), &keys(&[(1, 7)]));
    let expected: [&[u8]; 11] = [
        &[b'V', b'I', 1, 1, 1, 1, 1, 3],
        &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1],
        &[1, 2, 3, 4, 5, 6, 7, 8],
        &[0, 0, 0, 0, 0, 0, 0, 9],
        &[0, 1, 0x86, 0xa0, 1, 2, 3, 4],
        &[5, 100, 2, 1, 0, 0, 0, 6],
        &[0, 0, 0, 0, 0, 0, 0, 7],
        &[0, 0, 0, 8],
        &[2, 0, 0, 0, 0, 12, 0, 0],
        &[0, 0, 0, 0, 0, 0, 0, 10],
        &[0, 0, 0, 0, 0, 0, 0, 11],
    ];
    assert_eq!(bytes[..bytes.len() - MAC_LEN], expected.concat());
}

#[test]
fn flipping_any_bit_of_a_datagram_makes_it_rejected() {
    let keys = keys(&[(1, 7)]);
    let bytes = emitted(&sample(), &keys);
    for bit in 0..bytes.len() * 8 {
        let mut forged = bytes.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        let accepted = AdvertView::new_checked(&forged).and_then(|view| view.verify(&keys));
        assert!(accepted.is_err(), "bit {bit} flipped");
    }
}

#[test]
fn each_fault_is_named() {
    let bytes = emitted(&sample(), &keys(&[(1, 7)]));
    let with = |at: usize, value: u8| {
        let mut changed = bytes.clone();
        changed[at] = value;
        AdvertView::new_checked(&changed).map(|_| ()).unwrap_err()
    };
    let checked = |bytes: &[u8]| AdvertView::new_checked(bytes).map(|_| ()).unwrap_err();
    assert_eq!(checked(&[]), RejectReason::TooShort);
    assert_eq!(
        checked(&bytes[..HEADER_LEN + MAC_LEN - 1]),
        RejectReason::TooShort
    );
    assert_eq!(checked(&vec![0; MAX_DATAGRAM + 1]), RejectReason::TooLong);
    assert_eq!(
        checked(&bytes[..bytes.len() - 1]),
        RejectReason::LengthMismatch
    );
    assert_eq!(with(0, b'X'), RejectReason::WrongMagic);
    assert_eq!(with(2, 2), RejectReason::WrongVersion { found: 2 });
    assert_eq!(with(3, 9), RejectReason::WrongType { found: 9 });
    assert_eq!(with(5, 2), RejectReason::LengthMismatch);
    assert_eq!(with(5, 41), RejectReason::BadField(Field::InstanceCount));
    assert_eq!(with(6, 13), RejectReason::BadField(Field::EchoCount));
    assert_eq!(with(7, 1), RejectReason::BadField(Field::DownFactor));
    assert_eq!(with(39, 0), RejectReason::BadField(Field::Sequence));
    assert_eq!(
        with(40, 0xff),
        RejectReason::BadField(Field::AdvertInterval)
    );
    assert_eq!(with(48, 0), RejectReason::BadField(Field::Vrid));
    assert_eq!(with(50, 3), RejectReason::BadField(Field::State));
    let mut twice = sample();
    twice.records.push(twice.records[0]);
    assert_eq!(
        checked(&emitted(&twice, &keys(&[(1, 7)]))),
        RejectReason::BadField(Field::Vrid)
    );
}

#[test]
fn a_buffer_that_is_too_small_is_an_error() {
    let mut buffer = vec![0; sample().buffer_len() - 1];
    assert_eq!(
        sample().emit(&keys(&[(1, 7)]), &mut buffer),
        Err(DoesNotFit)
    );
}

#[test]
fn keys_are_rotated_without_a_node_meeting_an_unknown_one() {
    let steps = [
        keys(&[(1, 7)]),
        keys(&[(1, 7), (2, 8)]),
        keys(&[(2, 8), (1, 7)]),
        keys(&[(2, 8)]),
    ];
    // Neighbouring steps exist at once while the nodes are changed one by one.
    for pair in steps.windows(2) {
        for (sender, receiver) in [(&pair[0], &pair[1]), (&pair[1], &pair[0])] {
            let bytes = emitted(&sample(), sender);
            assert_eq!(
                AdvertView::new_checked(&bytes).unwrap().verify(receiver),
                Ok(())
            );
        }
    }
    let bytes = emitted(&sample(), &steps[0]);
    let view = AdvertView::new_checked(&bytes).unwrap();
    assert_eq!(
        view.verify(&steps[3]),
        Err(RejectReason::UnknownKey { id: 1 })
    );
    assert_eq!(view.verify(&keys(&[(1, 8)])), Err(RejectReason::BadMac));
}

#[test]
fn bad_keyrings_are_refused() {
    let secret = [1; 32];
    let key = |id| Key {
        id,
        secret: &secret,
    };
    let refused = |keys: &[Key<'_>]| Keyring::new(keys).map(|_| ()).unwrap_err();
    assert_eq!(refused(&[]), KeyringError::Count { found: 0 });
    let many: Vec<Key<'_>> = (0..9).map(key).collect();
    assert_eq!(refused(&many), KeyringError::Count { found: 9 });
    assert_eq!(
        refused(&[key(3), key(4), key(3)]),
        KeyringError::DuplicateId { id: 3 }
    );
    let short = Key {
        id: 5,
        secret: &secret[..31],
    };
    assert_eq!(
        refused(&[key(1), short]),
        KeyringError::ShortSecret { id: 5, found: 31 }
    );
}

#[test]
fn the_signature_is_hmac_sha256_as_in_rfc_4231() {
    // Test case 6 of RFC 4231 §4.7: a key longer than the block.
    let keys = Keyring::new(&[Key {
        id: 1,
        secret: &[0xaa; 131],
    }])
    .unwrap();
    let mac = keys.sign(b"Test Using Larger Than Block-Size Key - Hash Key First");
    assert_eq!(mac[..8], [0x60, 0xe4, 0x31, 0x59, 0x1e, 0xe0, 0xb6, 0x7f]);
}

#[test]
fn debug_output_never_shows_secrets() {
    let secret = *b"0123456789abcdef0123456789abcdef";
    let key = Key {
        id: 9,
        secret: &secret,
    };
    let shown = alloc::format!("{key:?} {:?}", Keyring::new(&[key]).unwrap());
    assert_eq!(shown, "Key { id: 9, .. } Keyring { ids: [9], .. }");
}

#[test]
fn a_liveness_key_depends_on_the_key_the_prober_s_start_and_both_ends_of_the_link() {
    let keys = keys(&[(1, 7), (2, 8)]);
    let ends = [[192, 0, 2, 1], [192, 0, 2, 2]].map(|end| NodeAddress(IpAddr::from(end)));
    let key = |id, start, from: usize, to: usize| {
        keys.liveness_key(id, Incarnation(start), ends[from], ends[to])
    };
    let usual = key(1, 5, 0, 1).unwrap();
    for other in [key(2, 5, 0, 1), key(1, 6, 0, 1), key(1, 5, 1, 0)] {
        assert!(other.is_some_and(|other| other != usual));
    }
    assert_eq!(key(3, 5, 0, 1), None);
    let mapped = NodeAddress(IpAddr::V6(Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped()));
    assert_eq!(
        keys.liveness_key(1, Incarnation(5), mapped, ends[1]),
        Some(usual)
    );
    let message: [&[u8]; 4] = [
        b"vip liveness 1",
        &5u64.to_be_bytes(),
        &Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped().octets(),
        &Ipv4Addr::new(192, 0, 2, 2).to_ipv6_mapped().octets(),
    ];
    let code = keys.sign(&message.concat());
    assert_eq!(usual.map(u64::to_be_bytes).concat(), code[..16]);
}
