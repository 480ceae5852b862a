//! The cluster as stateright explores it: what can happen in a state, and what must hold in all.

use std::sync::Arc;

use stateright::{Model, Property};

use crate::cluster::{Cluster, broken};
use crate::setup::{Flaw, Kind, PER_INTERVAL, Setup};

/// What a late or duplicated advert is late by: it comes behind the next.
const BEHIND: u16 = PER_INTERVAL + PER_INTERVAL / 2;
/// Most times the instance may move after one disturbance.
const MOVES: u8 = 3;

pub(crate) const NEVER_TWO: &str = "two nodes never answer at once, unless links are cut";
pub(crate) const NEVER_WITHOUT_LEASE: &str = "nothing is said or announced without a lease";
pub(crate) const EPOCHS: &str = "epochs never go back, and a claim takes a later one";
pub(crate) const KERNEL: &str = "the data plane acts as what the node says it is";
pub(crate) const NO_GAP: &str = "some node takes packets at every moment while nothing fails";
pub(crate) const STEADFAST: &str = "a restart within its grace moves nothing";
pub(crate) const RESUMES: &str = "an agent that resumes extends no lease before its first advert";
pub(crate) const SETTLES: &str = "exactly one node answers in time after the last disturbance";
pub(crate) const NO_LIVELOCK: &str = "the instance does not go to and fro";

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// Time goes on to the next timer or arrival.
    Step,
    Lose {
        from: usize,
        to: usize,
        advert: usize,
    },
    Late {
        from: usize,
        to: usize,
        advert: usize,
    },
    Duplicate {
        from: usize,
        to: usize,
        advert: usize,
    },
    Crash(usize),
    Kill(usize),
    Start(usize),
    Freeze(usize),
    Thaw(usize),
    Slip {
        host: usize,
        fast: bool,
    },
    Cut {
        from: usize,
        to: usize,
        both: bool,
    },
    Heal,
    Switchover(usize),
    Shutdown(usize),
    Restart(usize),
    LoseProbe {
        from: usize,
        to: usize,
    },
}

/// One setup to be explored.
#[derive(Clone)]
pub(crate) struct Election {
    pub(crate) setup: Arc<Setup>,
    settled: Arc<Vec<Cluster>>,
}

impl Election {
    pub(crate) fn new(setup: Setup) -> Self {
        let setup = Arc::new(setup);
        let settled = setup
            .phases
            .iter()
            .map(|phase| Cluster::settled(Arc::clone(&setup), *phase));
        Self {
            settled: Arc::new(settled.collect()),
            setup,
        }
    }
}

impl Model for Election {
    type State = Cluster;
    type Action = Event;

    fn init_states(&self) -> Vec<Cluster> {
        self.settled.to_vec()
    }

    fn actions(&self, state: &Cluster, events: &mut Vec<Event>) {
        events.push(Event::Step);
        for (index, host) in state.hosts.iter().enumerate() {
            if host.agent.is_none() {
                events.push(Event::Start(index));
            }
            if host.frozen.is_some_and(|frozen| frozen > 0) {
                events.push(Event::Thaw(index));
            }
        }
        if state.cut.is_some_and(|cut| cut.lasted > 0) {
            events.push(Event::Heal);
        }
        if state.budget > 0 {
            for kind in &self.setup.kinds {
                faults(*kind, state, events);
            }
        }
    }

    fn next_state(&self, last: &Cluster, event: Event) -> Option<Cluster> {
        let mut state = last.clone();
        let costs = !matches!(
            event,
            Event::Step | Event::Start(_) | Event::Thaw(_) | Event::Heal
        );
        state.budget -= u8::from(costs);
        match event {
            Event::Step => state.advance(state.distance(), None),
            Event::Lose { advert, .. } => state.lose(advert, None),
            Event::Late { advert, .. } => state.lose(advert, Some(BEHIND)),
            Event::Duplicate { advert, .. } => state.duplicate(advert, BEHIND),
            Event::Crash(host) => state.crash(host),
            Event::Kill(host) => state.kill(host),
            Event::Start(host) => state.start(host),
            Event::Freeze(host) => state.freeze(host),
            Event::Thaw(host) => state.thaw(host),
            Event::Slip { host, fast } => state.advance(1, Some((host, fast))),
            Event::Cut { from, to, both } => state.cut(from, to, both),
            Event::Heal => state.heal(),
            Event::Switchover(host) => state.switch_over(host),
            Event::Shutdown(host) => state.shut_down(host),
            Event::Restart(host) => state.restart(host),
            Event::LoseProbe { from, to } => state.lose_probe(from, to),
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NEVER_TWO, |_, state: &Cluster| {
                state.excused > 0 || state.answering() < 2
            }),
            Property::always(NEVER_WITHOUT_LEASE, |_, state: &Cluster| {
                state.broken & broken::CLAIM_WITHOUT_LEASE == 0
            }),
            Property::always(EPOCHS, |_, state: &Cluster| {
                state.broken & broken::EPOCH == 0
            }),
            Property::always(KERNEL, |_, state: &Cluster| {
                state.broken & broken::OTHER_CLAIM == 0
            }),
            Property::always(NO_GAP, |_, state: &Cluster| state.broken & broken::GAP == 0),
            Property::always(STEADFAST, |_, state: &Cluster| {
                state.broken & broken::MOVED == 0
            }),
            Property::always(RESUMES, |_, state: &Cluster| {
                state.broken & broken::EXTENDED == 0
            }),
            Property::always(SETTLES, |model: &Self, state: &Cluster| {
                state.unsettled <= model.setup.settles
            }),
            Property::always(NO_LIVELOCK, |_, state: &Cluster| state.moves <= MOVES),
        ]
    }
}

/// What of this kind can go wrong now. Between two moments at which something happens to a host, it
/// makes no difference when it is hit.
fn faults(kind: Kind, state: &Cluster, events: &mut Vec<Event>) {
    let hosts = 0..state.hosts.len();
    let eventful = |host: &usize| state.hosts[*host].eventful;
    let hit = hosts.clone().filter(eventful);
    let runs = |host: &usize| state.hosts[*host].runs();
    let first = (0..state.wire.len())
        .filter(|advert| !state.wire[*advert].touched && state.is_first(*advert));
    let between = |advert: usize| (state.wire[advert].from, state.wire[advert].to, advert);
    match kind {
        Kind::Lose => events.extend(
            first
                .filter(|advert| state.may_be_lost(*advert))
                .map(between)
                .map(|(from, to, advert)| Event::Lose { from, to, advert }),
        ),
        Kind::Late => events.extend(
            first
                .filter(|advert| state.may_be_lost(*advert))
                .map(between)
                .map(|(from, to, advert)| Event::Late { from, to, advert }),
        ),
        Kind::Duplicate => events.extend(
            first
                .map(between)
                .map(|(from, to, advert)| Event::Duplicate { from, to, advert }),
        ),
        Kind::Crash => events.extend(hit.filter(runs).map(Event::Crash)),
        Kind::Kill => events.extend(hit.filter(runs).map(Event::Kill)),
        Kind::Freeze => events.extend(hit.filter(runs).map(Event::Freeze)),
        Kind::Slip if state.steady == 0 && state.distance() > 0 => {
            let slips = hosts.flat_map(|host| [true, false].map(|fast| Event::Slip { host, fast }));
            events.extend(slips);
        }
        Kind::Slip => {}
        Kind::Cut if state.cut.is_none() => {
            let pairs = hit.flat_map(|from| hosts.clone().map(move |to| (from, to)));
            events.extend(
                pairs
                    .filter(|(from, to)| from != to)
                    .flat_map(|(from, to)| [false, true].map(|both| Event::Cut { from, to, both }))
                    .filter(|cut| !matches!(cut, Event::Cut { from, to, both: true } if from > to)),
            );
        }
        Kind::Cut => {}
        Kind::Switchover => events.extend(
            hit.filter(runs)
                .filter(|host| state.hosts[*host].answers())
                .map(Event::Switchover),
        ),
        Kind::Shutdown => events.extend(hit.filter(runs).map(Event::Shutdown)),
        Kind::Restart => events.extend(hit.filter(runs).map(Event::Restart)),
        Kind::LoseProbe => {
            let twice = state.setup.flaw == Some(Flaw::LosesProbes);
            let pairs = hosts
                .clone()
                .flat_map(|from| hosts.clone().map(move |to| (from, to)));
            events.extend(
                pairs
                    .filter(|(from, to)| from != to && state.asks(*from, *to))
                    .filter(|(from, to)| !state.deaf[*from][*to])
                    .filter(|(from, to)| twice || !state.probe_lost[*from][*to])
                    .map(|(from, to)| Event::LoseProbe { from, to }),
            );
        }
    }
}
