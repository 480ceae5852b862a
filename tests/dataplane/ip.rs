//! IP packets to a VIP: handed up, steered, answered, dropped.

mod odd;

use vip_common::abi::Counter;

use super::fixture::{BACKUP, EXPIRED, Fixture, LOCAL, STEER, Service, Setup};
use super::frame::{Ipv4, Ipv6, Mac, Tags, ethernet, icmp, icmpv6, padded};
use super::world::{
    BACKEND, BROADCAST, CLIENT, CLIENT4, CLIENT6, EGRESS, ELSEWHERE, NO_INSTANCE4, NO_INSTANCE6,
    NO_SERVICE4, NO_SERVICE6, OURS, PLAIN4, PLAIN6, STANDBY4, STANDBY6, STRANGER, VIP4, VIP6,
};

const TCP: u8 = 6;
const SEGMENT: &[u8] = b"\x30\x39\x00\x50 twenty bytes or so of TCP";

/// One of the two families: everything the two have in common is tested for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    const ALL: [Self; 2] = [Self::V4, Self::V6];

    const fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    const fn ether_type(self) -> u16 {
        match self {
            Self::V4 => 0x0800,
            Self::V6 => 0x86dd,
        }
    }

    /// Index of the VIP's statistics.
    const fn vip(self) -> u32 {
        match self {
            Self::V4 => 0,
            Self::V6 => 1,
        }
    }

    /// A TCP segment from the client to the VIP.
    fn packet(self, ttl: u8) -> Vec<u8> {
        match self {
            Self::V4 => Ipv4 {
                ttl,
                ..Ipv4::new(CLIENT4, VIP4, TCP)
            }
            .bytes(SEGMENT),
            Self::V6 => Ipv6 {
                hop_limit: ttl,
                ..Ipv6::new(CLIENT6, VIP6, TCP)
            }
            .bytes(SEGMENT),
        }
    }

    /// A packet from the client to a VIP whose entry leads nowhere, or that is not Active.
    fn packet_to(self, v4: std::net::Ipv4Addr, v6: std::net::Ipv6Addr) -> Vec<u8> {
        match self {
            Self::V4 => Ipv4::new(CLIENT4, v4, TCP).bytes(SEGMENT),
            Self::V6 => Ipv6::new(CLIENT6, v6, TCP).bytes(SEGMENT),
        }
    }

    fn frame(self, to: Mac, tags: Tags, packet: &[u8]) -> Vec<u8> {
        ethernet(to, CLIENT, tags, self.ether_type(), packet)
    }

    /// The frame that the backend gets.
    fn steered(self, tags: Tags, packet: &[u8]) -> Vec<u8> {
        ethernet(BACKEND, EGRESS, tags, self.ether_type(), packet)
    }

    /// An echo request from the client to the VIP, or its reply.
    fn echo(self, ttl: u8, reply: bool, rest: [u8; 4], data: &[u8]) -> Vec<u8> {
        match self {
            Self::V4 => {
                let (source, destination) = if reply {
                    (VIP4, CLIENT4)
                } else {
                    (CLIENT4, VIP4)
                };
                let kind = if reply { 0 } else { 8 };
                Ipv4 {
                    ttl,
                    ..Ipv4::new(source, destination, 1)
                }
                .bytes(&icmp(kind, 0, rest, data))
            }
            Self::V6 => {
                let (source, destination) = if reply {
                    (VIP6, CLIENT6)
                } else {
                    (CLIENT6, VIP6)
                };
                let kind = if reply { 129 } else { 128 };
                let message = icmpv6(source, destination, kind, 0, rest, data);
                Ipv6 {
                    hop_limit: ttl,
                    ..Ipv6::new(source, destination, 58)
                }
                .bytes(&message)
            }
        }
    }
}

/// Every fixture about IP.
pub fn fixtures() -> Vec<Fixture> {
    let mut all = Vec::new();
    for family in Family::ALL {
        for (tags, suffix) in Tags::ALL {
            let start = all.len();
            delivered(&mut all, family, tags);
            dropped(&mut all, family, tags);
            echoed(&mut all, family, tags);
            for fixture in &mut all[start..] {
                fixture.name = format!("{}: {}{suffix}", family.name(), fixture.name);
            }
        }
        carries(&mut all, family);
    }
    hops(&mut all);
    odd::malformed(&mut all);
    odd::unusual_v4(&mut all);
    odd::unusual_v6(&mut all);
    all
}

fn with(service: Service) -> Setup {
    Setup { service, ..STEER }
}

fn delivered(all: &mut Vec<Fixture>, family: Family, tags: Tags) {
    let (before, after) = (family.packet(64), family.packet(63));
    let input = family.frame(OURS, tags, &before);
    let output = family.steered(tags, &after);
    let vip = family.vip();
    all.extend([
        Fixture::passed("to a local VIP", LOCAL, input.clone(), Counter::PassLocal).vip(vip),
        Fixture::passed(
            "to a local VIP by broadcast",
            LOCAL,
            family.frame(BROADCAST, tags, &before),
            Counter::PassLocal,
        )
        .vip(vip),
        Fixture::passed(
            "to a local VIP on another interface",
            Setup {
                ifindex: ELSEWHERE,
                ..LOCAL
            },
            input.clone(),
            Counter::PassLocal,
        )
        .vip(vip),
        Fixture::sent(
            "steered back out",
            STEER,
            input.clone(),
            Counter::SteerTx,
            output.clone(),
        )
        .vip(vip)
        .backend(0),
        Fixture::sent(
            "steered out of another interface",
            with(Service::There),
            input,
            Counter::SteerRedirect,
            output,
        )
        .redirected()
        .vip(vip)
        .backend(1),
        Fixture::passed(
            "to another station's MAC",
            STEER,
            family.frame(STRANGER, tags, &before),
            Counter::PassOtherMac,
        ),
        Fixture::ignored(
            "to an address that is no VIP",
            STEER,
            family.frame(OURS, tags, &family.packet_to(PLAIN4, PLAIN6)),
        ),
        Fixture::ignored(
            "to an address that is no VIP while Backup",
            BACKUP,
            family.frame(OURS, tags, &family.packet_to(PLAIN4, PLAIN6)),
        ),
    ]);
}

fn dropped(all: &mut Vec<Fixture>, family: Family, tags: Tags) {
    let input = family.frame(OURS, tags, &family.packet(64));
    let to = |v4, v6| family.frame(OURS, tags, &family.packet_to(v4, v6));
    let mut add = |name: &str, setup: Setup, input: Vec<u8>, counter: Counter| {
        all.push(Fixture::dropped(name, setup, input, counter));
    };
    let backup_local = Setup {
        service: Service::Local,
        ..BACKUP
    };
    let stray = family.frame(STRANGER, tags, &family.packet(64));
    add(
        "to a steered VIP while Backup",
        BACKUP,
        input.clone(),
        Counter::DropNotActive,
    );
    add(
        "to a local VIP while Backup",
        backup_local,
        input.clone(),
        Counter::DropNotActive,
    );
    add(
        "lease expired",
        EXPIRED,
        input.clone(),
        Counter::DropNotActive,
    );
    add(
        "to another station's MAC while Backup",
        BACKUP,
        stray,
        Counter::DropNotActive,
    );
    add(
        "to a VIP of an instance that is not Active",
        STEER,
        to(STANDBY4, STANDBY6),
        Counter::DropNotActive,
    );
    add(
        "no healthy backend",
        with(Service::NoBackend),
        input.clone(),
        Counter::DropNoBackend,
    );
    add(
        "backend not resolved",
        with(Service::Unresolved),
        input.clone(),
        Counter::DropUnresolved,
    );
    add(
        "backend does not exist",
        with(Service::Dangling),
        input.clone(),
        Counter::DropInternal,
    );
    add(
        "unknown steering mode",
        with(Service::UnknownMode),
        input,
        Counter::DropInternal,
    );
    add(
        "instance does not exist",
        STEER,
        to(NO_INSTANCE4, NO_INSTANCE6),
        Counter::DropInternal,
    );
    add(
        "service does not exist",
        STEER,
        to(NO_SERVICE4, NO_SERVICE6),
        Counter::DropInternal,
    );
}

fn echoed(all: &mut Vec<Fixture>, family: Family, tags: Tags) {
    let rest = [0x12, 0x34, 0, 1];
    let request = family.echo(33, false, rest, b"are you there?");
    let reply = family.echo(64, true, rest, b"are you there?");
    let input = family.frame(OURS, tags, &request);
    let output = ethernet(CLIENT, OURS, tags, family.ether_type(), &reply);
    let vip = family.vip();
    let mut answered = |name: &str, setup: Setup, input: Vec<u8>, output: Vec<u8>| {
        all.push(Fixture::sent(name, setup, input, Counter::EchoReply, output).vip(vip));
    };
    answered("echo request", STEER, input.clone(), output.clone());
    answered(
        "echo without a backend",
        with(Service::NoBackend),
        input.clone(),
        output.clone(),
    );
    answered(
        "echo by broadcast",
        STEER,
        family.frame(BROADCAST, tags, &request),
        output.clone(),
    );
    answered("echo, padded", STEER, padded(input.clone()), padded(output));
    let tiny = |ttl, reply| family.echo(ttl, reply, rest, b"");
    answered(
        "echo without data, TTL 1",
        STEER,
        family.frame(OURS, tags, &tiny(1, false)),
        ethernet(CLIENT, OURS, tags, family.ether_type(), &tiny(64, true)),
    );
    all.extend([
        Fixture::passed(
            "echo to a local VIP",
            LOCAL,
            input.clone(),
            Counter::PassLocal,
        )
        .vip(vip),
        Fixture::dropped("echo while Backup", BACKUP, input, Counter::DropNotActive),
        Fixture::sent(
            "echo reply is steered",
            STEER,
            family.frame(
                OURS,
                tags,
                &family.echo(64, false, rest, b"x").tap(|packet| {
                    turn_into_reply(packet, family);
                }),
            ),
            Counter::SteerTx,
            family.steered(
                tags,
                &family.echo(63, false, rest, b"x").tap(|packet| {
                    turn_into_reply(packet, family);
                }),
            ),
        )
        .vip(vip)
        .backend(0),
    ]);
}

/// Makes the message inside an echo reply, without regard to its checksum.
fn turn_into_reply(packet: &mut [u8], family: Family) {
    match family {
        Family::V4 => packet[20] = 0,
        Family::V6 => packet[40] = 129,
    }
}

/// Changes a value in passing.
trait Tap: Sized {
    fn tap(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}
impl Tap for Vec<u8> {}

/// Echo requests whose checksum brings every carry into play when it is updated.
fn carries(all: &mut Vec<Fixture>, family: Family) {
    // The sequence number at which the request's checksum is `wanted`, all else being equal.
    let request_with = |wanted: u16| {
        (0..=u16::MAX)
            .map(|sequence| [[0x12, 0x34], sequence.to_be_bytes()].concat())
            .find_map(|rest| {
                let rest = [rest[0], rest[1], rest[2], rest[3]];
                let packet = family.echo(64, false, rest, b"carry");
                let at = if family == Family::V4 { 22 } else { 42 };
                (packet[at..at + 2] == wanted.to_be_bytes()).then_some(rest)
            })
    };
    for wanted in [
        0x0000, 0x0001, 0x00ff, 0x0100, 0x07ff, 0x0800, 0x7fff, 0x8000, 0xf7fe, 0xf7ff, 0xf800,
        0xf801, 0xfeff, 0xff00, 0xff01, 0xfffe,
    ] {
        // 0xffff cannot be a checksum of data that is not all zero.
        let rest = request_with(wanted).unwrap_or_else(|| panic!("no request sums to {wanted:x}"));
        let name = format!("{}: echo with checksum {wanted:#06x}", family.name());
        let input = family.frame(OURS, Tags::None, &family.echo(64, false, rest, b"carry"));
        let mut reply = family.echo(64, true, rest, b"carry");
        if family == Family::V4 && reply[22..24] == [0, 0] {
            // The other zero of ones' complement; receivers take either.
            reply[22..24].fill(0xff);
        }
        let output = ethernet(CLIENT, OURS, Tags::None, family.ether_type(), &reply);
        all.push(Fixture::sent(name, STEER, input, Counter::EchoReply, output).vip(family.vip()));
    }
    if family == Family::V4 {
        // All zero but for the type: the reply's checksum is that of nothing, 0xffff.
        let input = family.frame(OURS, Tags::None, &family.echo(64, false, [0; 4], &[0; 16]));
        let reply = family.echo(64, true, [0; 4], &[0; 16]);
        assert_eq!(reply[22..24], [0xff, 0xff], "the full checksum of zeros");
        let output = ethernet(CLIENT, OURS, Tags::None, family.ether_type(), &reply);
        let name = "IPv4: echo of nothing but zeros";
        all.push(Fixture::sent(name, STEER, input, Counter::EchoReply, output).vip(0));
    }
}

fn hops(all: &mut Vec<Fixture>) {
    for family in Family::ALL {
        for ttl in [0, 1, 2, 3, 128, 255] {
            let input = family.frame(OURS, Tags::None, &family.packet(ttl));
            let name = format!("{}: {ttl} hops left", family.name());
            all.push(if ttl <= 1 {
                Fixture::dropped(name, STEER, input, Counter::DropTtl)
            } else {
                let output = family.steered(Tags::None, &family.packet(ttl - 1));
                Fixture::sent(name, STEER, input, Counter::SteerTx, output)
                    .vip(family.vip())
                    .backend(0)
            });
            let input = family.frame(OURS, Tags::None, &family.packet(ttl));
            let name = format!("{}: {ttl} hops left, local VIP", family.name());
            all.push(Fixture::passed(name, LOCAL, input, Counter::PassLocal).vip(family.vip()));
        }
    }
}
