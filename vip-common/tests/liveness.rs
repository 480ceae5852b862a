//! Liveness payloads and their packets against independent implementations (`siphasher`, etherparse).

use std::hash::Hasher as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use proptest::prelude::*;
use siphasher::sip::SipHasher24;
use vip_common::net::header::{bytes_of, view_mut};
use vip_common::net::ip::mapped;
use vip_common::net::liveness::{
    self, ACTIVE, ECHO, Liveness, NOT_ACTIVE, PROBE, PacketV4, PacketV6, UNKNOWN,
};

const PORT: u16 = 8113;

/// SipHash by the other implementation, of everything before the code.
fn reference(payload: &[u8], key: [u64; 2]) -> [u8; 8] {
    let mut hasher = SipHasher24::new_with_keys(key[0], key[1]);
    hasher.write(&payload[..payload.len() - 8]);
    hasher.finish().to_le_bytes()
}

fn payload(bytes: &[u8; 104]) -> Liveness {
    bytemuck::pod_read_unaligned(bytes)
}

#[test]
fn siphash_gives_the_published_values() {
    // None is published for a message as long as ours, so the other implementation is held to the
    // one of the paper's appendix A, and ours to the other implementation.
    let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
    let message: Vec<u8> = (0..104).collect();
    let mut paper = SipHasher24::new_with_keys(key[0], key[1]);
    paper.write(&message[..15]);
    assert_eq!(paper.finish(), 0xa129_ca61_49be_45e5);
    let mut bytes = [0; 104];
    bytes.copy_from_slice(&message);
    assert_eq!(
        payload(&bytes).authentication_code(key),
        reference(&message, key)
    );
}

#[test]
fn a_probe_lies_on_the_wire_as_it_is_documented() {
    let probe = Liveness::probe(
        0x0102_0304_0506_0708,
        0x1112_1314_1516_1718,
        [1, 2, 3, 0, 0, 0, 0, 255],
        [7, 9],
    );
    let bytes = bytes_of(&probe);
    let mut expected = vec![b'V', b'P', 1, 1, 0, 0, 0, 0];
    expected.extend([1, 2, 3, 4, 5, 6, 7, 8]);
    expected.extend([0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18]);
    expected.extend([0; 8]);
    for vrid in [1, 2, 3, 0, 0, 0, 0, 255] {
        expected.extend([vrid, 0, 0, 0, 0, 0, 0, 0]);
    }
    assert_eq!(bytes[..96], expected);
    assert_eq!(bytes[96..], reference(bytes, [7, 9]));
    assert!(probe.is_known() && probe.kind == PROBE);
}

#[test]
fn other_beginnings_are_not_known() {
    let probe = Liveness::probe(1, 2, [0; 8], [3, 4]);
    for at in 0..3 {
        for bit in 0..8 {
            let mut bytes = [0; 104];
            bytes.copy_from_slice(bytes_of(&probe));
            bytes[at] ^= 1 << bit;
            assert!(!payload(&bytes).is_known(), "byte {at} bit {bit}");
        }
    }
}

#[test]
fn an_answer_changes_what_it_must_and_nothing_else() {
    let mut echo = Liveness::probe(5, 6, [1; 8], [3, 4]);
    let before = echo;
    echo.answer(0x0a0b, 0x0c0d);
    assert_eq!(
        echo,
        Liveness {
            kind: ECHO,
            incarnation: 0x0a0b_u64.to_be_bytes(),
            lease_left_ns: 0x0c0d_u64.to_be_bytes(),
            ..before
        }
    );
}

proptest! {
    #[test]
    fn siphash_equals_the_other_implementation(
        low in any::<[u8; 32]>(), middle in any::<[u8; 32]>(), high in any::<[u8; 32]>(),
        code in any::<[u8; 8]>(), key in any::<[u64; 2]>(),
    ) {
        let mut bytes = [0; 104];
        bytes.copy_from_slice(&[&low[..], &middle, &high, &code].concat());
        prop_assert_eq!(payload(&bytes).authentication_code(key), reference(&bytes, key));
    }

    #[test]
    fn a_probe_is_signed_with_its_key_and_no_other(
        nonce in any::<u64>(), incarnation in any::<u64>(), vrids in any::<[u8; 8]>(),
        key in any::<[u64; 2]>(), other in any::<[u64; 2]>(), at in 0..104_usize, flip in 1_u8..,
    ) {
        let probe = Liveness::probe(nonce, incarnation, vrids, key);
        prop_assert_eq!(probe.mac, probe.authentication_code(key));
        prop_assume!(other != key);
        prop_assert_ne!(probe.mac, probe.authentication_code(other));
        let mut bytes = [0; 104];
        bytes.copy_from_slice(bytes_of(&probe));
        bytes[at] ^= flip;
        let changed = payload(&bytes);
        prop_assert_ne!(changed.mac, changed.authentication_code(key));
    }

    #[test]
    fn entries_hold_what_was_put_in(vrid in any::<u8>(), epoch in any::<u32>()) {
        for state in [UNKNOWN, NOT_ACTIVE, ACTIVE] {
            let entry = liveness::entry(vrid, state, epoch);
            prop_assert_eq!(liveness::values(entry), (vrid, state, epoch));
            // As the data plane stamps it and the agent takes it apart.
            let word = u64::from_ne_bytes(entry);
            prop_assert_eq!(liveness::values(word.to_ne_bytes()), (vrid, state, epoch));
        }
    }

    #[test]
    fn an_ipv4_probe_is_recognised_and_sent_back(
        source in any::<[u8; 4]>(), destination in any::<[u8; 4]>(), port in any::<u16>(),
        ttl in any::<u8>(), nonce in any::<u64>(),
    ) {
        let probe = Liveness::probe(nonce, 1, [9; 8], [1, 2]);
        let mut bytes = Vec::new();
        PacketBuilder::ipv4(source, destination, ttl)
            .udp(port, PORT)
            .write(&mut bytes, bytes_of(&probe))?;
        let len = bytes.len();
        prop_assert_eq!(len, size_of::<PacketV4>());
        let Some(packet) = view_mut::<PacketV4>(&mut bytes, 0) else {
            return Err(TestCaseError::fail("a packet"));
        };
        prop_assert!(packet.is_liveness(PORT, len));
        prop_assert!(!packet.is_liveness(PORT, len - 1));
        prop_assert!(!packet.is_liveness(PORT + 1, len));
        prop_assert_eq!(packet.source(), mapped(source));
        prop_assert_eq!(packet.source(), Ipv4Addr::from(source).to_ipv6_mapped().octets());
        prop_assert_eq!(packet.destination(), mapped(destination));
        packet.send_back();

        let sliced = SlicedPacket::from_ip(&bytes)?;
        let Some(NetSlice::Ipv4(ip)) = &sliced.net else {
            return Err(TestCaseError::fail("IPv4"));
        };
        let header = ip.header().to_header();
        prop_assert_eq!((header.source, header.destination), (destination, source));
        prop_assert_eq!(header.time_to_live, 64);
        prop_assert_eq!(header.header_checksum, header.calc_header_checksum());
        let Some(TransportSlice::Udp(udp)) = &sliced.transport else {
            return Err(TestCaseError::fail("UDP"));
        };
        prop_assert_eq!((udp.source_port(), udp.destination_port()), (PORT, port));
        prop_assert_eq!(udp.checksum(), 0);
        prop_assert_eq!(udp.payload(), bytes_of(&probe));
    }

    #[test]
    fn an_ipv6_probe_is_recognised_and_sent_back(
        source in any::<[u8; 16]>(), destination in any::<[u8; 16]>(), port in any::<u16>(),
        hop_limit in any::<u8>(), nonce in any::<u64>(), key in any::<[u64; 2]>(),
    ) {
        let probe = Liveness::probe(nonce, nonce, [9; 8], key);
        let mut bytes = Vec::new();
        PacketBuilder::ipv6(source, destination, hop_limit)
            .udp(port, PORT)
            .write(&mut bytes, bytes_of(&probe))?;
        let len = bytes.len();
        prop_assert_eq!(len, size_of::<PacketV6>());
        let Some(packet) = view_mut::<PacketV6>(&mut bytes, 0) else {
            return Err(TestCaseError::fail("a packet"));
        };
        prop_assert!(packet.is_liveness(PORT, len));
        prop_assert!(!packet.is_liveness(PORT, len - 1));
        prop_assert!(!packet.is_liveness(PORT + 1, len));
        prop_assert_eq!((packet.source(), packet.destination()), (source, destination));
        packet.payload.answer(nonce, nonce);
        packet.send_back();

        let sliced = SlicedPacket::from_ip(&bytes)?;
        let Some(NetSlice::Ipv6(ip)) = &sliced.net else {
            return Err(TestCaseError::fail("IPv6"));
        };
        let header = ip.header();
        prop_assert_eq!(header.source_addr(), Ipv6Addr::from(destination));
        prop_assert_eq!(header.destination_addr(), Ipv6Addr::from(source));
        prop_assert_eq!(header.hop_limit(), 64);
        let Some(TransportSlice::Udp(udp)) = &sliced.transport else {
            return Err(TestCaseError::fail("UDP"));
        };
        prop_assert_eq!((udp.source_port(), udp.destination_port()), (PORT, port));
        let checksum = udp.to_header().calc_checksum_ipv6_raw(destination, source, udp.payload())?;
        prop_assert_eq!(udp.checksum(), checksum);
        prop_assert_ne!(udp.checksum(), 0);
    }
}

/// One in 65,536 datagrams sums to zero, which would mean that there is no checksum.
#[test]
fn an_ipv6_checksum_is_never_zero() {
    let probe = Liveness::probe(1, 1, [0; 8], [1, 1]);
    let (source, destination) = ([0x20; 16], [0x21; 16]);
    let mut zeros = 0;
    for port in 0..=u16::MAX {
        let mut bytes = Vec::new();
        let packet = PacketBuilder::ipv6(source, destination, 64).udp(port, PORT);
        assert!(packet.write(&mut bytes, bytes_of(&probe)).is_ok());
        let checksum = view_mut::<PacketV6>(&mut bytes, 0).map(|packet| {
            packet.send_back();
            packet.udp.check
        });
        assert_ne!(checksum, Some([0, 0]), "port {port}");
        zeros += u32::from(checksum == Some([0xff, 0xff]));
    }
    assert_eq!(zeros, 1, "every sum occurs once");
}
