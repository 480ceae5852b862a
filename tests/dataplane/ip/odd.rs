//! Malformed and unusual packets.

use vip_common::abi::Counter;

use super::{Family, SEGMENT, TCP};
use crate::fixture::{Fixture, LOCAL, STEER};
use crate::frame::{Ipv4, Ipv6, Tags, icmp, icmpv6, padded};
use crate::world::{CLIENT4, CLIENT6, OURS, VIP4, VIP6};

pub fn malformed(all: &mut Vec<Fixture>) {
    let v4 = Ipv4::new(CLIENT4, VIP4, TCP);
    let v6 = Ipv6::new(CLIENT6, VIP6, TCP);
    let len = 20 + SEGMENT.len() as u16;
    for (name, ip) in [
        (
            "version 5",
            Ipv4 {
                version: 5,
                ..v4.clone()
            },
        ),
        (
            "version 6",
            Ipv4 {
                version: 6,
                ..v4.clone()
            },
        ),
        (
            "header of 16 bytes",
            Ipv4 {
                header_words: Some(4),
                ..v4.clone()
            },
        ),
        (
            "header of 0 bytes",
            Ipv4 {
                header_words: Some(0),
                ..v4.clone()
            },
        ),
        (
            "header longer than the datagram",
            Ipv4 {
                header_words: Some(15),
                ..v4.clone()
            },
        ),
        (
            "total length 0",
            Ipv4 {
                total_len: Some(0),
                ..v4.clone()
            },
        ),
        (
            "total length below the header",
            Ipv4 {
                total_len: Some(19),
                ..v4.clone()
            },
        ),
        (
            "total length beyond the frame",
            Ipv4 {
                total_len: Some(len + 1),
                ..v4.clone()
            },
        ),
        (
            "largest total length",
            Ipv4 {
                total_len: Some(u16::MAX),
                ..v4
            },
        ),
    ] {
        let input = Family::V4.frame(OURS, Tags::None, &ip.bytes(SEGMENT));
        for (setup, how) in [(STEER, ""), (LOCAL, ", local VIP")] {
            let name = format!("IPv4: {name}{how}");
            all.push(Fixture::dropped(
                name,
                setup,
                input.clone(),
                Counter::DropMalformed,
            ));
        }
    }
    let len = SEGMENT.len() as u16;
    for (name, ip) in [
        (
            "version 4",
            Ipv6 {
                first_word: 0x4000_0000,
                ..v6
            },
        ),
        (
            "version 0",
            Ipv6 {
                first_word: 0,
                ..v6
            },
        ),
        (
            "payload length beyond the frame",
            Ipv6 {
                payload_len: Some(len + 1),
                ..v6
            },
        ),
        (
            "largest payload length",
            Ipv6 {
                payload_len: Some(u16::MAX),
                ..v6
            },
        ),
    ] {
        let input = Family::V6.frame(OURS, Tags::None, &ip.bytes(SEGMENT));
        for (setup, how) in [(STEER, ""), (LOCAL, ", local VIP")] {
            let name = format!("IPv6: {name}{how}");
            all.push(Fixture::dropped(
                name,
                setup,
                input.clone(),
                Counter::DropMalformed,
            ));
        }
    }
    for (family, header) in [(Family::V4, 20), (Family::V6, 40)] {
        let whole = family.frame(OURS, Tags::None, &family.packet(64));
        for (len, what) in [
            (14, "without an IP header"),
            (14 + header - 1, "without the IP header's last byte"),
        ] {
            let name = format!("{}: frame {what}", family.name());
            all.push(Fixture::ignored(name, STEER, whole[..len].to_vec()));
        }
        let name = format!("{}: frame without the datagram's last byte", family.name());
        let cut = whole[..whole.len() - 1].to_vec();
        all.push(Fixture::dropped(name, STEER, cut, Counter::DropMalformed));
    }
}

pub fn unusual_v4(all: &mut Vec<Fixture>) {
    let family = Family::V4;
    let base = Ipv4::new(CLIENT4, VIP4, TCP);
    let ping = icmp(8, 0, [0, 7, 0, 1], b"fragment me");
    let options = vec![0x94, 4, 0, 0];
    let icmp_ip = Ipv4 {
        protocol: 1,
        ..base.clone()
    };
    for (name, ip, payload) in [
        (
            "options",
            Ipv4 {
                options: options.clone(),
                ..base.clone()
            },
            SEGMENT,
        ),
        (
            "all options there can be",
            Ipv4 {
                options: vec![1; 40],
                ..base.clone()
            },
            SEGMENT,
        ),
        (
            "first fragment",
            Ipv4 {
                fragment: 0x2000,
                ..base.clone()
            },
            SEGMENT,
        ),
        (
            "later fragment",
            Ipv4 {
                fragment: 0x2010,
                ..base.clone()
            },
            &SEGMENT[..3],
        ),
        (
            "last fragment",
            Ipv4 {
                fragment: 0x0010,
                ..base.clone()
            },
            &SEGMENT[..1],
        ),
        ("no payload", base.clone(), &[]),
        (
            "unknown protocol",
            Ipv4 {
                protocol: 253,
                ..base.clone()
            },
            SEGMENT,
        ),
        (
            "first fragment of an echo",
            Ipv4 {
                fragment: 0x2000,
                ..icmp_ip.clone()
            },
            &ping,
        ),
        (
            "later fragment of an echo",
            Ipv4 {
                fragment: 0x0001,
                ..icmp_ip.clone()
            },
            &ping,
        ),
        (
            "echo with options",
            Ipv4 {
                options,
                ..icmp_ip.clone()
            },
            &ping,
        ),
        ("ICMP of 7 bytes", icmp_ip.clone(), &ping[..7]),
        (
            "ICMP unreachable",
            icmp_ip.clone(),
            &icmp(3, 4, [0, 0, 5, 0], b"inner"),
        ),
        (
            "echo request with a code",
            icmp_ip,
            &icmp(8, 1, [0; 4], b""),
        ),
    ] {
        let input = family.frame(OURS, Tags::None, &ip.bytes(payload));
        let next = Ipv4 { ttl: 63, ..ip };
        let output = family.steered(Tags::None, &next.bytes(payload));
        let fixture = Fixture::sent(
            format!("IPv4: {name}"),
            STEER,
            input,
            Counter::SteerTx,
            output,
        );
        all.push(fixture.vip(0).backend(0));
    }
    // Padding is no part of the datagram but of the frame, and is counted.
    let (input, output) = (
        padded(family.frame(OURS, Tags::None, &base.bytes(b"x"))),
        padded(
            family.steered(
                Tags::None,
                &Ipv4 {
                    ttl: 63,
                    ..base.clone()
                }
                .bytes(b"x"),
            ),
        ),
    );
    all.push(
        Fixture::sent(
            "IPv4: padded to the minimum",
            STEER,
            input,
            Counter::SteerTx,
            output,
        )
        .vip(0)
        .backend(0),
    );
    // A VIP that is a packet's own source gets no special treatment.
    let land = Ipv4 {
        source: VIP4,
        ..base
    };
    let output = family.steered(
        Tags::None,
        &Ipv4 {
            ttl: 63,
            ..land.clone()
        }
        .bytes(SEGMENT),
    );
    let input = family.frame(OURS, Tags::None, &land.bytes(SEGMENT));
    all.push(
        Fixture::sent(
            "IPv4: from the VIP to itself",
            STEER,
            input,
            Counter::SteerTx,
            output,
        )
        .vip(0)
        .backend(0),
    );
}

pub fn unusual_v6(all: &mut Vec<Fixture>) {
    let family = Family::V6;
    let base = Ipv6::new(CLIENT6, VIP6, TCP);
    let ping = icmpv6(CLIENT6, VIP6, 128, 0, [0, 7, 0, 1], b"fragment me");
    let fragment = [&[58, 0, 0, 1, 0, 0, 0, 9][..], &ping].concat();
    let hop_by_hop = [&[58, 0, 1, 4, 0, 0, 0, 0][..], &ping].concat();
    let icmp_ip = Ipv6 {
        next_header: 58,
        ..base
    };
    let coloured = Ipv6 {
        first_word: 0x6b8f_fff0,
        ..base
    };
    for (name, ip, payload) in [
        ("traffic class and flow label", coloured, SEGMENT),
        ("no payload", base, &[]),
        (
            "no next header",
            Ipv6 {
                next_header: 59,
                ..base
            },
            SEGMENT,
        ),
        (
            "fragment",
            Ipv6 {
                next_header: 44,
                ..base
            },
            &fragment,
        ),
        (
            "echo behind a hop-by-hop header",
            Ipv6 {
                next_header: 0,
                ..base
            },
            &hop_by_hop,
        ),
        ("ICMPv6 of 7 bytes", icmp_ip, &ping[..7]),
        (
            "packet too big",
            icmp_ip,
            &icmpv6(CLIENT6, VIP6, 2, 0, [0, 0, 5, 0], b"inner"),
        ),
        (
            "echo request with a code",
            icmp_ip,
            &icmpv6(CLIENT6, VIP6, 128, 1, [0; 4], b""),
        ),
        (
            "payload length 0 before bytes",
            Ipv6 {
                payload_len: Some(0),
                ..base
            },
            SEGMENT,
        ),
    ] {
        let input = family.frame(OURS, Tags::None, &ip.bytes(payload));
        let next = Ipv6 {
            hop_limit: 63,
            ..ip
        };
        let output = family.steered(Tags::None, &next.bytes(payload));
        let fixture = Fixture::sent(
            format!("IPv6: {name}"),
            STEER,
            input,
            Counter::SteerTx,
            output,
        );
        all.push(fixture.vip(1).backend(0));
    }
}
