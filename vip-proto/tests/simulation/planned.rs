//! Planned changes among healthy nodes: switchovers, preemption, orderly stops and starts, agents
//! that are replaced. At every moment some node takes packets.

use crate::faults::Fault;
use crate::rng::Rng;
use crate::world::{INTERVAL, World};
use crate::{Kind, come_to_rest, setup, tenths};
use vip_proto::election::State;

/// One schedule.
pub(crate) fn run(seed: u64, trace: bool) -> World {
    let mut rng = Rng::new(seed);
    let setup = setup(&mut rng, Kind::Planned);
    let mut world = World::new(setup, seed, trace);
    for node in 0..world.count() {
        world.inject(Fault::Start(node));
    }
    world.run_for(INTERVAL * 30);
    world.must_serve = true;
    for _ in 0..3 + rng.below(6) {
        step(&mut rng, &mut world);
        world.check_service();
        world.run_for(INTERVAL * 15);
    }
    world.run_for(INTERVAL * 20);
    come_to_rest(&mut world);
    world
}

fn step(rng: &mut Rng, world: &mut World) {
    let count = u64::try_from(world.count()).unwrap();
    let node = usize::try_from(rng.below(count)).unwrap();
    world.run_for(tenths(rng, 0, 10));
    match rng.below(5) {
        0 => world.inject(Fault::Switchover(node, None)),
        1 => {
            // Ordered of all, whoever can obeys; and again, in the midst of it.
            for other in 0..world.count() {
                world.inject(Fault::Switchover(other, None));
            }
            world.run_for(tenths(rng, 0, 3));
            for other in 0..world.count() {
                world.inject(Fault::Switchover(other, None));
            }
        }
        2 => {
            world.inject(Fault::Shutdown(node));
            world.run_for(INTERVAL * 12);
            world.inject(Fault::Start(node));
        }
        3 => {
            // Orderly stopped while it may be handing over or accepting.
            world.inject(Fault::Switchover(node, None));
            world.run_for(tenths(rng, 0, 2));
            let other = (node + 1) % world.count();
            world.inject(Fault::Shutdown(other));
            world.run_for(INTERVAL * 12);
            world.inject(Fault::Start(other));
        }
        _ => replace(rng, world, node),
    }
}

/// An agent is replaced within its grace: nobody takes over.
fn replace(rng: &mut Rng, world: &mut World, node: usize) {
    let before = (world.state(node), world.tally.claims);
    let grace = INTERVAL * u32::try_from(5 + rng.below(20)).unwrap();
    let after = grace * u32::try_from(rng.below(90)).unwrap() / 100;
    world.inject(Fault::Restart(node, grace, after));
    world.run_for(after + INTERVAL * 2);
    if before.0 == Some(State::Active) {
        assert_eq!(
            (world.state(node), world.tally.claims),
            before,
            "{}",
            world.blame("an agent was replaced, and the instance moved")
        );
    }
}
