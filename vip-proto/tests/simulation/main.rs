//! Clusters of two and three nodes in virtual time, with a network and operators that do their
//! worst; each seed is one schedule. `VIP_SIM_SEED=n cargo test -p vip-proto --test simulation --
//! --nocapture` replays one with a trace; `VIP_SIM_RUNS=n` runs more of them.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::float_arithmetic,
    reason = "a test program: it fails by panicking and prints its trace"
)]

mod attacker;
mod driver;
mod faults;
mod kernel;
mod network;
mod planned;
mod rng;
mod world;

use std::time::Duration;

use faults::{Fault, Setup};
use rng::Rng;
use vip_proto::election::State;
use vip_proto::node::{LinkState, Liveness};
use world::{INTERVAL, Tally, World};

/// Which faults a schedule is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Crashes, restarts, freezes, commands, link changes; nothing is cut.
    Faults,
    /// The same with cut links.
    Partitions,
    /// As `Faults`, with more restarts, and somebody replays what was sent.
    Replays,
    /// As `Partitions`, and somebody replays what was sent.
    ReplaysInPartitions,
    /// Only what is planned, among healthy nodes.
    Planned,
}

pub(crate) fn setup(rng: &mut Rng, kind: Kind) -> Setup {
    let count = 2 + rng.below(2);
    let down_factor = *rng.pick(&[2, 3, 3, 3, 4]);
    let priorities = (0..count)
        .map(|_| *rng.pick(&[1, 50, 100, 100, 150, 254]))
        .collect();
    Setup {
        priorities,
        preempt: rng.chance(70),
        preempt_delay: INTERVAL * u32::try_from(rng.below(8)).unwrap(),
        down_factor,
        liveness: liveness(rng, kind),
        lease: rng
            .chance(30)
            .then(|| INTERVAL / 10 * u32::try_from(6 + rng.below(12)).unwrap()),
        // With a factor of 2 the lease leaves no room for a lost advert: docs/election.md.
        loss: if down_factor == 2 {
            0
        } else {
            *rng.pick(&[0, 5, 30, 50])
        },
        probe_loss: *rng.pick(&[0, 10, 40]),
        delay: if rng.chance(50) {
            INTERVAL / 8
        } else {
            INTERVAL / 50
        },
        replays: match kind {
            Kind::Faults | Kind::Partitions | Kind::Planned => 0,
            Kind::Replays | Kind::ReplaysInPartitions => 60,
        },
    }
}

/// In a third of the schedules nobody probes.
fn liveness(rng: &mut Rng, kind: Kind) -> Option<Liveness> {
    let interval = INTERVAL / *rng.pick(&[3, 4, 4, 10]);
    let misses = u8::try_from(2 + rng.below(3)).unwrap();
    let probes = rng.chance(if kind == Kind::Planned { 50 } else { 67 });
    probes.then_some(Liveness { interval, misses })
}

fn tenths(rng: &mut Rng, least: u64, most: u64) -> Duration {
    INTERVAL / 10 * u32::try_from(least + rng.below(most - least)).unwrap()
}

fn fault(rng: &mut Rng, count: u64, kind: Kind) -> Fault {
    let node = usize::try_from(rng.below(count)).unwrap();
    let other = (node + 1 + usize::try_from(rng.below(count - 1)).unwrap())
        % usize::try_from(count).unwrap();
    let link = *rng.pick(&[
        LinkState::Up,
        LinkState::Up,
        LinkState::Down,
        LinkState::Gone,
    ]);
    let kinds = match kind {
        Kind::Faults | Kind::Replays | Kind::Planned => 17,
        Kind::Partitions | Kind::ReplaysInPartitions => 20,
    };
    match rng.below(kinds) {
        0 => Fault::Kill(node),
        1 => Fault::Crash(node),
        2 | 3 => Fault::Start(node),
        4 | 5 => Fault::Freeze(
            node,
            INTERVAL / 10 * u32::try_from(1 + rng.below(120)).unwrap(),
        ),
        6 => Fault::Switchover(node, rng.chance(50).then_some(other)),
        7 => Fault::Switchover(node, None),
        8 => Fault::Link(node, link),
        9 => Fault::DataplaneFailure(node),
        10 => Fault::Shutdown(node),
        11 | 12 => Fault::Resume(node, tenths(rng, 0, 25)),
        13 | 14 => Fault::Restart(node, tenths(rng, 5, 60), tenths(rng, 0, 50)),
        // One of the nodes never yields, so that somebody is left.
        15 if node > 0 => Fault::ForeignClaim(node),
        15 | 16 => Fault::Switchover(node, None),
        17 | 18 => Fault::Cut(node, other),
        _ => Fault::Heal,
    }
}

/// One schedule: disturbances, then calm, then the question who is Active.
fn run(seed: u64, kind: Kind, trace: bool) -> World {
    let mut rng = Rng::new(seed);
    let setup = setup(&mut rng, kind);
    let mut world = World::new(setup, seed, trace);
    for node in 0..world.count() {
        world.inject(Fault::Start(node));
        world.run_for(INTERVAL / 10 * u32::try_from(rng.below(30)).unwrap());
    }
    for _ in 0..4 + rng.below(8) {
        if kind == Kind::Replays {
            let node = usize::try_from(rng.below(world.count() as u64)).unwrap();
            let end = if rng.chance(70) {
                Fault::Crash(node)
            } else {
                Fault::Kill(node)
            };
            world.inject(end);
            // A start takes longer than an advert is under way.
            world.run_for(INTERVAL / 8);
            world.inject(Fault::Start(node));
        }
        let pause = if rng.chance(30) {
            rng.below(20)
        } else {
            rng.below(150)
        };
        world.run_for(INTERVAL / 10 * u32::try_from(pause).unwrap());
        let fault = fault(&mut rng, world.count() as u64, kind);
        world.inject(fault);
    }
    come_to_rest(&mut world);
    world
}

/// Nothing is disturbed any more: one node is Active, and it stays so.
pub(crate) fn come_to_rest(world: &mut World) {
    world.calm();
    world.run_for(INTERVAL * 60);
    // Who asked in vain for preemption asks again after ten seconds.
    let retried = world.tally.failed_at + INTERVAL * 120;
    world.run_for(retried.saturating_since(world.now));
    assert_one_active(world);
    let before = world.tally.claims;
    world.run_for(INTERVAL * 20);
    assert_one_active(world);
    assert_eq!(
        world.tally.claims,
        before,
        "{}",
        world.blame("no rest in a quiet cluster")
    );
}

fn assert_one_active(world: &World) {
    let active = (0..world.count()).filter(|node| world.state(*node) == Some(State::Active));
    let active: Vec<usize> = active.collect();
    assert!(
        active.len() == 1 && world.answering() == active,
        "{}",
        world.blame(&format!(
            "{active:?} are Active, {:?} answer",
            world.answering()
        ))
    );
}

/// Which seeds to run, and whether to trace them.
fn seeds(default: u64) -> (std::ops::Range<u64>, bool) {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().expect(name))
    };
    match number("VIP_SIM_SEED") {
        Some(seed) => (seed..seed + 1, true),
        None => (0..number("VIP_SIM_RUNS").unwrap_or(default), false),
    }
}

/// Runs all seeds of a kind; answers what happened in them, unless it was a single one.
fn run_all(default: u64, schedule: impl Fn(u64, bool) -> World) -> Option<Tally> {
    let (seeds, trace) = seeds(default);
    let mut sum = Tally::default();
    for seed in seeds {
        let tally = schedule(seed, trace).tally;
        sum.claims += tally.claims;
        sum.split_brains += tally.split_brains;
        sum.handed_over += tally.handed_over;
        sum.nodes_dead += tally.nodes_dead;
        sum.agents_dead += tally.agents_dead;
        sum.resumed += tally.resumed;
    }
    println!("{sum:?}");
    (!trace).then_some(sum)
}

#[test]
fn two_data_planes_never_answer_at_once_while_nothing_is_cut() {
    let happened = run_all(2500, |seed, trace| run(seed, Kind::Faults, trace));
    let all = |tally: Tally| {
        [
            tally.claims,
            tally.handed_over,
            tally.nodes_dead,
            tally.agents_dead,
            tally.resumed,
        ]
    };
    let never = happened.map(all).filter(|counts| counts.contains(&0));
    assert_eq!(never, None, "the schedules do not come to everything");
}

#[test]
fn after_a_partition_heals_exactly_one_node_is_active() {
    let happened = run_all(2500, |seed, trace| run(seed, Kind::Partitions, trace));
    assert!(
        happened.is_none_or(|tally| tally.split_brains > 0),
        "the schedules bring two Active nodes together"
    );
}

#[test]
fn whoever_replays_recorded_adverts_moves_nothing() {
    run_all(1250, |seed, trace| run(seed, Kind::Replays, trace));
}

#[test]
fn whoever_replays_recorded_adverts_in_partitions_moves_nothing() {
    run_all(1250, |seed, trace| {
        run(seed, Kind::ReplaysInPartitions, trace)
    });
}

#[test]
fn what_is_planned_is_seen_by_nobody() {
    let happened = run_all(2500, planned::run);
    assert!(
        happened.is_none_or(|tally| tally.handed_over > 0 && tally.resumed > 0),
        "instances are handed over, and agents replaced"
    );
}
