//! All the ways small clusters can go, up to so many faults: stateright explores the real machine
//! over a modelled network and modelled kernels. `VIP_MODEL_BUDGET=n` allows more faults,
//! `VIP_MODEL_DEPTH=n` bounds the depth. See `docs/election.md`.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::float_arithmetic,
    reason = "a test program: it fails by panicking and prints its trace"
)]

mod canonical;
mod cluster;
mod explore;
mod host;
mod model;
mod setup;
mod wire;

use explore::Finding;
use model::NEVER_TWO;
use setup::{Flaw, Kind, Setup};

/// Most transitions of one exploration: more than any of them needs.
const MOST: usize = 6_000_000;

/// Two nodes, default factor, adverts as late as they may be.
fn pair(name: &'static str, budget: u8, kinds: &[Kind]) -> Setup {
    Setup {
        name,
        priorities: vec![192, 128],
        preempt: true,
        factor: 3,
        delay: 1,
        phases: vec![0, 3, 6],
        probes: None,
        kinds: kinds.to_vec(),
        budget,
        settles: 250,
        flaw: None,
    }
}

fn assert_holds(found: Option<Finding>) {
    if let Some(Finding { rule, trace }) = found {
        panic!("broken: {rule}\n{trace}");
    }
}

const ALL: [Kind; 12] = [
    Kind::Lose,
    Kind::Duplicate,
    Kind::Late,
    Kind::Crash,
    Kind::Kill,
    Kind::Freeze,
    Kind::Slip,
    Kind::Cut,
    Kind::Switchover,
    Kind::Shutdown,
    Kind::Restart,
    Kind::LoseProbe,
];

#[test]
fn a_pair_without_probes() {
    assert_holds(explore::all(pair("pair", 1, &ALL), MOST));
}

#[test]
fn a_pair_with_probes() {
    let setup = Setup { probes: Some((2, 2)), ..pair("pair, probes", 1, &ALL) };
    assert_holds(explore::all(setup, MOST));
}
