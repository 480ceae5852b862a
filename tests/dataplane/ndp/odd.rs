//! Solicitations that must not be answered, and messages that are none of ours.

use vip_common::abi::Counter;

use super::{IPV6, LONGEST_OPTIONS, OVERRIDE, Solicitation, advertisement};
use crate::fixture::{BACKUP, Fixture, LOCAL};
use crate::frame::{Ipv6, Tags, ethernet, icmpv6, nd_option};
use crate::world::{
    ALL_NODES, ALL_NODES_MAC, CLIENT, CLIENT6, NO_INSTANCE6, OURS, PLAIN6, STANDBY6, STRANGER,
    VIP6, VIP6_GROUP,
};

pub fn invalid(all: &mut Vec<Fixture>) {
    let (multicast, unicast) = (Solicitation::multicast(), Solicitation::unicast());
    let detection = Solicitation::duplicate_detection();
    let mut add = |name: &str, input: Vec<u8>| {
        all.push(Fixture::dropped(name, LOCAL, input, Counter::NdInvalid));
    };
    let mut change = |name: &str, ask: &Solicitation| add(name, ask.frame(Tags::None));
    change(
        "hop limit 64",
        &Solicitation {
            hop_limit: 64,
            ..multicast.clone()
        },
    );
    change(
        "hop limit 254",
        &Solicitation {
            hop_limit: 254,
            ..multicast.clone()
        },
    );
    change(
        "code 1",
        &Solicitation {
            code: 1,
            ..multicast.clone()
        },
    );
    change(
        "option of length 0",
        &multicast.clone().options(&[vec![1, 0, 2, 0, 0, 0, 0, 1]]),
    );
    change(
        "option longer than the message",
        &multicast.clone().options(&[vec![1, 2, 0, 0, 0, 0, 0, 0]]),
    );
    change(
        "option of half a unit",
        &multicast.clone().options(&[vec![1, 1, 0, 0]]),
    );
    change(
        "source is a group",
        &Solicitation {
            source: ALL_NODES,
            ..multicast.clone()
        },
    );
    change(
        "duplicate detection sent to the VIP",
        &Solicitation {
            destination: VIP6,
            to: OURS,
            ..detection.clone()
        },
    );
    change(
        "duplicate detection sent to all nodes",
        &Solicitation {
            destination: ALL_NODES,
            to: ALL_NODES_MAC,
            ..detection.clone()
        },
    );
    change(
        "duplicate detection with a source option",
        &detection.options(&[nd_option(1, 1, &CLIENT)]),
    );
    change(
        "too long",
        &multicast
            .clone()
            .options(&[nd_option(200, LONGEST_OPTIONS + 1, &[])]),
    );

    let good = multicast.frame(Tags::None);
    let corrupt = |index: usize, bit: u8| {
        let mut frame = good.clone();
        frame[index] ^= bit;
        frame
    };
    add("checksum wrong in its first byte", corrupt(14 + 42, 0x80));
    add("checksum wrong in its second byte", corrupt(14 + 43, 1));
    add("a bit of the option flipped", corrupt(good.len() - 1, 1));
    add("a bit of the source flipped", corrupt(14 + 8 + 15, 1));
    let mut zeroed = good.clone();
    zeroed[14 + 42..14 + 44].fill(0);
    add("checksum zero", zeroed);
    add("version 5", corrupt(14, 0x30));

    let lying = |len: u16| {
        let ip = Ipv6 {
            hop_limit: 255,
            payload_len: Some(len),
            ..Ipv6::new(CLIENT6, VIP6, 58)
        };
        ethernet(
            OURS,
            CLIENT,
            Tags::None,
            IPV6,
            &ip.bytes(&unicast.message()),
        )
    };
    add("payload length 0", lying(0));
    add("payload length 16", lying(16));
    add("payload length beyond the frame", lying(40));
    add("payload length of the largest packet", lying(u16::MAX));
}

pub fn not_ours(all: &mut Vec<Fixture>) {
    let mut add = |name: &str, input: Vec<u8>| all.push(Fixture::ignored(name, LOCAL, input));
    add(
        "solicitation for another address",
        Solicitation {
            target: PLAIN6,
            ..Solicitation::multicast()
        }
        .frame(Tags::None),
    );
    let mut foreign = advertisement(STRANGER, ALL_NODES, OVERRIDE, &[]);
    foreign[14 + 40 + 8..14 + 40 + 24].copy_from_slice(&PLAIN6.octets());
    add("advertisement for another address", foreign);
    let routers = icmpv6(CLIENT6, ALL_NODES, 133, 0, [0; 4], &VIP6.octets());
    let ip = Ipv6 {
        hop_limit: 255,
        ..Ipv6::new(CLIENT6, ALL_NODES, 58)
    };
    add(
        "router solicitation",
        ethernet(ALL_NODES_MAC, CLIENT, Tags::None, IPV6, &ip.bytes(&routers)),
    );
    // An extension header hides the message; RFC 6980 forbids fragments and nobody sends others.
    let ask = Solicitation::multicast();
    let hidden = [&[58, 0, 1, 4, 0, 0, 0, 0][..], &ask.message()].concat();
    let ip = Ipv6 {
        hop_limit: 255,
        ..Ipv6::new(CLIENT6, VIP6_GROUP, 0)
    };
    add(
        "solicitation behind a hop-by-hop header",
        ethernet(ask.to, CLIENT, Tags::None, IPV6, &ip.bytes(&hidden)),
    );
    // Claims about a VIP whose slot is missing, or that some other node is Active for.
    for (name, target) in [
        ("a standby VIP", STANDBY6),
        ("a VIP without instance", NO_INSTANCE6),
    ] {
        let mut claim = advertisement(STRANGER, ALL_NODES, OVERRIDE, &[]);
        claim[14 + 40 + 8..14 + 40 + 24].copy_from_slice(&target.octets());
        add(&format!("advertisement for {name}"), claim);
    }

    // With the VIP as destination and another target they are packets like any other.
    let to_vip = Solicitation {
        target: PLAIN6,
        ..Solicitation::unicast()
    }
    .frame(Tags::None);
    all.push(
        Fixture::passed(
            "solicitation to the VIP for another target",
            LOCAL,
            to_vip,
            Counter::PassLocal,
        )
        .vip(1),
    );
    let data = [&PLAIN6.octets()[..], &nd_option(2, 1, &STRANGER)].concat();
    let message = icmpv6(PLAIN6, VIP6, 136, 0, [0x60, 0, 0, 0], &data);
    let ip = Ipv6 {
        hop_limit: 255,
        ..Ipv6::new(PLAIN6, VIP6, 58)
    };
    let answer = ethernet(OURS, STRANGER, Tags::None, IPV6, &ip.bytes(&message));
    all.push(
        Fixture::passed(
            "advertisement to the VIP about another",
            LOCAL,
            answer.clone(),
            Counter::PassLocal,
        )
        .vip(1),
    );
    all.push(Fixture::dropped(
        "advertisement to the VIP about another while Backup",
        BACKUP,
        answer,
        Counter::DropNotActive,
    ));
}
