//! VIPs at virtual hardware addresses.

use vip_common::abi::{ConflictKind, Counter, Event};

use super::fixture::{Fixture, LOCAL, Macs, STEER, Setup, for_all_tags, for_each_family};
use super::frame::{Arp, Ipv4, Ipv6, Mac, Tags, ethernet, icmp, icmpv6, nd_option};
use super::world::{
    ALL_NODES, ALL_NODES_MAC, BACKEND, BROADCAST, CLIENT, CLIENT4, CLIENT6, EGRESS, INGRESS, OURS,
    STRANGER, VIP4, VIP6, VIP6_GROUP, VIP6_GROUP_MAC, VIRTUAL4, VIRTUAL6,
};

const LOCALLY: Setup = Setup {
    macs: Macs::Virtual,
    ..LOCAL
};
const STEERED: Setup = Setup {
    macs: Macs::Virtual,
    ..STEER
};

/// Every fixture about virtual hardware addresses.
pub fn fixtures() -> Vec<Fixture> {
    let mut all = Vec::new();
    for_all_tags(&mut all, |all, tags| {
        arp(all, tags);
        nd(all, tags);
        for_each_family(all, |all, v6| ip(all, v6, tags));
    });
    all
}

fn arp(all: &mut Vec<Fixture>, tags: Tags) {
    let frame = |to, from, arp: Arp| ethernet(to, from, tags, 0x0806, &arp.bytes());
    let ask = Arp::request(CLIENT, CLIENT4, VIP4);
    let answer = frame(
        CLIENT,
        VIRTUAL4,
        Arp::reply(VIRTUAL4, VIP4, CLIENT, CLIENT4),
    );
    for (name, to) in [
        ("by broadcast", BROADCAST),
        ("to the virtual address", VIRTUAL4),
        ("to the interface", OURS),
    ] {
        let name = format!("ARP request {name}");
        let input = frame(to, CLIENT, ask);
        all.push(Fixture::sent(
            name,
            LOCALLY,
            input,
            Counter::ArpReply,
            answer.clone(),
        ));
    }
    all.push(Fixture::dropped(
        "ARP request to the IPv6 virtual address",
        LOCALLY,
        frame(VIRTUAL6, CLIENT, ask),
        Counter::ArpOtherMac,
    ));
    for (name, mac) in [("virtual address", VIRTUAL4), ("interface", OURS)] {
        all.push(Fixture::dropped(
            format!("announcement from our {name} comes back"),
            LOCALLY,
            frame(BROADCAST, mac, Arp::request(mac, VIP4, VIP4)),
            Counter::ArpOwn,
        ));
        all.push(Fixture::ignored(
            format!("reply from our {name} comes back"),
            LOCALLY,
            frame(CLIENT, mac, Arp::reply(mac, VIP4, CLIENT, CLIENT4)),
        ));
    }
    let event = Event {
        kind: ConflictKind::Arp as u32,
        ifindex: INGRESS,
        address: VIP4.to_ipv6_mapped().octets(),
        mac: VIRTUAL6,
        vlan: tags.vlan(),
        instance: 0,
        reserved: 0,
    };
    let claim = Arp::reply(VIRTUAL6, VIP4, BROADCAST, VIP4);
    all.push(
        Fixture::passed(
            "ARP claim with the IPv6 virtual address",
            LOCALLY,
            frame(BROADCAST, STRANGER, claim),
            Counter::ArpConflict,
        )
        .event(event),
    );
}

fn nd(all: &mut Vec<Fixture>, tags: Tags) {
    let frame = |to: Mac, from: Mac, source, destination, message: &[u8]| {
        let ip = Ipv6 {
            hop_limit: 255,
            ..Ipv6::new(source, destination, 58)
        };
        ethernet(to, from, tags, 0x86dd, &ip.bytes(message))
    };
    let ask = |to, destination| {
        let body = [&VIP6.octets()[..], &nd_option(1, 1, &CLIENT)].concat();
        let message = icmpv6(CLIENT6, destination, 135, 0, [0; 4], &body);
        frame(to, CLIENT, CLIENT6, destination, &message)
    };
    let say = |to, destination, flags, mac: Mac| {
        let body = [&VIP6.octets()[..], &nd_option(2, 1, &mac)].concat();
        let message = icmpv6(VIP6, destination, 136, 0, [flags, 0, 0, 0], &body);
        frame(to, mac, VIP6, destination, &message)
    };
    let answer = say(CLIENT, CLIENT6, 0x60, VIRTUAL6);
    for (name, input) in [
        ("to the group", ask(VIP6_GROUP_MAC, VIP6_GROUP)),
        ("to the virtual address", ask(VIRTUAL6, VIP6)),
        ("to the interface", ask(OURS, VIP6)),
    ] {
        let name = format!("solicitation {name}");
        all.push(Fixture::sent(
            name,
            LOCALLY,
            input,
            Counter::NdReply,
            answer.clone(),
        ));
    }
    all.push(Fixture::dropped(
        "solicitation to the IPv4 virtual address",
        LOCALLY,
        ask(VIRTUAL4, VIP6),
        Counter::NdOtherMac,
    ));
    for (name, mac) in [("virtual address", VIRTUAL6), ("interface", OURS)] {
        all.push(Fixture::ignored(
            format!("advertisement from our {name} comes back"),
            LOCALLY,
            say(ALL_NODES_MAC, ALL_NODES, 0x20, mac),
        ));
    }
    let event = Event {
        kind: ConflictKind::NeighborAdvertisement as u32,
        ifindex: INGRESS,
        address: VIP6.octets(),
        mac: VIRTUAL4,
        vlan: tags.vlan(),
        instance: 0,
        reserved: 0,
    };
    all.push(
        Fixture::passed(
            "advertisement with the IPv4 virtual address",
            LOCALLY,
            say(ALL_NODES_MAC, ALL_NODES, 0x20, VIRTUAL4),
            Counter::NdConflict,
        )
        .event(event),
    );
}

fn ip(all: &mut Vec<Fixture>, v6: bool, tags: Tags) {
    let frame = |to: Mac, from: Mac, packet: &[u8]| {
        ethernet(to, from, tags, if v6 { 0x86dd } else { 0x0800 }, packet)
    };
    let packet = |ttl| {
        if v6 {
            let ip = Ipv6::new(CLIENT6, VIP6, 17);
            Ipv6 {
                hop_limit: ttl,
                ..ip
            }
            .bytes(b"data")
        } else {
            let ip = Ipv4::new(CLIENT4, VIP4, 17);
            Ipv4 { ttl, ..ip }.bytes(b"data")
        }
    };
    let (own, others) = if v6 {
        (VIRTUAL6, VIRTUAL4)
    } else {
        (VIRTUAL4, VIRTUAL6)
    };
    let vip = u32::from(v6);
    let whole = packet(64);
    for (name, to, delivered) in [
        // The stack takes frames to the interface's own address only.
        ("the virtual address", own, OURS),
        ("the interface", OURS, OURS),
        ("all stations", BROADCAST, BROADCAST),
    ] {
        let input = frame(to, CLIENT, &whole);
        all.push(
            Fixture::passed(
                format!("local VIP, to {name}"),
                LOCALLY,
                input.clone(),
                Counter::PassLocal,
            )
            .output(frame(delivered, CLIENT, &whole))
            .vip(vip),
        );
        let output = frame(BACKEND, EGRESS, &packet(63));
        all.push(
            Fixture::sent(
                format!("steered VIP, to {name}"),
                STEERED,
                input,
                Counter::SteerTx,
                output,
            )
            .vip(vip)
            .backend(0),
        );
    }
    for (setup, how) in [(LOCALLY, "local"), (STEERED, "steered")] {
        for (name, to) in [("other family's", others), ("stranger's", STRANGER)] {
            all.push(Fixture::passed(
                format!("{how} VIP, to the {name} address"),
                setup,
                frame(to, CLIENT, &whole),
                Counter::PassOtherMac,
            ));
        }
    }
    let ping = |reply: bool| {
        let rest = [0x12, 0x34, 0, 1];
        if v6 {
            let (source, destination, kind) = if reply {
                (VIP6, CLIENT6, 129)
            } else {
                (CLIENT6, VIP6, 128)
            };
            let message = icmpv6(source, destination, kind, 0, rest, b"ping");
            Ipv6::new(source, destination, 58).bytes(&message)
        } else {
            let (source, destination, kind) = if reply {
                (VIP4, CLIENT4, 0)
            } else {
                (CLIENT4, VIP4, 8)
            };
            Ipv4::new(source, destination, 1).bytes(&icmp(kind, 0, rest, b"ping"))
        }
    };
    for (name, to) in [("the virtual address", own), ("the interface", OURS)] {
        let input = frame(to, CLIENT, &ping(false));
        let output = frame(CLIENT, own, &ping(true));
        all.push(
            Fixture::sent(
                format!("echo request to {name}"),
                STEERED,
                input,
                Counter::EchoReply,
                output,
            )
            .vip(vip),
        );
    }
}
