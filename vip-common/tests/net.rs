//! Headers, checksums and frames against an independent implementation (etherparse) and by
//! exhaustion.

use etherparse::{ArpOperation, LinkSlice, NetSlice, SlicedPacket, TransportSlice};
use network_types::arp::ArpHdr;
use network_types::icmp::{Icmpv4Hdr, Icmpv6Hdr};
use network_types::ip::{Ipv4Hdr, Ipv6Hdr};
use proptest::prelude::*;
use vip_common::net::checksum::{self, Sum};
use vip_common::net::ethernet::{self, EthernetHeader};
use vip_common::net::header::{bytes_of, view_mut};
use vip_common::net::{arp, gratuitous_arp, icmp, ip, ndp, unsolicited_na};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

/// The checksum's definition, word by word.
fn reference(words: &[u16]) -> u16 {
    !words.iter().fold(0_u16, |sum, word| {
        let (sum, carry) = sum.overflowing_add(*word);
        sum + u16::from(carry)
    })
}

#[test]
fn update_equals_a_new_computation_for_every_checksum_and_step() {
    // Every value of the rest, a stride of old words, and every TTL-like and type-like change.
    for rest in 1..=u16::MAX {
        for old in (0..=u16::MAX).step_by(4099).chain([0x0800, 0x8000, 0xffff]) {
            for new in [
                old.wrapping_sub(0x0100),
                old.wrapping_add(0x0100),
                0,
                0xffff,
            ] {
                let before = reference(&[rest, old]).to_be_bytes();
                let after = checksum::update(before, old.to_be_bytes(), new.to_be_bytes());
                assert_eq!(
                    after,
                    reference(&[rest, new]).to_be_bytes(),
                    "{rest} {old} {new}"
                );
            }
        }
    }
}

#[test]
fn update_all_gives_a_checksum_that_verifies_even_for_zeros() {
    for rest in 0..=u16::MAX {
        let before = reference(&[rest, 0x0800]).to_be_bytes();
        let after = checksum::update_all(before, [8, 0], [0, 0]);
        let sum = Sum::ZERO.word(rest.to_be_bytes()).word(after);
        assert!(sum.is_valid(), "{rest:#x} {after:?}");
    }
}

proptest! {
    #[test]
    fn sum_equals_the_definition(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let words: Vec<_> = bytes
            .chunks(2)
            .map(|pair| u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]))
            .collect();
        prop_assert_eq!(Sum::ZERO.bytes(&bytes).checksum(), reference(&words).to_be_bytes());
    }

    #[test]
    fn wide_sums_equal_narrow_ones(bytes in any::<[u8; 16]>()) {
        let [a, b, c, d, e, f, g, h, ..] = bytes;
        prop_assert_eq!(Sum::ZERO.sixteen(&bytes).fold(), Sum::ZERO.bytes(&bytes).fold());
        let eight = [a, b, c, d, e, f, g, h];
        prop_assert_eq!(Sum::ZERO.eight(&eight).fold(), Sum::ZERO.bytes(&eight).fold());
    }

    #[test]
    fn ttl_decrement_keeps_the_header_valid(mut header in any::<[u8; 20]>()) {
        header[0] = 0x45;
        header[10..12].fill(0);
        let sum = Sum::ZERO.bytes(&header).checksum();
        header[10..12].copy_from_slice(&sum);
        let before = header[8];
        let result = ip::decrement_ttl(view_mut::<Ipv4Hdr>(&mut header, 0).expect("20 bytes"));
        prop_assert_eq!(result.is_ok(), before > 1);
        prop_assert_eq!(header[8], if before > 1 { before - 1 } else { before });
        prop_assert!(Sum::ZERO.bytes(&header).is_valid());
    }

    #[test]
    fn headers_are_views_of_their_bytes(bytes in prop::collection::vec(any::<u8>(), 0..64), at in 0_usize..40) {
        let mut copy = bytes.clone();
        match view_mut::<ArpHdr>(&mut copy, at) {
            Some(header) => prop_assert_eq!(bytes_of(header), &bytes[at..at + 28]),
            None => prop_assert!(at + 28 > bytes.len()),
        }
    }
}

#[test]
fn gratuitous_arp_is_a_broadcast_request_for_itself() {
    let frame = gratuitous_arp(MAC, [192, 0, 2, 10]);
    let packet = SlicedPacket::from_ethernet(&frame).expect("parses");
    let Some(LinkSlice::Ethernet2(link)) = packet.link else {
        panic!("no Ethernet")
    };
    assert_eq!((link.destination(), link.source()), ([0xff; 6], MAC));
    let Some(NetSlice::Arp(message)) = packet.net else {
        panic!("no ARP")
    };
    assert_eq!(message.operation(), ArpOperation::REQUEST);
    assert_eq!(message.sender_hw_addr(), MAC);
    assert_eq!(message.target_hw_addr(), [0xff; 6]);
    assert_eq!(message.sender_protocol_addr(), [192, 0, 2, 10]);
    assert_eq!(message.target_protocol_addr(), [192, 0, 2, 10]);
}

#[test]
fn unsolicited_na_is_valid_and_overrides() {
    let vip = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10];
    let frame = unsolicited_na(MAC, vip);
    let packet = SlicedPacket::from_ethernet(&frame).expect("parses");
    let Some(LinkSlice::Ethernet2(link)) = packet.link else {
        panic!("no Ethernet")
    };
    assert_eq!(
        (link.destination(), link.source()),
        ([0x33, 0x33, 0, 0, 0, 1], MAC)
    );
    let Some(NetSlice::Ipv6(network)) = packet.net else {
        panic!("no IPv6")
    };
    let header = network.header();
    assert_eq!((header.hop_limit(), header.source()), (255, vip));
    assert_eq!(header.destination(), ndp::ALL_NODES);
    let Some(TransportSlice::Icmpv6(message)) = packet.transport else {
        panic!("no ICMPv6")
    };
    assert!(message.is_checksum_valid(header.source(), header.destination()));
    let bytes = message.slice();
    assert_eq!(bytes.len(), 32);
    assert_eq!(
        (bytes[0], bytes[1], bytes[4]),
        (136, 0, 0x20),
        "type, code, only override"
    );
    assert_eq!(bytes[8..24], vip);
    assert_eq!(bytes[24..26], [2, 1]);
    assert_eq!(bytes[26..], MAC);
}

#[test]
fn echo_replies_are_valid_for_every_sequence_number() {
    for sequence in 0..=u16::MAX {
        let [high, low] = sequence.to_be_bytes();
        let mut message = [8, 0, 0, 0, 0x12, 0x34, high, low];
        let sum = Sum::ZERO.bytes(&message).checksum();
        message[2..4].copy_from_slice(&sum);
        let header = view_mut::<Icmpv4Hdr>(&mut message, 0).expect("8 bytes");
        assert!(icmp::is_echo_request_v4(header));
        icmp::answer_v4(header);
        assert_eq!(message[0], 0);
        assert!(Sum::ZERO.bytes(&message).is_valid(), "sequence {sequence}");
    }
}

#[test]
fn echo_replies_of_ipv6_are_valid_for_every_sequence_number() {
    let pseudo = [0xab; 40];
    for sequence in 0..=u16::MAX {
        let [high, low] = sequence.to_be_bytes();
        let mut message = [128, 0, 0, 0, 0x12, 0x34, high, low];
        let sum = Sum::ZERO.bytes(&pseudo).bytes(&message).checksum();
        message[2..4].copy_from_slice(&sum);
        icmp::answer_v6(view_mut::<Icmpv6Hdr>(&mut message, 0).expect("8 bytes"));
        assert_eq!(message[0], 129);
        assert!(
            Sum::ZERO.bytes(&pseudo).bytes(&message).is_valid(),
            "sequence {sequence}"
        );
    }
}

#[test]
fn arp_answers_name_the_asking_station() {
    let mut frame = gratuitous_arp(MAC, [192, 0, 2, 10]);
    let header = view_mut::<ArpHdr>(&mut frame, 14).expect("28 bytes");
    assert!(arp::is_ipv4_over_ethernet(header) && arp::is_request(header));
    header.spa = [0; 4];
    arp::answer(header, [7; 6]);
    assert!(!arp::is_request(header));
    assert_eq!((header.sha, header.spa), ([7; 6], [192, 0, 2, 10]));
    assert_eq!((header.tha, header.tpa), (MAC, [0; 4]));
}

#[test]
fn a_frame_is_for_its_station_and_for_groups() {
    let to = |destination| EthernetHeader {
        destination,
        source: MAC,
        ether_type: [8, 0],
    };
    assert!(to(MAC).is_for(MAC));
    assert!(to(ethernet::BROADCAST).is_for(MAC));
    assert!(to([0x33, 0x33, 0, 0, 0, 1]).is_for(MAC));
    assert!(!to([2, 0, 0, 0, 0, 8]).is_for(MAC));
}

#[test]
fn solicited_node_addresses_are_told_from_others() {
    let mut address = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 1, 2, 3];
    assert!(ndp::is_solicited_node(&address));
    address[12] = 0xfe;
    assert!(!ndp::is_solicited_node(&address));
    assert!(!ndp::is_solicited_node(&ndp::ALL_NODES));
}

#[test]
fn ipv6_lengths_must_fit_the_frame() {
    let mut bytes = [0; 40];
    bytes[0] = 0x60;
    bytes[5] = 8;
    let header = view_mut::<Ipv6Hdr>(&mut bytes, 0).expect("40 bytes");
    assert!(ip::is_consistent_v6(header, 48));
    assert!(!ip::is_consistent_v6(header, 47));
}
