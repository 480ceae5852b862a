//! All the ways small clusters can go, up to so many faults: stateright explores the real machine
//! over a modelled network and modelled kernels. `VIP_MODEL_BUDGET=n` allows more faults,
//! `VIP_MODEL_DEPTH=n` bounds the depth. See `docs/election.md`.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test program: it fails by panicking, prints its trace and how long it took"
)]

mod canonical;
mod cluster;
mod explore;
mod host;
mod model;
mod setup;
mod wire;

use explore::Finding;
use model::{KERNEL, NEVER_TWO};
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
        walks: false,
    }
}

/// Three nodes.
fn trio(name: &'static str, budget: u8, kinds: &[Kind]) -> Setup {
    Setup {
        priorities: vec![192, 128, 64],
        phases: vec![3],
        ..pair(name, budget, kinds)
    }
}

/// Probes each quarter of `I`, dead after two.
fn probing(setup: Setup) -> Setup {
    Setup {
        probes: Some((2, 2)),
        ..setup
    }
}

const NETWORK: [Kind; 4] = [Kind::Lose, Kind::Late, Kind::Duplicate, Kind::LoseProbe];
const FAILURES: [Kind; 5] = [Kind::Crash, Kind::Kill, Kind::Freeze, Kind::Slip, Kind::Cut];
const ORDERS: [Kind; 3] = [Kind::Switchover, Kind::Shutdown, Kind::Restart];

fn kinds(sets: &[&[Kind]]) -> Vec<Kind> {
    sets.concat()
}

fn assert_holds(found: Vec<Finding>) {
    if let Some(Finding { rule, trace }) = found.first() {
        panic!("broken: {rule}\n{trace}");
    }
}

fn assert_found(found: &[Finding], expected: &str) {
    let rules: Vec<&str> = found.iter().map(|finding| finding.rule).collect();
    assert!(rules.contains(&expected), "found: {rules:?}");
}

#[test]
fn a_pair_survives_any_fault() {
    let all = kinds(&[&NETWORK, &FAILURES, &ORDERS]);
    assert_holds(explore::all(pair("pair", 1, &all), MOST));
    assert_holds(explore::all(probing(pair("pair, probes", 1, &all)), MOST));
}

#[test]
fn three_nodes_survive_any_fault() {
    let all = kinds(&[&NETWORK, &FAILURES, &ORDERS]);
    assert_holds(explore::all(trio("three", 1, &all), MOST));
    assert_holds(explore::all(probing(trio("three, probes", 1, &all)), MOST));
}

#[test]
fn a_pair_survives_two_failures() {
    let kinds = [Kind::Lose, Kind::Crash, Kind::Kill, Kind::Slip];
    assert_holds(explore::all(pair("pair, failures", 2, &kinds), MOST));
}

#[test]
fn a_pair_survives_two_failures_while_it_probes() {
    let kinds = [Kind::Lose, Kind::LoseProbe, Kind::Crash, Kind::Kill];
    let setup = Setup {
        phases: vec![3],
        ..probing(pair("pair, failures, probes", 2, &kinds))
    };
    assert_holds(explore::all(setup, MOST));
}

#[test]
fn a_pair_hands_over_across_faults_of_the_network() {
    let kinds = kinds(&[&NETWORK, &ORDERS]);
    let setup = Setup {
        phases: vec![3],
        ..pair("pair, orders", 2, &kinds)
    };
    assert_holds(explore::all(setup.clone(), MOST));
    let setup = Setup {
        name: "pair, orders, probes",
        ..probing(setup)
    };
    assert_holds(explore::all(setup, MOST));
}

#[test]
fn a_pair_hands_over_across_cut_links() {
    let setup = Setup {
        phases: vec![3],
        ..probing(pair(
            "pair, orders, cuts",
            2,
            &[Kind::Cut, Kind::Switchover],
        ))
    };
    assert_holds(explore::all(setup, MOST));
}

#[test]
fn a_lease_longer_than_warranted_is_found() {
    // A renewal at the end of the lease has half an interval of Skew_Time, an eighth to arrive in,
    // and an eighth for the clocks: six quanta. The clocks use up theirs.
    let setup = Setup {
        phases: vec![3],
        flaw: Some(Flaw::LongLease(7)),
        ..pair("flaw: long lease", 3, &[Kind::Lose, Kind::Kill, Kind::Slip])
    };
    assert_found(&explore::all(setup, MOST), NEVER_TWO);
}

#[test]
fn a_release_that_is_not_carried_out_is_found() {
    let setup = Setup {
        flaw: Some(Flaw::KeepsClaim),
        ..pair("flaw: keeps its claim", 1, &ORDERS)
    };
    assert_found(&explore::all(setup, MOST), KERNEL);
}

#[test]
fn answering_without_waiting_for_the_release_is_found() {
    let setup = Setup {
        flaw: Some(Flaw::AnswersEarly),
        ..pair("flaw: answers early", 1, &ORDERS)
    };
    assert_found(&explore::all(setup, MOST), NEVER_TWO);
}

#[test]
fn a_verdict_on_a_lease_that_goes_on_is_found() {
    let setup = Setup {
        flaw: Some(Flaw::SaysLeaseOver),
        ..probing(pair("flaw: says that the lease is over", 0, &[]))
    };
    assert_found(&explore::all(setup, MOST), NEVER_TWO);
}

#[test]
fn probes_lost_in_a_row_are_found() {
    let setup = Setup {
        flaw: Some(Flaw::LosesProbes),
        ..probing(pair("flaw: loses probes", 2, &[Kind::LoseProbe]))
    };
    assert_found(&explore::all(setup, MOST), NEVER_TWO);
}

#[test]
fn grace_that_nobody_was_told_of_is_found() {
    let setup = Setup {
        flaw: Some(Flaw::GraceWithoutNotice),
        ..pair("flaw: grace without notice", 1, &[Kind::Kill])
    };
    assert_found(&explore::all(setup, MOST), NEVER_TWO);
}

#[test]
fn random_walks_go_deeper() {
    let all = kinds(&[&NETWORK, &[Kind::Crash, Kind::Kill, Kind::Freeze], &ORDERS]);
    for (seed, setup) in [
        (1, pair("pair", 24, &all)),
        (2, probing(pair("pair, probes", 24, &all))),
        (3, trio("three", 24, &all)),
        (4, probing(trio("three, probes", 24, &all))),
    ] {
        let states = explore::number("VIP_MODEL_WALKS").unwrap_or(30_000);
        assert_holds(explore::walks(setup, seed, states));
    }
}
