//! The writing end: one per process, on the election thread.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use vip_common::abi::FLIGHT_RECORDS;
use vip_proto::election::Command;
use vip_proto::node::{Action, Drain, EchoSeen, LinkState, Report};
use vip_proto::{Incarnation, Instant, NodeAddress, Vrid};

use super::event::{AgentIdentity, Event, Keep, Link, Merging, NAME_PART, NamePart};
use super::record::merged_word;
use crate::clock;
use crate::dataplane::flight::FlightRing;

/// Kinds of events that may be merged at the same time; of more, the one that was longest not seen
/// begins anew.
const MERGING: usize = 64;

/// Peers whose last answer is remembered.
const PEERS: usize = 64;

/// A lease that is renewed with less than this part of it left was renewed late.
const LATE_PART: u32 = 8;

/// Writes records, each after the one before, from wherever an earlier agent stopped.
#[derive(Debug)]
pub struct Recorder {
    ring: Arc<FlightRing>,
    next: u64,
    merging: [Option<Merged>; MERGING],
    /// End of the lease as it was last written.
    lease: Option<Instant>,
    /// By VRID: the link as it was last seen.
    links: [Option<Link>; 256],
    /// When peers last answered a probe.
    answers: [Option<(IpAddr, Instant)>; PEERS],
    /// Whether adverts cannot be sent.
    mute: bool,
    /// Records that could not be written.
    lost: u64,
}

/// An event that more of its kind are merged with.
#[derive(Debug, Clone, Copy)]
struct Merged {
    event: Event,
    rule: Merging,
    number: u64,
    first: Instant,
    last: Instant,
    more: u32,
    detail: u64,
}

impl Merged {
    /// Whether the record still tells the truth with this event in it. That a peer is dead is told
    /// with the row of probes that shows it, not with a single loss long before.
    fn goes_on_with(&self, event: &Event) -> bool {
        match (self.event, *event) {
            (
                Event::ProbesUnanswered { answered, .. },
                Event::ProbesUnanswered {
                    count,
                    answered: now,
                    ..
                },
            ) => (self.detail, count) == (1, 1) || answered == now && self.more == 0,
            _ => true,
        }
    }
}

impl Recorder {
    /// Goes on with this ring.
    #[must_use]
    pub fn new(ring: Arc<FlightRing>) -> Self {
        let last = ring.records().last().map_or(0, |record| record.number);
        Self {
            ring,
            next: last + 1,
            merging: [None; MERGING],
            lease: None,
            links: [None; 256],
            answers: [None; PEERS],
            mute: false,
            lost: 0,
        }
    }

    /// Records that an agent began, and what its instances are called.
    pub fn begin<'n>(
        &mut self,
        incarnation: Incarnation,
        resumed: bool,
        names: impl IntoIterator<Item = (Vrid, &'n str)>,
    ) {
        let agent = AgentIdentity {
            version: version(),
            pid: std::process::id(),
            incarnation,
        };
        self.note(if resumed {
            Event::AgentResumed(agent)
        } else {
            Event::AgentStarted(agent)
        });
        for (vrid, name) in names {
            for (part, second) in name.as_bytes().chunks(NAME_PART).zip([false, true]) {
                let mut bytes = NamePart::default();
                for (to, from) in bytes.as_flattened_mut().iter_mut().zip(part) {
                    *to = *from;
                }
                self.note(Event::InstanceNamed {
                    vrid,
                    second,
                    bytes,
                });
            }
        }
    }

    /// Records what the machine wants done, as far as it tells something.
    pub fn action(&mut self, action: &Action) {
        match *action {
            Action::Lease { until, .. } => self.lease(until, clock::now()),
            Action::Claim {
                vrid,
                epoch,
                answering,
            } => self.note(Event::Claimed {
                vrid,
                epoch,
                answering,
            }),
            Action::Release { vrid, drain } => self.note(Event::Released {
                vrid,
                drain: drain.map(|Drain { mac, until }| (mac, until)),
            }),
            Action::Announce { vrid } => self.note(Event::Announced { vrid }),
            Action::Report(report) => self.report(&report),
            // Too often, or told by what follows.
            Action::Probe { .. } | Action::Session { .. } | Action::Transmit => {}
        }
    }

    fn report(&mut self, report: &Report) {
        let mut event = event_of(report);
        if let Event::ProbesUnanswered { peer, answered, .. } = &mut event {
            let answers = self.answers.iter().flatten();
            *answered = answers
                .clone()
                .find(|(of, _)| of == peer)
                .map(|(_, at)| *at);
        }
        self.note(event);
    }

    /// Records a command that was accepted.
    pub fn command(&mut self, vrid: Vrid, command: Command) {
        match command {
            Command::Switchover { to } => self.note(Event::HandingOver {
                vrid,
                peer: to.map(|peer| peer.0),
            }),
        }
    }

    /// Remembers when a peer last answered a probe, for when it does not any more; and records that
    /// its agent's lease is over if it says so.
    pub fn answered(&mut self, peer: NodeAddress, echo: &EchoSeen) {
        let at = echo.arrived;
        if echo.lease_left.is_zero() {
            self.note_at(Event::PeerLeaseOver { peer: peer.0 }, at);
        }
        let known = |slot: &&mut Option<(IpAddr, Instant)>| slot.is_none_or(|(of, _)| of == peer.0);
        if let Some(slot) = self.answers.iter_mut().find(known) {
            *slot = Some((peer.0, at));
        }
    }

    /// Records the state of an instance's link if it has changed.
    pub fn link(&mut self, vrid: Vrid, state: LinkState) {
        let link = match state {
            LinkState::Up => Link::Up,
            LinkState::Down => Link::Down,
            LinkState::Gone => Link::Gone,
        };
        let Some(known) = self.links.get_mut(usize::from(vrid.get())) else {
            return;
        };
        // That it is up from the beginning is no news.
        if known.replace(link).unwrap_or(Link::Up) != link {
            self.note(Event::Link { vrid, link });
        }
    }

    /// Records whether adverts can be sent if that has changed.
    pub fn transmit_failing(&mut self, failing: bool) {
        if std::mem::replace(&mut self.mute, failing) != failing {
            self.note(if failing {
                Event::TransmitFailed
            } else {
                Event::TransmitWorks
            });
        }
    }

    /// Records something that happened now.
    pub fn note(&mut self, event: Event) {
        self.note_at(event, clock::now());
    }

    /// Records something, merging it with an earlier one of its kind where that is the rule.
    pub fn note_at(&mut self, event: Event, at: Instant) {
        let rule = event.merging();
        if rule.is_some_and(|rule| self.merge(&event, rule, at)) {
            return;
        }
        let number = self.next;
        self.next += 1;
        let record = event.record(number, at);
        if self.ring.write(&record).is_err() {
            self.lost += 1;
        }
        if let Some(rule) = rule {
            self.remember(Merged {
                event,
                rule,
                number,
                first: at,
                last: at,
                more: 0,
                detail: record.details[0],
            });
        }
        if matches!(event, Event::Transition { .. }) {
            for merged in &mut self.merging {
                merged.take_if(|merged| merged.rule.until_decision);
            }
        }
    }

    /// How many records could not be written.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// Whether the event is told by an earlier record now.
    fn merge(&mut self, event: &Event, rule: Merging, at: Instant) -> bool {
        let oldest = self.next.saturating_sub(u64::from(FLIGHT_RECORDS));
        let Some(merged) = self.merging.iter_mut().flatten().find(|merged| {
            merged.number >= oldest
                && at.saturating_since(merged.last) <= rule.within
                && are_alike(&merged.event, event, rule)
                && merged.goes_on_with(event)
        }) else {
            return false;
        };
        let [detail, ..] = event.record(0, at).details;
        merged.detail = match rule.keep {
            Keep::First => merged.detail,
            Keep::Least => merged.detail.min(detail),
            Keep::Most => merged.detail.max(detail),
        };
        merged.more = merged.more.saturating_add(1);
        merged.last = at;
        let word = merged_word(merged.more, at.saturating_since(merged.first));
        if self.ring.amend(merged.number, merged.detail, word).is_err() {
            self.lost += 1;
        }
        true
    }

    fn remember(&mut self, new: Merged) {
        let place = self.merging.iter_mut().min_by_key(|merged| {
            merged.map(|merged| (!are_alike(&merged.event, &new.event, new.rule), merged.last))
        });
        if let Some(place) = place {
            *place = Some(new);
        }
    }

    /// The lease is extended to this end.
    fn lease(&mut self, until: Instant, now: Instant) {
        let Some(end) = self.lease.replace(until) else {
            return;
        };
        let left = end.saturating_since(now);
        // One that was over is told by the machine.
        if left > Duration::ZERO && left < until.saturating_since(now) / LATE_PART {
            self.note_at(Event::LeaseRenewedLate { left }, now);
        }
    }
}

/// Whether two events are one kind, as far as merging goes.
fn are_alike(one: &Event, other: &Event, rule: Merging) -> bool {
    let (one, other) = (
        one.record(0, Instant::default()),
        other.record(0, Instant::default()),
    );
    one.kind == other.kind && one.vrid == other.vrid && (!rule.by_peer || one.peer == other.peer)
}

/// This agent's version: major, minor, patch.
fn version() -> [u16; 3] {
    [
        env!("CARGO_PKG_VERSION_MAJOR"),
        env!("CARGO_PKG_VERSION_MINOR"),
        env!("CARGO_PKG_VERSION_PATCH"),
    ]
    .map(|part| part.parse().unwrap_or(0))
}

/// What a report is in the recording.
fn event_of(report: &Report) -> Event {
    match *report {
        Report::Transition {
            vrid,
            from,
            to,
            reason,
            epoch,
        } => Event::Transition {
            vrid,
            from,
            to,
            reason,
            epoch,
        },
        Report::PeerUp { peer } => Event::PeerUp { peer: peer.0 },
        Report::PeerDown { peer } => Event::PeerDown { peer: peer.0 },
        Report::SplitBrain { vrid, peer, kept } => Event::SplitBrain {
            vrid,
            peer: peer.0,
            kept,
        },
        Report::VipsDiffer { vrid, peer } => Event::VipsDiffer { vrid, peer: peer.0 },
        Report::OwnStall { late } => Event::OwnStall { late },
        Report::AgentLate { peer } => Event::AgentLate { peer: peer.0 },
        Report::ProbesUnanswered { peer, count } => Event::ProbesUnanswered {
            peer: peer.0,
            count: count.into(),
            answered: None,
        },
        Report::AdvertMissed { peer, since } => Event::AdvertMissed {
            peer: peer.0,
            since,
        },
        Report::LeaseBegun { until } => Event::LeaseBegun { until },
        Report::LeaseEnded { until, told } => Event::LeaseEnded { until, told },
        Report::HandoverFailed { vrid, peer } => Event::HandoverFailed { vrid, peer: peer.0 },
        Report::Rejected { from, reason } => Event::Rejected {
            from: from.0,
            reason,
        },
    }
}

#[cfg(test)]
mod tests;
