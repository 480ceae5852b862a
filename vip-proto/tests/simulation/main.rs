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
mod faults;
mod rng;
mod world;

use faults::{Fault, Setup};
use rng::Rng;
use vip_proto::election::State;
use vip_proto::node::LinkState;
use world::{INTERVAL, World};

/// Which faults a schedule is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Crashes, restarts, freezes, commands, link changes; nothing is cut.
    Faults,
    /// The same with cut links.
    Partitions,
    /// As `Faults`, with more restarts, and somebody replays what was sent.
    Replays,
    /// As `Partitions`, and somebody replays what was sent.
    ReplaysInPartitions,
}

fn setup(rng: &mut Rng, kind: Kind) -> Setup {
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
        // With a factor of 2 the lease leaves no room for a lost advert: docs/election.md.
        loss: if down_factor == 2 {
            0
        } else {
            *rng.pick(&[0, 5, 30, 50])
        },
        delay: if rng.chance(50) {
            INTERVAL / 8
        } else {
            INTERVAL / 50
        },
        replays: match kind {
            Kind::Faults | Kind::Partitions => 0,
            Kind::Replays | Kind::ReplaysInPartitions => 60,
        },
    }
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
        Kind::Faults | Kind::Replays => 11,
        Kind::Partitions | Kind::ReplaysInPartitions => 14,
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
        11 | 12 => Fault::Cut(node, other),
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
            // A start takes longer than an advert is under way, and than the lease that is left of a
            // claim nobody may have heard of.
            let (end, start) = if rng.chance(70) {
                (Fault::Crash(node), INTERVAL / 8)
            } else {
                (Fault::Kill(node), INTERVAL * 3)
            };
            world.inject(end);
            world.run_for(start);
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
    world.calm();
    world.run_for(INTERVAL * 60);
    assert_one_active(&world);
    let before = world.claims;
    world.run_for(INTERVAL * 20);
    assert_one_active(&world);
    assert_eq!(
        world.claims,
        before,
        "{}",
        world.blame("no rest in a quiet cluster")
    );
    world
}

fn assert_one_active(world: &World) {
    let active = (0..world.count()).filter(|node| world.state(*node) == Some(State::Active));
    let active: Vec<usize> = active.collect();
    assert!(
        active.len() == 1 && world.holders() == active,
        "{}",
        world.blame(&format!(
            "{active:?} are Active, {:?} hold leases",
            world.holders()
        ))
    );
}

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

#[test]
fn two_leases_never_coexist_while_nothing_is_cut() {
    let (seeds, trace) = seeds(1000);
    let mut claims = 0;
    for seed in seeds {
        claims += run(seed, Kind::Faults, trace).claims;
    }
    assert!(claims > 1, "the schedules move the instance around");
}

#[test]
fn after_a_partition_heals_exactly_one_node_is_active() {
    let (seeds, trace) = seeds(1000);
    let mut split_brains = 0;
    for seed in seeds {
        split_brains += run(seed, Kind::Partitions, trace).split_brains;
    }
    assert!(
        trace || split_brains > 0,
        "the schedules bring two Active nodes together"
    );
}

#[test]
fn whoever_replays_recorded_adverts_moves_nothing() {
    let (seeds, trace) = seeds(1000);
    for seed in seeds {
        run(seed, Kind::Replays, trace);
        run(seed, Kind::ReplaysInPartitions, trace);
    }
}
