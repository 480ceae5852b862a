//! Liveness probes and echoes, whose bytes do not depend on the time.

pub mod datagram;
pub mod timed;

use std::net::{Ipv4Addr, Ipv6Addr};

use vip_common::abi::Counter;

use self::datagram::{Datagram, Message, STEP};
use super::fixture::{
    BACKUP, EXPIRED, Fixture, LOCAL, Lease, Setup, Stamp, for_all_tags, for_each_family,
};
use super::frame::{Ipv4, Ipv6, Tags, ethernet, udp, udpv6};
use super::world::{
    BROADCAST, ECHO_KEY, EPOCH, INCARNATION, KEYLESS4, KEYLESS6, LAST_ECHO, LAST_PROBE, LOCAL4,
    LOCAL6, NO_INSTANCE_VRID, NO_LINK4, NO_LINK6, OTHER_VRID, OURS, PEER4, PEER6, PLAIN4, PLAIN6,
    PORT, PROBE_KEY, STANDBY_VRID, VRID,
};

/// What the fixtures' probes ask about.
pub const ASKED: [u8; 8] = [
    VRID,
    STANDBY_VRID,
    OTHER_VRID,
    0,
    NO_INSTANCE_VRID,
    VRID,
    0,
    STANDBY_VRID,
];
const NOT_ACTIVE: u8 = 1;
const TOLD_OVER: Setup = Setup {
    lease: Lease::ToldOver,
    ..LOCAL
};

/// The answer to [`ASKED`] when instance 0 is in a state.
pub fn answered(state: u8, epoch: u32) -> [[u8; 8]; 8] {
    ASKED.map(|vrid| {
        let (state, epoch) = match vrid {
            VRID => (state, epoch),
            STANDBY_VRID => (NOT_ACTIVE, 0),
            _ => (0, 0),
        };
        let [a, b, c, d] = u32::to_be_bytes(epoch);
        [vrid, state, 0, 0, a, b, c, d]
    })
}

/// A probe that is answered.
pub fn probe() -> Message {
    Message::probe(LAST_PROBE + STEP, ASKED)
}

/// An echo that is taken.
pub fn echo() -> Message {
    Message::echo(
        LAST_ECHO + 1,
        0x0a0b_0c0d_0e0f_1011,
        30_000_000,
        [[9, 8, 7, 6, 5, 4, 3, 2]; 8],
    )
}

/// Every fixture about liveness.
pub fn fixtures() -> Vec<Fixture> {
    let mut all = Vec::new();
    for_each_family(&mut all, |all, v6| {
        for_all_tags(all, |all, tags| {
            told_over(all, v6, tags);
            taken(all, v6, tags);
            refused(all, v6, tags);
            not_ours(all, v6, tags);
        });
        not_plain(all, v6);
    });
    all
}

/// A lease that is over leaves nothing in the answer that depends on the time.
fn told_over(all: &mut Vec<Fixture>, v6: bool, tags: Tags) {
    let link = u32::from(v6);
    let datagram = Datagram::probe(v6, tags);
    let mut add = |name: &str, setup: Setup, question: Message, epoch: u32, ends: bool| {
        let nonce = question.nonce;
        let answer = Message::echo(nonce, INCARNATION, 0, answered(NOT_ACTIVE, epoch));
        let input = datagram.frame(&question.bytes(PROBE_KEY));
        let output = datagram.answer(&answer.bytes(PROBE_KEY));
        let fixture = Fixture::sent(name, setup, input, Counter::ProbeAnswered, output);
        let fixture = fixture.probed(link, nonce);
        all.push(if ends { fixture.ended() } else { fixture });
    };
    let backup = Setup {
        lease: Lease::BackupExpired,
        ..BACKUP
    };
    let fresh = Setup {
        lease: Lease::NeverBegun,
        ..LOCAL
    };
    add("probe, lease expired", EXPIRED, probe(), EPOCH, true);
    add("probe, Backup's lease expired", backup, probe(), 0, true);
    add("probe, told over", TOLD_OVER, probe(), EPOCH, false);
    add("probe, no lease ever begun", fresh, probe(), EPOCH, false);
    let much_later = Message {
        nonce: u64::MAX,
        ..probe()
    };
    add(
        "probe with the last nonce",
        EXPIRED,
        much_later,
        EPOCH,
        true,
    );

    // What lies behind the datagram comes back, and not a byte more.
    let answer = Message::echo(probe().nonce, INCARNATION, 0, answered(NOT_ACTIVE, EPOCH));
    let mut input = datagram.frame(&probe().bytes(PROBE_KEY));
    let mut output = datagram.answer(&answer.bytes(PROBE_KEY));
    input.extend([0xee; 3]);
    output.extend([0xee; 3]);
    all.push(
        Fixture::sent(
            "probe with bytes behind it",
            TOLD_OVER,
            input,
            Counter::ProbeAnswered,
            output,
        )
        .probed(link, probe().nonce),
    );
}

fn taken(all: &mut Vec<Fixture>, v6: bool, tags: Tags) {
    let link = u32::from(v6);
    let datagram = Datagram::probe(v6, tags);
    let stamp = |echo: &Message| Stamp {
        link,
        nonce: echo.nonce,
        incarnation: echo.incarnation,
        lease_left_ns: echo.lease_left_ns,
        instances: echo.instances,
    };
    for (setup, how) in [
        (LOCAL, ""),
        (BACKUP, " while Backup"),
        (EXPIRED, ", lease expired"),
    ] {
        let name = format!("echo{how}");
        let input = datagram.frame(&echo().bytes(ECHO_KEY));
        let fixture = Fixture::dropped(name, setup, input, Counter::EchoTaken);
        all.push(fixture.stamped(stamp(&echo())));
    }
    let over = Message {
        lease_left_ns: 0,
        nonce: LAST_ECHO + 1_000_000,
        ..echo()
    };
    let input = datagram.frame(&over.bytes(ECHO_KEY));
    let fixture = Fixture::dropped("echo of a lease over", LOCAL, input, Counter::EchoTaken);
    all.push(fixture.stamped(stamp(&over)));
}

fn refused(all: &mut Vec<Fixture>, v6: bool, tags: Tags) {
    let datagram = Datagram::probe(v6, tags);
    let mut add = |name: &str, datagram: &Datagram, payload: &[u8], counter: Counter| {
        all.push(Fixture::dropped(
            name,
            LOCAL,
            datagram.frame(payload),
            counter,
        ));
    };
    let rejected = Counter::LivenessRejected;
    let wrong = [PROBE_KEY[0], PROBE_KEY[1] ^ 1 << 63];
    add("wrong key", &datagram, &probe().bytes(wrong), rejected);
    let probe_bytes = probe().bytes(ECHO_KEY);
    add(
        "probe under the echo key",
        &datagram,
        &probe_bytes,
        rejected,
    );
    let echo_bytes = echo().bytes(PROBE_KEY);
    add("echo under the probe key", &datagram, &echo_bytes, rejected);
    let keyless = Datagram {
        source4: KEYLESS4,
        source6: KEYLESS6,
        ..datagram
    };
    let zero = [0, 0];
    add("probe, no key", &keyless, &probe().bytes(zero), rejected);
    add("echo, no key", &keyless, &echo().bytes(zero), rejected);
    let replayed = Counter::LivenessReplayed;
    for (name, nonce) in [
        ("probe seen before", LAST_PROBE),
        ("probe too soon", LAST_PROBE + STEP - 1),
        ("probe overtaken", LAST_PROBE - 1),
        ("probe from the dawn of time", 0),
    ] {
        let payload = Message { nonce, ..probe() }.bytes(PROBE_KEY);
        add(name, &datagram, &payload, replayed);
    }
    for (name, nonce) in [
        ("echo seen before", LAST_ECHO),
        ("echo overtaken", LAST_ECHO - 1),
        ("echo to no probe", 0),
        ("echo from the future", u64::MAX),
    ] {
        let payload = Message { nonce, ..echo() }.bytes(ECHO_KEY);
        add(name, &datagram, &payload, replayed);
    }
}

fn not_ours(all: &mut Vec<Fixture>, v6: bool, tags: Tags) {
    let datagram = Datagram::probe(v6, tags);
    let payload = probe().bytes(PROBE_KEY);
    let mut add = |name: &str, datagram: Datagram, payload: &[u8]| {
        all.push(Fixture::ignored(name, LOCAL, datagram.frame(payload)));
    };
    add(
        "unknown source",
        Datagram {
            source4: PLAIN4,
            source6: PLAIN6,
            ..datagram
        },
        &payload,
    );
    add(
        "from ourselves",
        Datagram {
            source4: LOCAL4,
            source6: LOCAL6,
            ..datagram
        },
        &payload,
    );
    add(
        "source without a link",
        Datagram {
            source4: NO_LINK4,
            source6: NO_LINK6,
            ..datagram
        },
        &payload,
    );
    add(
        "another destination",
        Datagram {
            destination4: PLAIN4,
            destination6: PLAIN6,
            ..datagram
        },
        &payload,
    );
    add(
        "broadcast destination",
        Datagram {
            destination4: Ipv4Addr::BROADCAST,
            destination6: Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1),
            ..datagram
        },
        &payload,
    );
    add(
        "in a broadcast frame",
        Datagram {
            to: BROADCAST,
            ..datagram
        },
        &payload,
    );
    for (name, port) in [("another port", PORT + 1), ("port 0", 0)] {
        add(name, Datagram { port, ..datagram }, &payload);
    }
    let from_port = Datagram {
        source_port: PORT,
        port: 40_000,
        ..datagram
    };
    add("from the port", from_port, &payload);
    add("short", datagram, &payload[..103]);
    add("empty", datagram, &[]);
    add("long", datagram, &[&payload[..], &[0; 8]].concat());
    for (name, message) in [
        (
            "another magic",
            Message {
                magic: *b"VQ",
                ..probe()
            },
        ),
        (
            "another version",
            Message {
                version: 2,
                ..probe()
            },
        ),
        ("kind 0", Message { kind: 0, ..probe() }),
        ("kind 3", Message { kind: 3, ..probe() }),
    ] {
        add(name, datagram, &message.bytes(PROBE_KEY));
    }
    let whole = datagram.frame(&payload);
    let cut = whole[..whole.len() - 1].to_vec();
    all.push(Fixture::ignored("cut", LOCAL, cut));
}

/// Headers that say something else than a plain whole datagram.
fn not_plain(all: &mut Vec<Fixture>, v6: bool) {
    let payload = probe().bytes(PROBE_KEY);
    let mut add = |name: &str, ether_type: u16, packet: &[u8]| {
        let input = ethernet(OURS, datagram::PEER_MAC, Tags::None, ether_type, packet);
        all.push(Fixture::ignored(name, LOCAL, input));
    };
    if v6 {
        let udp = udpv6(PEER6, LOCAL6, 40_000, PORT, &payload);
        let ip = Ipv6::new(PEER6, LOCAL6, 17);
        let with = |ip: Ipv6| ip.bytes(&udp);
        let fragment = [&[17, 0, 0, 0, 0, 0, 0, 9][..], &udp].concat();
        let next = |next_header| Ipv6 { next_header, ..ip };
        add("fragment", 0x86dd, &next(44).bytes(&fragment));
        let hop_by_hop = [&[17, 0, 1, 4, 0, 0, 0, 0][..], &udp].concat();
        add("extension header", 0x86dd, &next(0).bytes(&hop_by_hop));
        add("another protocol", 0x86dd, &with(next(6)));
        let first_word = 0x4000_0000;
        add("version 4", 0x86dd, &with(Ipv6 { first_word, ..ip }));
        for (name, len) in [("shorter", 111), ("longer", 113)] {
            let payload_len = Some(len);
            let name = format!("payload length says {name}");
            add(&name, 0x86dd, &with(Ipv6 { payload_len, ..ip }));
        }
        for len in [111, 113] {
            let mut lying = udp.clone();
            lying[5] = len;
            add(&format!("UDP length says {len}"), 0x86dd, &ip.bytes(&lying));
        }
        return;
    }
    let udp = udp(40_000, PORT, &payload);
    let ip = Ipv4::new(PEER4, LOCAL4, 17);
    let with = |ip: Ipv4| ip.bytes(&udp);
    for (name, fragment) in [("first", 0x2000), ("later", 0x2010), ("last", 0x0010)] {
        let name = format!("{name} fragment");
        let ip = ip.clone();
        add(&name, 0x0800, &with(Ipv4 { fragment, ..ip }));
    }
    let options = vec![1; 4];
    let base = ip.clone();
    add("options", 0x0800, &with(Ipv4 { options, ..base }));
    let (protocol, base) = (6, ip.clone());
    add("another protocol", 0x0800, &with(Ipv4 { protocol, ..base }));
    let (version, base) = (6, ip.clone());
    add("version 6", 0x0800, &with(Ipv4 { version, ..base }));
    for (name, len) in [("shorter", 131), ("longer", 133)] {
        let (total_len, base) = (Some(len), ip.clone());
        let name = format!("total length says {name}");
        add(&name, 0x0800, &with(Ipv4 { total_len, ..base }));
    }
    for len in [111, 113] {
        let mut lying = udp.clone();
        lying[5] = len;
        add(&format!("UDP length says {len}"), 0x0800, &ip.bytes(&lying));
    }
}
