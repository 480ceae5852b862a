//! Runs of the checker, and what they tell.

use std::fmt::Write as _;
use std::time::Instant;

use stateright::{Checker, Chooser, HasDiscoveries, Model, Path};

use crate::cluster::Cluster;
use crate::model::{Election, Event};
use crate::setup::{PER_INTERVAL, Setup};

/// What was found: a rule that is broken, and how it came to it.
pub(crate) struct Finding {
    pub(crate) rule: &'static str,
    pub(crate) trace: String,
}

/// A number from the environment.
pub(crate) fn number(name: &str) -> Option<usize> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect(name))
}

/// All states, breadth first: the shortest ways to broken rules. More than `most` transitions are a
/// failure: what is said of all states must be so.
pub(crate) fn all(mut setup: Setup, most: usize) -> Vec<Finding> {
    if let Some(budget) = number("VIP_MODEL_BUDGET") {
        setup.budget = u8::try_from(budget).unwrap();
    }
    let begin = Instant::now();
    let election = Election::new(setup);
    let mut checker = election
        .clone()
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .target_state_count(most);
    if let Some(depth) = number("VIP_MODEL_DEPTH") {
        checker = checker.target_max_depth(depth);
    }
    let checker = checker.spawn_bfs().join();
    let setup = &election.setup;
    println!(
        "{} (budget {}): {} states, {} transitions, depth {}, {:.1} s",
        setup.name,
        setup.budget,
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        begin.elapsed().as_secs_f32(),
    );
    let found = findings(&checker);
    assert!(
        !found.is_empty() || checker.state_count() < most,
        "{}: not explored to the end within {most} transitions",
        setup.name
    );
    found
}

/// Random walks through deeper states, so many in all.
pub(crate) fn walks(mut setup: Setup, seed: u64, states: usize) -> Vec<Finding> {
    setup.walks = true;
    let begin = Instant::now();
    let election = Election::new(setup);
    let checker = election
        .clone()
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .target_state_count(states)
        .target_max_depth(600)
        .spawn_simulation(seed, Mostly)
        .join();
    println!(
        "{} (walks, budget {}): {} transitions, depth {}, {:.1} s",
        election.setup.name,
        election.setup.budget,
        checker.state_count(),
        checker.max_depth(),
        begin.elapsed().as_secs_f32(),
    );
    findings(&checker)
}

fn findings(checker: &impl Checker<Election>) -> Vec<Finding> {
    let discoveries = checker.discoveries().into_iter();
    discoveries
        .map(|(rule, path)| Finding {
            rule,
            trace: trace(path),
        })
        .collect()
}

/// The way to a state, one line per event.
fn trace(path: Path<Cluster, Event>) -> String {
    let mut text = String::new();
    for (state, event) in path.into_vec() {
        write!(text, "{state:?}").unwrap();
        if let Some(event) = event {
            write!(text, "  => {event:?}").unwrap();
        }
        text.push('\n');
    }
    text
}

/// Chooses time rather than faults, so that a walk gets anywhere.
#[derive(Clone)]
struct Mostly;

impl Chooser<Election> for Mostly {
    type State = u64;

    fn new_state(&self, seed: u64) -> u64 {
        seed
    }

    fn choose_initial_state(&self, state: &mut u64, initial: &[Cluster]) -> usize {
        below(state, initial.len())
    }

    fn choose_action(&self, state: &mut u64, _: &Cluster, events: &[Event]) -> usize {
        // The first is the step.
        if below(state, 8) > 0 {
            0
        } else {
            below(state, events.len())
        }
    }
}

/// A random number below `end` (SplitMix64).
fn below(state: &mut u64, end: usize) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    usize::try_from((mixed ^ (mixed >> 31)) % end as u64).unwrap()
}

impl std::fmt::Debug for Cluster {
    /// One line: time in `I`, then each host.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let per = u64::from(PER_INTERVAL);
        write!(f, "{:4}.{}", self.time / per, self.time % per)?;
        for (index, host) in self.hosts.iter().enumerate() {
            write!(f, " | {index}: ")?;
            match host.state() {
                Some(state) => write!(f, "{state:?}")?,
                None => write!(f, "no agent")?,
            }
            if host.frozen.is_some() {
                write!(f, " frozen")?;
            }
            let left = crate::setup::quanta(host.clock, host.kernel.lease_until);
            write!(f, " epoch {} lease {left}/8", host.epoch().0)?;
            if host.answers() {
                write!(f, " ANSWERS")?;
            } else if host.accepts() {
                write!(f, " accepts")?;
            }
        }
        for advert in &self.wire {
            let record = &advert.content.record;
            write!(
                f,
                " | {}->{} in {}: {:?} epoch {}",
                advert.from, advert.to, advert.due, record.state, record.epoch.0
            )?;
            if record.flags.0 != 0 {
                write!(f, " flags {}", record.flags.0)?;
            }
            if let Some(successor) = record.successor {
                write!(f, " names {}", successor.0)?;
            }
        }
        if self.unsettled > 0 {
            write!(f, " | unsettled {}", self.unsettled)?;
        }
        Ok(())
    }
}
