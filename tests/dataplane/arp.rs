//! ARP.

use std::net::Ipv4Addr;

use vip_common::abi::{ConflictKind, Counter, Event};

use super::fixture::{BACKUP, EXPIRED, Fixture, LOCAL, STEER, Setup};
use super::frame::{Arp, Mac, Tags, ethernet, padded};
use super::world::{
    BROADCAST, CLIENT, CLIENT4, ELSEWHERE, INGRESS, NO_INSTANCE4, OURS, PLAIN4, STANDBY4, STRANGER,
    VIP4,
};

const ARP: u16 = 0x0806;

/// Every fixture about ARP.
pub fn fixtures() -> Vec<Fixture> {
    let mut all = Vec::new();
    for (tags, suffix) in Tags::ALL {
        answered(&mut all, tags, suffix);
        claimed(&mut all, tags, suffix);
        silent(&mut all, tags, suffix);
        truncated(&mut all, tags, suffix);
    }
    not_ours(&mut all);
    all
}

fn frame(to: Mac, from: Mac, tags: Tags, arp: Arp) -> Vec<u8> {
    ethernet(to, from, tags, ARP, &arp.bytes())
}

/// The reply that the data plane must give.
fn reply(tags: Tags, to: Mac, sender_mac: Mac, sender: Ipv4Addr) -> Vec<u8> {
    frame(to, OURS, tags, Arp::reply(OURS, VIP4, sender_mac, sender))
}

fn answered(all: &mut Vec<Fixture>, tags: Tags, suffix: &str) {
    let ask = Arp::request(CLIENT, CLIENT4, VIP4);
    let mut add = |name: &str, setup: Setup, input: Vec<u8>, output: Vec<u8>| {
        let name = format!("{name}{suffix}");
        all.push(Fixture::sent(name, setup, input, Counter::ArpReply, output));
    };
    let answer = reply(tags, CLIENT, CLIENT, CLIENT4);
    let broadcast = frame(BROADCAST, CLIENT, tags, ask);
    add(
        "broadcast request, local VIP",
        LOCAL,
        broadcast.clone(),
        answer.clone(),
    );
    add(
        "broadcast request, steered VIP",
        STEER,
        broadcast.clone(),
        answer.clone(),
    );
    add(
        "unicast request",
        LOCAL,
        frame(OURS, CLIENT, tags, ask),
        answer.clone(),
    );
    add(
        "padded request",
        LOCAL,
        padded(broadcast),
        padded(answer.clone()),
    );
    add(
        "probe from 0.0.0.0",
        LOCAL,
        frame(
            BROADCAST,
            CLIENT,
            tags,
            Arp::request(CLIENT, Ipv4Addr::UNSPECIFIED, VIP4),
        ),
        reply(tags, CLIENT, CLIENT, Ipv4Addr::UNSPECIFIED),
    );
    // The answer goes to the station that sent the frame, and names the one that asks.
    add(
        "request relayed by another station",
        LOCAL,
        frame(BROADCAST, STRANGER, tags, ask),
        reply(tags, STRANGER, CLIENT, CLIENT4),
    );
    let filled = Arp {
        target_mac: BROADCAST,
        ..ask
    };
    add(
        "request with a target MAC",
        LOCAL,
        frame(BROADCAST, CLIENT, tags, filled),
        answer,
    );
}

fn claimed(all: &mut Vec<Fixture>, tags: Tags, suffix: &str) {
    let event = Event {
        kind: ConflictKind::Arp as u32,
        ifindex: INGRESS,
        address: VIP4.to_ipv6_mapped().octets(),
        mac: STRANGER,
        vlan: tags.vlan(),
        instance: 0,
        reserved: 0,
    };
    let gratuitous = frame(
        BROADCAST,
        STRANGER,
        tags,
        Arp::request(STRANGER, VIP4, VIP4),
    );
    let claim = frame(
        BROADCAST,
        STRANGER,
        tags,
        Arp::reply(STRANGER, VIP4, BROADCAST, VIP4),
    );
    let unicast = frame(
        CLIENT,
        STRANGER,
        tags,
        Arp::reply(STRANGER, VIP4, CLIENT, CLIENT4),
    );
    let asking = frame(
        BROADCAST,
        STRANGER,
        tags,
        Arp::request(STRANGER, VIP4, PLAIN4),
    );

    let name = |text: &str| format!("{text}{suffix}");
    let conflict = Counter::ArpConflict;
    all.extend([
        Fixture::dropped(
            name("foreign gratuitous request"),
            LOCAL,
            gratuitous.clone(),
            conflict,
        )
        .event(event),
        Fixture::passed(
            name("foreign gratuitous reply"),
            LOCAL,
            claim.clone(),
            conflict,
        )
        .event(event),
        Fixture::passed(name("foreign reply to a client"), LOCAL, unicast, conflict).event(event),
        Fixture::passed(
            name("request from the VIP by a stranger"),
            LOCAL,
            asking.clone(),
            conflict,
        )
        .event(event),
        Fixture::dropped(
            name("foreign gratuitous request while Backup"),
            BACKUP,
            gratuitous.clone(),
            Counter::ArpNotActive,
        ),
        Fixture::dropped(
            name("foreign gratuitous request, lease expired"),
            EXPIRED,
            gratuitous,
            Counter::ArpNotActive,
        ),
        Fixture::ignored(name("foreign reply while Backup"), BACKUP, claim.clone()),
        Fixture::ignored(name("foreign reply, lease expired"), EXPIRED, claim),
        Fixture::ignored(name("request from the VIP while Backup"), BACKUP, asking),
        Fixture::dropped(
            name("our own announcement comes back"),
            LOCAL,
            frame(BROADCAST, OURS, tags, Arp::request(OURS, VIP4, VIP4)),
            Counter::ArpOwn,
        ),
        Fixture::ignored(
            name("our own reply comes back"),
            LOCAL,
            frame(CLIENT, OURS, tags, Arp::reply(OURS, VIP4, CLIENT, CLIENT4)),
        ),
    ]);
}

fn silent(all: &mut Vec<Fixture>, tags: Tags, suffix: &str) {
    let ask = frame(BROADCAST, CLIENT, tags, Arp::request(CLIENT, CLIENT4, VIP4));
    let probe = Arp::request(CLIENT, Ipv4Addr::UNSPECIFIED, VIP4);
    let elsewhere = Setup {
        ifindex: ELSEWHERE,
        ..LOCAL
    };
    let mut add = |name: &str, setup: Setup, input: Vec<u8>, counter: Counter| {
        all.push(Fixture::dropped(
            format!("{name}{suffix}"),
            setup,
            input,
            counter,
        ));
    };
    add(
        "request while Backup",
        BACKUP,
        ask.clone(),
        Counter::ArpNotActive,
    );
    add(
        "request, lease expired",
        EXPIRED,
        ask.clone(),
        Counter::ArpNotActive,
    );
    add(
        "probe while Backup",
        BACKUP,
        frame(BROADCAST, CLIENT, tags, probe),
        Counter::ArpNotActive,
    );
    add(
        "request on another interface",
        elsewhere,
        ask,
        Counter::ArpOtherInterface,
    );
    add(
        "unicast request to another station",
        LOCAL,
        frame(STRANGER, CLIENT, tags, Arp::request(CLIENT, CLIENT4, VIP4)),
        Counter::ArpOtherMac,
    );
    add(
        "request for a VIP of an instance that is not Active",
        LOCAL,
        frame(
            BROADCAST,
            CLIENT,
            tags,
            Arp::request(CLIENT, CLIENT4, STANDBY4),
        ),
        Counter::ArpNotActive,
    );
    add(
        "request for a VIP without instance",
        LOCAL,
        frame(
            BROADCAST,
            CLIENT,
            tags,
            Arp::request(CLIENT, CLIENT4, NO_INSTANCE4),
        ),
        Counter::DropInternal,
    );
}

fn truncated(all: &mut Vec<Fixture>, tags: Tags, suffix: &str) {
    let whole = frame(BROADCAST, CLIENT, tags, Arp::request(CLIENT, CLIENT4, VIP4));
    let network = whole.len() - 28;
    let mut cuts = vec![(network, "all of it"), (network + 8, "its addresses")];
    cuts.push((whole.len() - 1, "its last byte"));
    if network > 14 {
        cuts.extend([(14, "its tags"), (network - 1, "a byte of its tags")]);
    }
    for (len, what) in cuts {
        let name = format!("request without {what}{suffix}");
        all.push(Fixture::ignored(name, LOCAL, whole[..len].to_vec()));
    }
}

fn not_ours(all: &mut Vec<Fixture>) {
    let ask = Arp::request(CLIENT, CLIENT4, VIP4);
    let mut add = |name: &str, arp: Arp| {
        all.push(Fixture::ignored(
            name,
            LOCAL,
            frame(BROADCAST, CLIENT, Tags::None, arp),
        ));
    };
    add(
        "request for another address",
        Arp {
            target: PLAIN4,
            ..ask
        },
    );
    add("hardware type IEEE 802", Arp { hardware: 6, ..ask });
    add(
        "protocol type IPv6",
        Arp {
            protocol: 0x86dd,
            ..ask
        },
    );
    add(
        "hardware address of 8 bytes",
        Arp {
            hardware_len: 8,
            ..ask
        },
    );
    add(
        "protocol address of 16 bytes",
        Arp {
            protocol_len: 16,
            ..ask
        },
    );
    add("reply to the VIP", Arp::reply(CLIENT, CLIENT4, OURS, VIP4));
    add(
        "reverse request",
        Arp {
            operation: 3,
            ..ask
        },
    );
    add(
        "operation 0",
        Arp {
            operation: 0,
            ..ask
        },
    );
    add(
        "claim of a VIP without instance",
        Arp::reply(STRANGER, NO_INSTANCE4, BROADCAST, NO_INSTANCE4),
    );
    add(
        "claim of a VIP that is not Active",
        Arp::reply(STRANGER, STANDBY4, BROADCAST, STANDBY4),
    );
}
