//! Events and their numbers in the ring.
//!
//! | number | event | `vrid` | `peer` | details |
//! |---|---|---|---|---|
//! | 1, 2 | agent started, resumed | | | version (16 bits each: major, minor, patch), pid, incarnation |
//! | 3 | agent stops | | | pid |
//! | 4 | agent restarts | | | pid, grace |
//! | 5, 6 | name of an instance: bytes 0–39, 40–79 | ✓ | with the details: the bytes | |
//! | 10, 11 | peer up, down | | ✓ | |
//! | 12 | advert missed | | ✓ | last one heard at, –, *merged* |
//! | 13 | probes unanswered | | ✓ | how many, last answer at (0: unknown), *merged* |
//! | 14 | agent late | | ✓ | –, –, *merged* |
//! | 15 | datagram rejected | | sender | –, reason (its number in `reject.rs`), *merged* |
//! | 16 | other VIPs | ✓ | ✓ | –, –, *merged* |
//! | 17 | a peer's lease is over, as its data plane says | | ✓ | –, –, *merged* |
//! | 20 | own stall | | | how late, –, *merged* |
//! | 30 | lease begun | | | until |
//! | 31 | lease renewed late | | | what was left, –, *merged* |
//! | 32, 33 | lease ended; and a prober was told | | | at |
//! | 40, 41, 42 | link up, down, gone | ✓ | | |
//! | 43, 44 | data plane detached, attached | | | interface index |
//! | 50 | data plane failed | ✓ | | –, –, *merged* |
//! | 51, 52 | adverts cannot be sent, can again | | | –, –, *merged* |
//! | 60 | transition | ✓ | | from + to × 2⁸ + reason × 2¹⁶, epoch |
//! | 61 | claimed | ✓ | | epoch, 1: answering |
//! | 62 | released | ✓ | | MAC of the successor + 2⁴⁸, 0: none; drain until |
//! | 63 | announced | ✓ | | |
//! | 64 | first packet | ✓ | the VIP | after the claim |
//! | 70, 71 | handing over, failed | ✓ | ✓ | |
//! | 80 | two nodes Active | ✓ | ✓ | 1: this node stays |
//! | 81 | foreign claim | ✓ | address | –, MAC + kind × 2⁴⁸, *merged* |
//!
//! Points in time are nanoseconds on `CLOCK_MONOTONIC`, durations nanoseconds. *merged*: how often
//! more it happened (24 bits) and microseconds from the first to the last time (40 bits). Numbers
//! never change their meaning; a reader shows those it does not know as they are.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use vip_common::abi::{ConflictKind, FlightRecord};
use vip_proto::election::{State, TransitionReason};
use vip_proto::{Epoch, Incarnation, Instant, Vrid};

use super::event::{AgentIdentity, Event, Link, NamePart};
use super::reject;

/// A record as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its number, from 1, without gaps.
    pub number: u64,
    /// When it happened; of several times, the first.
    pub at: Instant,
    /// Which instance it concerns; `None`: the node.
    pub vrid: Option<Vrid>,
    /// Whom else.
    pub peer: Option<IpAddr>,
    /// What happened.
    pub event: Event,
    /// How often.
    pub times: u32,
    /// When the last time.
    pub last: Instant,
}

impl Entry {
    /// Reads a record.
    #[must_use]
    pub fn parse(record: &FlightRecord) -> Self {
        let at = Instant::from_nanos(record.at_ns);
        let event = parse(record).unwrap_or(Event::Unknown {
            kind: record.kind,
            details: record.details,
        });
        let (times, last) = match event.merging() {
            Some(_) => merged(at, record.details[2]),
            None => (1, at),
        };
        let named = matches!(event, Event::InstanceNamed { .. });
        Self {
            number: record.number,
            at,
            vrid: vrid(record.vrid),
            peer: peer(record.peer).filter(|_| !named),
            event,
            times,
            last,
        }
    }
}

impl Event {
    /// The record of this event.
    #[must_use]
    #[expect(
        clippy::too_many_lines,
        reason = "an arm for each line of the table above"
    )]
    pub fn record(&self, number: u64, at: Instant) -> FlightRecord {
        let blank = Blank {
            number,
            at_ns: at.as_nanos(),
        };
        match *self {
            Self::AgentStarted(agent) => blank.of(1, None, None, identity(agent)),
            Self::AgentResumed(agent) => blank.of(2, None, None, identity(agent)),
            Self::AgentStopping { pid } => blank.of(3, None, None, [pid.into(), 0, 0]),
            Self::AgentRestarting { pid, grace } => {
                blank.of(4, None, None, [pid.into(), nanos(grace), 0])
            }
            Self::InstanceNamed {
                vrid,
                second,
                bytes,
            } => blank.named(vrid, second, &bytes),
            Self::PeerUp { peer } => blank.of(10, None, Some(peer), [0; 3]),
            Self::PeerDown { peer } => blank.of(11, None, Some(peer), [0; 3]),
            Self::AdvertMissed { peer, since } => {
                blank.of(12, None, Some(peer), [since.as_nanos(), 0, 0])
            }
            Self::ProbesUnanswered {
                peer,
                count,
                answered,
            } => {
                let answered = answered.map_or(0, Instant::as_nanos);
                blank.of(13, None, Some(peer), [count, answered, 0])
            }
            Self::AgentLate { peer } => blank.of(14, None, Some(peer), [0; 3]),
            Self::PeerLeaseOver { peer } => blank.of(17, None, Some(peer), [0; 3]),
            Self::Rejected { from, reason } => {
                blank.of(15, None, Some(from), [0, reject::number(reason), 0])
            }
            Self::VipsDiffer { vrid, peer } => blank.of(16, Some(vrid), Some(peer), [0; 3]),
            Self::OwnStall { late } => blank.of(20, None, None, [nanos(late), 0, 0]),
            Self::LeaseBegun { until } => blank.of(30, None, None, [until.as_nanos(), 0, 0]),
            Self::LeaseRenewedLate { left } => blank.of(31, None, None, [nanos(left), 0, 0]),
            Self::LeaseEnded { until, told } => {
                let kind = if told { 33 } else { 32 };
                blank.of(kind, None, None, [until.as_nanos(), 0, 0])
            }
            Self::Link { vrid, link } => blank.of(link_kind(link), Some(vrid), None, [0; 3]),
            Self::Detached { ifindex } => blank.of(43, None, None, [ifindex.into(), 0, 0]),
            Self::Attached { ifindex } => blank.of(44, None, None, [ifindex.into(), 0, 0]),
            Self::DataplaneFailed { vrid } => blank.of(50, Some(vrid), None, [0; 3]),
            Self::TransmitFailed => blank.of(51, None, None, [0; 3]),
            Self::TransmitWorks => blank.of(52, None, None, [0; 3]),
            Self::Transition {
                vrid,
                from,
                to,
                reason,
                epoch,
            } => {
                let decision = decision(from, to, reason);
                blank.of(60, Some(vrid), None, [decision, epoch.0.into(), 0])
            }
            Self::Claimed {
                vrid,
                epoch,
                answering,
            } => blank.of(61, Some(vrid), None, [epoch.0.into(), answering.into(), 0]),
            Self::Released { vrid, drain } => {
                let word =
                    |(mac, until): ([u8; 6], Instant)| [station(mac, 1), until.as_nanos(), 0];
                blank.of(62, Some(vrid), None, drain.map_or([0; 3], word))
            }
            Self::Announced { vrid } => blank.of(63, Some(vrid), None, [0; 3]),
            Self::FirstPacket { vrid, vip, after } => {
                blank.of(64, Some(vrid), Some(vip), [nanos(after), 0, 0])
            }
            Self::HandingOver { vrid, peer } => blank.of(70, Some(vrid), peer, [0; 3]),
            Self::HandoverFailed { vrid, peer } => blank.of(71, Some(vrid), Some(peer), [0; 3]),
            Self::SplitBrain { vrid, peer, kept } => {
                blank.of(80, Some(vrid), Some(peer), [kept.into(), 0, 0])
            }
            Self::ForeignClaim {
                vrid,
                address,
                mac,
                kind,
            } => {
                let details = [0, station(mac, kind as u64), 0];
                blank.of(81, Some(vrid), Some(address), details)
            }
            Self::Unknown { kind, details } => blank.of(kind, None, None, details),
        }
    }
}

/// A record of which only the place and the time are known yet.
struct Blank {
    number: u64,
    at_ns: u64,
}

impl Blank {
    fn of(
        self,
        kind: u32,
        vrid: Option<Vrid>,
        peer: Option<IpAddr>,
        details: [u64; 3],
    ) -> FlightRecord {
        FlightRecord {
            number: self.number,
            at_ns: self.at_ns,
            kind,
            vrid: vrid.map_or(0, |vrid| vrid.get().into()),
            peer: peer.map_or([0; 16], |peer| mapped(peer).octets()),
            details,
        }
    }

    fn named(self, vrid: Vrid, second: bool, bytes: &NamePart) -> FlightRecord {
        let [a, b, details @ ..]: [u64; 5] = bytemuck::cast(*bytes);
        FlightRecord {
            peer: bytemuck::cast([a, b]),
            ..self.of(if second { 6 } else { 5 }, Some(vrid), None, details)
        }
    }
}

/// The event in a record; `None`: this version does not know it.
fn parse(record: &FlightRecord) -> Option<Event> {
    let [first, second, _] = record.details;
    let (instance, other) = (vrid(record.vrid), peer(record.peer));
    Some(match record.kind {
        1 => Event::AgentStarted(parse_identity(record.details)?),
        2 => Event::AgentResumed(parse_identity(record.details)?),
        3 => Event::AgentStopping {
            pid: u32::try_from(first).ok()?,
        },
        4 => Event::AgentRestarting {
            pid: u32::try_from(first).ok()?,
            grace: Duration::from_nanos(second),
        },
        5 | 6 => Event::InstanceNamed {
            vrid: instance?,
            second: record.kind == 6,
            bytes: name_bytes(record),
        },
        10..=17 => parse_peer(record)?,
        20 => Event::OwnStall {
            late: Duration::from_nanos(first),
        },
        30 => Event::LeaseBegun {
            until: Instant::from_nanos(first),
        },
        31 => Event::LeaseRenewedLate {
            left: Duration::from_nanos(first),
        },
        32 | 33 => Event::LeaseEnded {
            until: Instant::from_nanos(first),
            told: record.kind == 33,
        },
        40..=42 => Event::Link {
            vrid: instance?,
            link: LINKS
                .into_iter()
                .find(|link| link_kind(*link) == record.kind)?,
        },
        43 => Event::Detached {
            ifindex: u32::try_from(first).ok()?,
        },
        44 => Event::Attached {
            ifindex: u32::try_from(first).ok()?,
        },
        50 => Event::DataplaneFailed { vrid: instance? },
        51 => Event::TransmitFailed,
        52 => Event::TransmitWorks,
        60..=64 => parse_flip(record, instance?)?,
        70 => Event::HandingOver {
            vrid: instance?,
            peer: other,
        },
        71 => Event::HandoverFailed {
            vrid: instance?,
            peer: other?,
        },
        80 => Event::SplitBrain {
            vrid: instance?,
            peer: other?,
            kept: first == 1,
        },
        81 => Event::ForeignClaim {
            vrid: instance?,
            address: other?,
            mac: mac(second),
            kind: ConflictKind::from_u32(u32::try_from(second >> 48).ok()?)?,
        },
        _ => return None,
    })
}

/// What was heard of a peer, or not.
fn parse_peer(record: &FlightRecord) -> Option<Event> {
    let [first, second, _] = record.details;
    let peer = peer(record.peer)?;
    Some(match record.kind {
        10 => Event::PeerUp { peer },
        11 => Event::PeerDown { peer },
        12 => Event::AdvertMissed {
            peer,
            since: Instant::from_nanos(first),
        },
        13 => Event::ProbesUnanswered {
            peer,
            count: first,
            answered: (second != 0).then(|| Instant::from_nanos(second)),
        },
        14 => Event::AgentLate { peer },
        15 => Event::Rejected {
            from: peer,
            reason: reject::reason(second)?,
        },
        16 => Event::VipsDiffer {
            vrid: vrid(record.vrid)?,
            peer,
        },
        17 => Event::PeerLeaseOver { peer },
        _ => return None,
    })
}

/// Decisions, and what was done about them.
fn parse_flip(record: &FlightRecord, vrid: Vrid) -> Option<Event> {
    let [first, second, _] = record.details;
    Some(match record.kind {
        60 => {
            let [from, to, reason, ..] = first.to_le_bytes();
            Event::Transition {
                vrid,
                from: State::from_wire(from)?,
                to: State::from_wire(to)?,
                reason: REASONS
                    .into_iter()
                    .find(|known| reason_number(*known) == reason)?,
                epoch: Epoch(u32::try_from(second).ok()?),
            }
        }
        61 => Event::Claimed {
            vrid,
            epoch: Epoch(u32::try_from(first).ok()?),
            answering: second == 1,
        },
        62 => Event::Released {
            vrid,
            drain: (first != 0).then(|| (mac(first), Instant::from_nanos(second))),
        },
        63 => Event::Announced { vrid },
        64 => Event::FirstPacket {
            vrid,
            vip: peer(record.peer)?,
            after: Duration::from_nanos(first),
        },
        _ => return None,
    })
}

const LINKS: [Link; 3] = [Link::Up, Link::Down, Link::Gone];

const fn link_kind(link: Link) -> u32 {
    match link {
        Link::Up => 40,
        Link::Down => 41,
        Link::Gone => 42,
    }
}

fn decision(from: State, to: State, reason: TransitionReason) -> u64 {
    u64::from_le_bytes([from as u8, to as u8, reason_number(reason), 0, 0, 0, 0, 0])
}

/// All reasons.
const REASONS: [TransitionReason; 17] = [
    TransitionReason::Started,
    TransitionReason::ActiveDown,
    TransitionReason::Successor,
    TransitionReason::ActiveLeft,
    TransitionReason::Preempted,
    TransitionReason::Switchover,
    TransitionReason::LostConflict,
    TransitionReason::LeaseExpired,
    TransitionReason::LinkDown,
    TransitionReason::LinkGone,
    TransitionReason::LinkUp,
    TransitionReason::DataplaneFailed,
    TransitionReason::Shutdown,
    TransitionReason::NodeDead,
    TransitionReason::AgentDead,
    TransitionReason::Resumed,
    TransitionReason::Conflict,
];

/// The number of a reason, which never changes.
const fn reason_number(reason: TransitionReason) -> u8 {
    match reason {
        TransitionReason::Started => 1,
        TransitionReason::ActiveDown => 2,
        TransitionReason::Successor => 3,
        TransitionReason::ActiveLeft => 4,
        TransitionReason::Preempted => 5,
        TransitionReason::Switchover => 6,
        TransitionReason::LostConflict => 7,
        TransitionReason::LeaseExpired => 8,
        TransitionReason::LinkDown => 9,
        TransitionReason::LinkGone => 10,
        TransitionReason::LinkUp => 11,
        TransitionReason::DataplaneFailed => 12,
        TransitionReason::Shutdown => 13,
        TransitionReason::NodeDead => 14,
        TransitionReason::AgentDead => 15,
        TransitionReason::Resumed => 16,
        TransitionReason::Conflict => 17,
    }
}

/// The word for what happened `more` times more, the last time `after` the first.
pub(super) fn merged_word(more: u32, after: Duration) -> u64 {
    const MICROSECONDS: u64 = (1 << 40) - 1;
    let after = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
    u64::from(more.min((1 << 24) - 1)) << 40 | after.min(MICROSECONDS)
}

/// How often it happened in all, and when the last time.
fn merged(first: Instant, word: u64) -> (u32, Instant) {
    let more = u32::try_from(word >> 40).unwrap_or(0);
    let after = Duration::from_micros(word & ((1 << 40) - 1));
    (more + 1, first + after)
}

fn identity(agent: AgentIdentity) -> [u64; 3] {
    let [major, minor, patch] = agent.version.map(u64::from);
    let version = major << 32 | minor << 16 | patch;
    [version, agent.pid.into(), agent.incarnation.0]
}

fn parse_identity([version, pid, incarnation]: [u64; 3]) -> Option<AgentIdentity> {
    let part = |shift: u32| u16::try_from(version >> shift & 0xffff).ok();
    Some(AgentIdentity {
        version: [part(32)?, part(16)?, part(0)?],
        pid: u32::try_from(pid).ok()?,
        incarnation: Incarnation(incarnation),
    })
}

fn name_bytes(record: &FlightRecord) -> NamePart {
    let [a, b]: [u64; 2] = bytemuck::cast(record.peer);
    let [c, d, e] = record.details;
    bytemuck::cast([a, b, c, d, e])
}

/// A MAC address with something above it.
fn station(mac: [u8; 6], above: u64) -> u64 {
    let [a, b, c, d, e, f] = mac;
    u64::from_be_bytes([0, 0, a, b, c, d, e, f]) | above << 48
}

fn mac(word: u64) -> [u8; 6] {
    let [_, _, mac @ ..] = word.to_be_bytes();
    mac
}

fn vrid(number: u32) -> Option<Vrid> {
    u8::try_from(number).ok().and_then(Vrid::new)
}

fn peer(bytes: [u8; 16]) -> Option<IpAddr> {
    (bytes != [0; 16]).then(|| Ipv6Addr::from(bytes).to_canonical())
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
