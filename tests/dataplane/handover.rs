//! An instance on its way from one node to another: taking over, and forwarding what still comes.

use super::fixture::{
    DRAINING, Drain, Fixture, LOCAL, Lease, Macs, Service, Setup, TAKING_OVER, for_all_tags,
    for_each_family,
};
use super::frame::{Arp, Ipv4, Ipv6, Mac, Tags, ethernet, icmpv6, nd_option};
use super::world::{
    BACKEND, BROADCAST, CLIENT, CLIENT4, CLIENT6, EGRESS, ELSEWHERE, OURS, PLAIN4, PLAIN6,
    STRANGER, SUCCESSOR, VIP4, VIP6, VIP6_GROUP, VIP6_GROUP_MAC, VIRTUAL4, VIRTUAL6,
};
use vip_common::abi::Counter;

const UDP: u8 = 17;
const DATA: &[u8] = b"still under way";

/// Every fixture about an instance that changes hands.
pub fn fixtures() -> Vec<Fixture> {
    let mut all = Vec::new();
    for_all_tags(&mut all, |all, tags| {
        taking_over(all, tags);
        for_each_family(all, |all, v6| {
            drained(all, v6, tags);
            not_drained(all, v6, tags);
            virtually(all, v6, tags);
        });
    });
    all
}

/// A packet to the VIP.
fn packet(v6: bool, ttl: u8) -> Vec<u8> {
    if v6 {
        let ip = Ipv6::new(CLIENT6, VIP6, UDP);
        Ipv6 {
            hop_limit: ttl,
            ..ip
        }
        .bytes(DATA)
    } else {
        let ip = Ipv4::new(CLIENT4, VIP4, UDP);
        Ipv4 { ttl, ..ip }.bytes(DATA)
    }
}

fn frame(v6: bool, to: Mac, from: Mac, tags: Tags, packet: &[u8]) -> Vec<u8> {
    let ether_type = if v6 { 0x86dd } else { 0x0800 };
    ethernet(to, from, tags, ether_type, packet)
}

/// A node that takes an instance over takes packets, and leaves the answers to the other.
fn taking_over(all: &mut Vec<Fixture>, tags: Tags) {
    let local = Setup {
        service: Service::Local,
        ..TAKING_OVER
    };
    let ask = Arp::request(CLIENT, CLIENT4, VIP4).bytes();
    let solicit = |source, options: &[u8]| {
        let body = [&VIP6.octets()[..], options].concat();
        let message = icmpv6(source, VIP6_GROUP, 135, 0, [0; 4], &body);
        let ip = Ipv6 {
            hop_limit: 255,
            ..Ipv6::new(source, VIP6_GROUP, 58)
        };
        ethernet(VIP6_GROUP_MAC, CLIENT, tags, 0x86dd, &ip.bytes(&message))
    };
    let claim = Arp::reply(STRANGER, VIP4, BROADCAST, VIP4).bytes();
    let announced = Arp::request(STRANGER, VIP4, VIP4).bytes();
    let mut dropped = |name: &str, input: Vec<u8>, counter: Counter| {
        all.push(Fixture::dropped(name, local, input, counter));
    };
    dropped(
        "ARP request while taking over",
        ethernet(BROADCAST, CLIENT, tags, 0x0806, &ask),
        Counter::ArpTakingOver,
    );
    dropped(
        "unicast ARP request while taking over",
        ethernet(OURS, CLIENT, tags, 0x0806, &ask),
        Counter::ArpTakingOver,
    );
    dropped(
        "the other node's announcement while taking over",
        ethernet(BROADCAST, STRANGER, tags, 0x0806, &announced),
        Counter::ArpTakingOver,
    );
    dropped(
        "solicitation while taking over",
        solicit(CLIENT6, &nd_option(1, 1, &CLIENT)),
        Counter::NdTakingOver,
    );
    dropped(
        "duplicate detection while taking over",
        solicit(std::net::Ipv6Addr::UNSPECIFIED, &[]),
        Counter::NdTakingOver,
    );
    all.push(Fixture::ignored(
        "the other node's claim while taking over",
        local,
        ethernet(BROADCAST, STRANGER, tags, 0x0806, &claim),
    ));
    for v6 in [false, true] {
        let vip = u32::from(v6);
        let family = if v6 { "IPv6" } else { "IPv4" };
        let input = frame(v6, OURS, CLIENT, tags, &packet(v6, 64));
        all.push(
            Fixture::passed(
                format!("{family} to a local VIP while taking over"),
                local,
                input.clone(),
                Counter::PassLocal,
            )
            .vip(vip),
        );
        let output = frame(v6, BACKEND, EGRESS, tags, &packet(v6, 63));
        all.push(
            Fixture::sent(
                format!("{family} steered while taking over"),
                TAKING_OVER,
                input,
                Counter::SteerTx,
                output,
            )
            .vip(vip)
            .backend(0),
        );
    }
}

fn drained(all: &mut Vec<Fixture>, v6: bool, tags: Tags) {
    let mut forwarded = |name: &str, setup: Setup, packet: &[u8]| {
        let input = frame(v6, OURS, CLIENT, tags, packet);
        let output = frame(v6, SUCCESSOR, OURS, tags, packet);
        all.push(Fixture::sent(
            name,
            setup,
            input,
            Counter::DrainForwarded,
            output,
        ));
    };
    let local = Setup {
        service: Service::Local,
        ..DRAINING
    };
    let whole = packet(v6, 64);
    forwarded("forwarded to the successor", DRAINING, &whole);
    forwarded("forwarded to the successor, local VIP", local, &whole);
    forwarded(
        "forwarded though the agent is gone",
        Setup {
            lease: Lease::BackupExpired,
            ..DRAINING
        },
        &whole,
    );
    // A bridge does not count hops, nor look into what it forwards.
    forwarded("forwarded with one hop left", DRAINING, &packet(v6, 1));
    let header = if v6 { 40 } else { 20 };
    forwarded("a bare header is forwarded", DRAINING, &whole[..header]);
}

fn not_drained(all: &mut Vec<Fixture>, v6: bool, tags: Tags) {
    let whole = packet(v6, 64);
    let to_us = frame(v6, OURS, CLIENT, tags, &whole);
    let with = |drain| Setup { drain, ..DRAINING };
    let claimed = |lease| Setup { lease, ..DRAINING };
    let mut add = |name: &str, setup: Setup, input: &[u8], counter: Counter| {
        all.push(Fixture::dropped(name, setup, input.to_vec(), counter));
    };
    let mut not_active = |name: &str, setup: Setup, input: &[u8]| {
        add(name, setup, input, Counter::DropNotActive);
    };
    not_active("the drain is over", with(Drain::Over(SUCCESSOR)), &to_us);
    not_active("the successor is not known", with(Drain::Unknown), &to_us);
    not_active("nobody took over", with(Drain::None), &to_us);
    // The agent died while Active: a successor named earlier is none now.
    not_active("claimed, lease expired", claimed(Lease::Expired), &to_us);
    not_active("claimed, told over", claimed(Lease::ToldOver), &to_us);
    not_active(
        "on another interface while draining",
        Setup {
            ifindex: ELSEWHERE,
            ..DRAINING
        },
        &to_us,
    );
    let broadcast = frame(v6, BROADCAST, CLIENT, tags, &whole);
    not_active("broadcast while draining", DRAINING, &broadcast);
    let group = frame(v6, [0x01, 0, 0x5e, 0, 0, 9], CLIENT, tags, &whole);
    not_active("multicast while draining", DRAINING, &group);
    let stray = frame(v6, STRANGER, CLIENT, tags, &whole);
    not_active("to another station while draining", DRAINING, &stray);
    let returned = frame(v6, STRANGER, SUCCESSOR, tags, &whole);
    not_active("from the successor to another", DRAINING, &returned);
    let looped = frame(v6, OURS, SUCCESSOR, tags, &whole);
    add(
        "from the successor while draining",
        DRAINING,
        &looped,
        Counter::DropDrainLoop,
    );
    let plain = if v6 {
        Ipv6::new(CLIENT6, PLAIN6, UDP).bytes(DATA)
    } else {
        Ipv4::new(CLIENT4, PLAIN4, UDP).bytes(DATA)
    };
    let plain = frame(v6, OURS, CLIENT, tags, &plain);
    all.push(Fixture::ignored(
        "no VIP's packet while draining",
        DRAINING,
        plain,
    ));
    // Claimed again, nothing is forwarded, whatever the slot still says.
    let again = Setup {
        lease: Lease::Active,
        ..with(Drain::To(SUCCESSOR))
    };
    let again = Setup {
        service: Service::Local,
        ..again
    };
    let vip = u32::from(v6);
    all.push(Fixture::passed("claimed again", again, to_us, Counter::PassLocal).vip(vip));
    let back = frame(v6, OURS, SUCCESSOR, tags, &whole);
    all.push(
        Fixture::passed(
            "forwarded by the one before us",
            LOCAL,
            back,
            Counter::PassLocal,
        )
        .vip(vip),
    );
}

/// With virtual addresses, frames to either are forwarded, and leave from the interface's own.
fn virtually(all: &mut Vec<Fixture>, v6: bool, tags: Tags) {
    let setup = Setup {
        macs: Macs::Virtual,
        ..DRAINING
    };
    let (own, others) = if v6 {
        (VIRTUAL6, VIRTUAL4)
    } else {
        (VIRTUAL4, VIRTUAL6)
    };
    let whole = packet(v6, 64);
    let output = frame(v6, SUCCESSOR, OURS, tags, &whole);
    for (name, to) in [("virtual address", own), ("interface", OURS)] {
        all.push(Fixture::sent(
            format!("to the {name} while draining"),
            setup,
            frame(v6, to, CLIENT, tags, &whole),
            Counter::DrainForwarded,
            output.clone(),
        ));
    }
    all.push(Fixture::dropped(
        "to the other family's virtual address while draining",
        setup,
        frame(v6, others, CLIENT, tags, &whole),
        Counter::DropNotActive,
    ));
}
