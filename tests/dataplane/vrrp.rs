//! VRRP advertisements of others.

use std::net::{Ipv4Addr, Ipv6Addr};

use vip_common::abi::{ConflictKind, Counter, Event};

use super::fixture::{BACKUP, EXPIRED, Fixture, LOCAL, Lease, Macs, STEER, Setup, TAKING_OVER};
use super::frame::{Ipv4, Ipv6, Mac, Tags, ethernet};
use super::world::{
    CLIENT4, CLIENT6, ELSEWHERE, INGRESS, NO_INSTANCE_VRID, OTHER_VRID, OURS, STANDBY_VRID,
    STRANGER, VIRTUAL4, VRID,
};

const GROUP4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
const GROUP4_MAC: Mac = [0x01, 0, 0x5e, 0, 0, 18];
const GROUP6_MAC: Mac = [0x33, 0x33, 0, 0, 0, 0x12];
const VERSION_3: u8 = 0x31;

/// An advertisement: version and type, identifier, priority 100, one address.
fn advert(version_type: u8, vrid: u8) -> Vec<u8> {
    vec![
        version_type,
        vrid,
        100,
        1,
        0,
        100,
        0xab,
        0xcd,
        192,
        0,
        2,
        50,
    ]
}

fn ip4() -> Ipv4 {
    Ipv4 {
        ttl: 255,
        ..Ipv4::new(CLIENT4, GROUP4, 112)
    }
}

fn ip6() -> Ipv6 {
    Ipv6 {
        hop_limit: 255,
        ..Ipv6::new(CLIENT6, GROUP6, 112)
    }
}

fn frame4(from: Mac, tags: Tags, ip: &Ipv4, message: &[u8]) -> Vec<u8> {
    ethernet(GROUP4_MAC, from, tags, 0x0800, &ip.bytes(message))
}

fn frame6(from: Mac, tags: Tags, ip: Ipv6, message: &[u8]) -> Vec<u8> {
    ethernet(GROUP6_MAC, from, tags, 0x86dd, &ip.bytes(message))
}

/// Every fixture about VRRP.
pub fn fixtures() -> Vec<Fixture> {
    let mut all = Vec::new();
    for (tags, suffix) in Tags::ALL {
        for (version_type, version) in [(0x21, 2), (VERSION_3, 3)] {
            let message = advert(version_type, VRID);
            for (family, input, address) in [
                (
                    "IPv4",
                    frame4(STRANGER, tags, &ip4(), &message),
                    CLIENT4.to_ipv6_mapped(),
                ),
                ("IPv6", frame6(STRANGER, tags, ip6(), &message), CLIENT6),
            ] {
                for (setup, how) in [(LOCAL, "local"), (STEER, "steered")] {
                    let name = format!("{family}: version {version}, {how} VIP{suffix}");
                    all.push(conflict(
                        name,
                        setup,
                        input.clone(),
                        address,
                        STRANGER,
                        tags,
                    ));
                }
            }
        }
    }
    virtual_address(&mut all);
    no_conflict(&mut all);
    not_valid(&mut all);
    all
}

fn conflict(
    name: impl Into<String>,
    setup: Setup,
    input: Vec<u8>,
    address: Ipv6Addr,
    mac: Mac,
    tags: Tags,
) -> Fixture {
    let event = Event {
        kind: ConflictKind::Vrrp as u32,
        ifindex: INGRESS,
        address: address.octets(),
        mac,
        vlan: tags.vlan(),
        instance: 0,
        reserved: 0,
    };
    Fixture::passed(name, setup, input, Counter::VrrpConflict).event(event)
}

/// A router that uses the identifier sends from the very address that our VIPs are at.
fn virtual_address(all: &mut Vec<Fixture>) {
    let setup = Setup {
        macs: Macs::Virtual,
        ..LOCAL
    };
    let message = advert(VERSION_3, VRID);
    let input = frame4(VIRTUAL4, Tags::None, &ip4(), &message);
    let address = CLIENT4.to_ipv6_mapped();
    let name = "from our virtual address";
    all.push(conflict(name, setup, input, address, VIRTUAL4, Tags::None));
    let input = frame4(OURS, Tags::None, &ip4(), &message);
    let name = "from our interface, VIPs at virtual addresses";
    all.push(Fixture::ignored(name, setup, input));
}

fn no_conflict(all: &mut Vec<Fixture>) {
    let message = advert(VERSION_3, VRID);
    for (family, from_stranger, from_us) in [
        (
            "IPv4",
            frame4(STRANGER, Tags::None, &ip4(), &message),
            frame4(OURS, Tags::None, &ip4(), &message),
        ),
        (
            "IPv6",
            frame6(STRANGER, Tags::None, ip6(), &message),
            frame6(OURS, Tags::None, ip6(), &message),
        ),
    ] {
        let mut add = |name: &str, setup: Setup, input: &[u8]| {
            let name = format!("{family}: {name}");
            all.push(Fixture::ignored(name, setup, input.to_vec()));
        };
        add("while Backup", BACKUP, &from_stranger);
        add("lease expired", EXPIRED, &from_stranger);
        add("while taking over", TAKING_OVER, &from_stranger);
        let told = Setup {
            lease: Lease::ToldOver,
            ..LOCAL
        };
        add("told over", told, &from_stranger);
        let elsewhere = Setup {
            ifindex: ELSEWHERE,
            ..LOCAL
        };
        add("on another interface", elsewhere, &from_stranger);
        add("from our own address", LOCAL, &from_us);
    }
    for (name, vrid) in [
        ("an identifier that is not ours", OTHER_VRID),
        ("identifier 0", 0),
        ("an instance that is not Active", STANDBY_VRID),
        ("an instance that does not exist", NO_INSTANCE_VRID),
    ] {
        let message = advert(VERSION_3, vrid);
        let input = frame4(STRANGER, Tags::None, &ip4(), &message);
        all.push(Fixture::ignored(format!("IPv4: {name}"), LOCAL, input));
        let input = frame6(STRANGER, Tags::None, ip6(), &message);
        all.push(Fixture::ignored(format!("IPv6: {name}"), LOCAL, input));
    }
}

fn not_valid(all: &mut Vec<Fixture>) {
    let message = advert(VERSION_3, VRID);
    let mut add = |name: &str, input: Vec<u8>| all.push(Fixture::ignored(name, LOCAL, input));
    for (name, version_type) in [
        ("version 1", 0x11),
        ("version 4", 0x41),
        ("type 0", 0x30),
        ("type 2", 0x32),
    ] {
        let message = advert(version_type, VRID);
        add(
            &format!("IPv4: {name}"),
            frame4(STRANGER, Tags::None, &ip4(), &message),
        );
        add(
            &format!("IPv6: {name}"),
            frame6(STRANGER, Tags::None, ip6(), &message),
        );
    }
    for (name, ip) in [
        ("crossed a router", Ipv4 { ttl: 254, ..ip4() }),
        (
            "to one host",
            Ipv4 {
                destination: Ipv4Addr::new(192, 0, 2, 1),
                ..ip4()
            },
        ),
        (
            "another protocol",
            Ipv4 {
                protocol: 111,
                ..ip4()
            },
        ),
        (
            "a fragment",
            Ipv4 {
                fragment: 0x2000,
                ..ip4()
            },
        ),
        (
            "options",
            Ipv4 {
                options: vec![1; 4],
                ..ip4()
            },
        ),
        (
            "total length beyond the frame",
            Ipv4 {
                total_len: Some(200),
                ..ip4()
            },
        ),
    ] {
        add(
            &format!("IPv4: {name}"),
            frame4(STRANGER, Tags::None, &ip, &message),
        );
    }
    for (name, ip) in [
        (
            "crossed a router",
            Ipv6 {
                hop_limit: 254,
                ..ip6()
            },
        ),
        (
            "to another group",
            Ipv6 {
                destination: Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x13),
                ..ip6()
            },
        ),
        (
            "another protocol",
            Ipv6 {
                next_header: 111,
                ..ip6()
            },
        ),
        (
            "payload length beyond the frame",
            Ipv6 {
                payload_len: Some(100),
                ..ip6()
            },
        ),
    ] {
        add(
            &format!("IPv6: {name}"),
            frame6(STRANGER, Tags::None, ip, &message),
        );
    }
    add(
        "IPv4: seven bytes",
        frame4(STRANGER, Tags::None, &ip4(), &message[..7]),
    );
    add(
        "IPv6: seven bytes",
        frame6(STRANGER, Tags::None, ip6(), &message[..7]),
    );
}
