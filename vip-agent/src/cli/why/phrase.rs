//! What happened, in words.

use std::net::IpAddr;
use std::time::Duration;

use vip_common::abi::ConflictKind;
use vip_proto::Instant;
use vip_proto::election::{State, TransitionReason};

use crate::config::duration::Human;
use crate::control::view::mac_text;
use crate::flight::event::{AgentIdentity, Link};
use crate::flight::story::Story;
use crate::flight::{Entry, Event};

/// The decision and its reason as one sentence, without the full stop.
pub(super) fn sentence(story: &Story) -> String {
    let Event::Transition { to, reason, .. } = story.decision.event else {
        return String::new();
    };
    let became = match to {
        State::Active => "became Active",
        State::Backup => "became Backup",
        State::Initialize => "no longer takes part",
    };
    format!("This node {became} because {}", because(story, to, reason))
}

fn because(story: &Story, to: State, reason: TransitionReason) -> String {
    match reason {
        TransitionReason::Started => "its agent had started".into(),
        TransitionReason::ActiveDown => active_down(story),
        TransitionReason::Successor => "the Active node handed over to it".into(),
        TransitionReason::ActiveLeft => "the Active node gave the instance up".into(),
        TransitionReason::Preempted => {
            "a node of higher priority asked for the instance and got it".into()
        }
        TransitionReason::Switchover => "the operator had it handed over".into(),
        TransitionReason::LostConflict => {
            "another node was Active too, and its claim is the better one".into()
        }
        TransitionReason::LeaseExpired => lease_expired(story),
        TransitionReason::LinkDown => "the link of its interface went down".into(),
        TransitionReason::LinkGone => "its interface is gone".into(),
        TransitionReason::LinkUp => "its interface is back".into(),
        TransitionReason::DataplaneFailed => "its data plane did not take a write".into(),
        TransitionReason::NodeDead => node_dead(story),
        TransitionReason::AgentDead => agent_dead(story),
        TransitionReason::Resumed => "its agent goes on where its predecessor stopped".into(),
        TransitionReason::Conflict => foreign_claim(story),
        TransitionReason::Shutdown if to == State::Initialize => "its agent stops".into(),
        TransitionReason::Shutdown => "its agent was stopped".into(),
    }
}

fn active_down(story: &Story) -> String {
    let missed = latest(story, |event| {
        matches!(event, Event::AdvertMissed { .. } | Event::PeerDown { .. })
    });
    match missed {
        Some(Event::AdvertMissed { peer, since }) => format!(
            "adverts of {peer} were missing for longer than its down interval, the last one was \
             heard {} before",
            ago(story.at, since)
        ),
        Some(_) | None => "no node was heard to be Active within the down interval".into(),
    }
}

fn node_dead(story: &Story) -> String {
    match latest(story, |event| {
        matches!(event, Event::ProbesUnanswered { count: 2.., .. })
    }) {
        Some(Event::ProbesUnanswered {
            peer,
            count,
            answered,
        }) => {
            let last = answered.map_or_else(String::new, |answered| {
                format!(", the last answer came {} before", ago(story.at, answered))
            });
            format!("node {peer} was dead: it left {count} probes unanswered{last}")
        }
        Some(_) | None => "the Active node was dead: it answered no probes".into(),
    }
}

fn agent_dead(story: &Story) -> String {
    let told = latest(story, |event| matches!(event, Event::PeerLeaseOver { .. }));
    let peer = match told {
        Some(Event::PeerLeaseOver { peer }) => format!("of {peer}"),
        Some(_) | None => "of the Active node".into(),
    };
    format!("the agent {peer} was dead or hung: its data plane said that the lease is over")
}

fn foreign_claim(story: &Story) -> String {
    match latest(story, |event| matches!(event, Event::ForeignClaim { .. })) {
        Some(Event::ForeignClaim { address, mac, .. }) => {
            format!("another station, {} ({address}), claims it", mac_text(mac))
        }
        Some(_) | None => "another station claims it".into(),
    }
}

fn lease_expired(story: &Story) -> String {
    match latest(story, |event| matches!(event, Event::OwnStall { .. })) {
        Some(Event::OwnStall { late }) => format!(
            "its lease had ended: the agent was {} late or did not run",
            Human(late)
        ),
        Some(_) | None => {
            "its lease had ended before the agent renewed it: the agent was stopped or late".into()
        }
    }
}

/// The latest of the signs of one kind before a decision: of one that was merged, the last time
/// counts.
fn latest(story: &Story, is_sign: impl Fn(&Event) -> bool) -> Option<Event> {
    let signs = story.before.iter().filter(|entry| is_sign(&entry.event));
    let latest = signs.max_by_key(|entry| entry.last)?;
    Some(latest.event)
}

fn ago(at: Instant, before: Instant) -> Human {
    // Nobody counts on nanoseconds here.
    let micros = at.saturating_since(before).as_micros();
    Human(Duration::from_micros(
        u64::try_from(micros).unwrap_or(u64::MAX),
    ))
}

/// A record as a line. `at`: what its times are told relative to.
pub(super) fn line(entry: &Entry, at: Instant) -> String {
    let text = what(entry, at);
    match entry.times {
        0 | 1 => text,
        // What counts is how many were lost in all.
        _ if matches!(entry.event, Event::ProbesUnanswered { count: 2.., .. }) => text,
        times => format!("{text} ({times} times until {})", relative(entry.last, at)),
    }
}

/// A time relative to another, in milliseconds with all that counts.
pub(super) fn relative(time: Instant, to: Instant) -> String {
    let (sign, span) = if time < to {
        ('-', to.saturating_since(time))
    } else {
        ('+', time.saturating_since(to))
    };
    format!(
        "{sign}{}.{:03} ms",
        span.as_millis(),
        span.as_micros() % 1000
    )
}

#[expect(clippy::too_many_lines, reason = "a phrase for each event")]
fn what(entry: &Entry, at: Instant) -> String {
    match entry.event {
        Event::AgentStarted(agent) => format!("the agent started ({})", identity(agent)),
        Event::AgentResumed(agent) => format!(
            "the agent took over what its predecessor had left ({})",
            identity(agent)
        ),
        Event::AgentStopping { pid } => format!("the agent was told to stop (pid {pid})"),
        Event::AgentRestarting { pid, grace } => format!(
            "the agent was told to restart (pid {pid}): the lease goes on for {}",
            Human(grace)
        ),
        Event::InstanceNamed { .. } => "the instance was named".into(),
        Event::PeerUp { peer } => format!("{peer} is heard"),
        Event::PeerDown { peer } => format!("{peer} was not heard for its down interval"),
        Event::AdvertMissed { peer, since } => format!(
            "an advert of {peer} is overdue, the last one came at {}",
            relative(since, at)
        ),
        Event::ProbesUnanswered {
            peer,
            count,
            answered,
        } => unanswered(peer, count, answered, at),
        Event::AgentLate { peer } => {
            format!("the agent of {peer} is late, its data plane says that it is Active")
        }
        Event::PeerLeaseOver { peer } => {
            format!("the data plane of {peer} says that its lease is over")
        }
        Event::Rejected { from, reason } => format!("a datagram of {from} was rejected: {reason}"),
        Event::VipsDiffer { peer, .. } => format!("{peer} has other VIPs for the instance"),
        Event::OwnStall { late } => format!("this agent itself was {} late", Human(late)),
        Event::LeaseBegun { until } => {
            format!("a lease begins, until {} at first", relative(until, at))
        }
        Event::LeaseRenewedLate { left } => {
            format!("the lease was renewed when only {} was left", Human(left))
        }
        Event::LeaseEnded { until, told } => {
            let told = if told { ", and a peer was told" } else { "" };
            format!("the lease was over since {}{told}", relative(until, at))
        }
        Event::Link { link, .. } => match link {
            Link::Up => "the link is up",
            Link::Down => "the link went down",
            Link::Gone => "the interface is gone",
        }
        .into(),
        Event::Detached { ifindex } => {
            format!("the data plane was taken off the interface with index {ifindex}")
        }
        Event::Attached { ifindex } => {
            format!("the data plane is on the interface with index {ifindex} again")
        }
        Event::DataplaneFailed { .. } => "the data plane did not take a write".into(),
        Event::TransmitFailed => "adverts cannot be sent".into(),
        Event::TransmitWorks => "adverts can be sent again".into(),
        Event::Transition { from, to, .. } => format!("{} → {}", state(from), state(to)),
        Event::Claimed {
            epoch,
            answering: true,
            ..
        } => format!("claimed under epoch {epoch}: packets are taken, ARP and ND answered"),
        Event::Claimed {
            epoch,
            answering: false,
            ..
        } => format!(
            "claimed under epoch {epoch}: packets are taken, the node that hands over still answers"
        ),
        Event::Released { drain, .. } => released(drain, at),
        Event::Announced { .. } => "the neighbours are told".into(),
        Event::FirstPacket { vip, .. } => format!("the first packet arrives, for {vip}"),
        Event::HandingOver { peer, .. } => match peer {
            Some(peer) => format!("the operator has {peer} take over"),
            None => "the operator has the best other node take over".into(),
        },
        Event::HandoverFailed { peer, .. } => {
            format!("{peer} did not take over: this node stays Active")
        }
        Event::SplitBrain { peer, kept, .. } => format!(
            "{peer} is Active too: this node {}",
            if kept { "stays Active" } else { "gives way" }
        ),
        Event::ForeignClaim {
            address, mac, kind, ..
        } => foreign(address, mac, kind),
        Event::Unknown { kind, details } => {
            format!("something this version has no word for: {kind} {details:?}")
        }
    }
}

fn identity(agent: AgentIdentity) -> String {
    let [major, minor, patch] = agent.version;
    format!("{major}.{minor}.{patch}, pid {}", agent.pid)
}

fn unanswered(peer: IpAddr, count: u64, answered: Option<Instant>, at: Instant) -> String {
    let probes = match count {
        1 => "a probe".into(),
        count => format!("{count} probes"),
    };
    let last = answered.map_or_else(String::new, |answered| {
        format!(", the last answer came at {}", relative(answered, at))
    });
    format!("{peer} left {probes} unanswered{last}")
}

fn released(drain: Option<([u8; 6], Instant)>, at: Instant) -> String {
    match drain {
        None => "released: nothing is answered or taken".into(),
        Some((mac, until)) => format!(
            "released: packets that still come are forwarded to {} until {} at most",
            mac_text(mac),
            relative(until, at)
        ),
    }
}

fn foreign(address: IpAddr, mac: [u8; 6], kind: ConflictKind) -> String {
    let mac = mac_text(mac);
    match kind {
        ConflictKind::Arp | ConflictKind::NeighborAdvertisement => {
            format!("another station, {mac}, claims {address}")
        }
        ConflictKind::Vrrp => format!("a VRRP router, {mac} ({address}), claims the VRID"),
    }
}

/// A state as documents write it.
pub(super) const fn state(state: State) -> &'static str {
    match state {
        State::Initialize => "Initialize",
        State::Backup => "Backup",
        State::Active => "Active",
    }
}
