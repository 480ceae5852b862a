//! The XDP program, packet by packet, through `BPF_PROG_TEST_RUN`: what goes in, what comes out,
//! and which counters, statistics and events say so. Needs root; fails without.
//!
//! Each fixture is a test of its own: `cargo test -p vip-tests --test dataplane -- "two tags"`.
#![expect(unreachable_pub, reason = "the modules of one test binary")]
#![expect(
    clippy::expect_used,
    reason = "a harness without the standard test attribute"
)]
#![expect(clippy::print_stdout, reason = "measurements, shown with --nocapture")]
#![expect(
    clippy::too_many_lines,
    reason = "functions that are tables of fixtures"
)]
#![expect(clippy::cast_possible_truncation, reason = "fixtures are small")]

mod arp;
mod budget;
mod fixture;
mod frame;
mod handover;
mod harness;
mod ip;
mod lease;
mod liveness;
mod ndp;
mod other;
mod peers;
mod properties;
mod seen;
mod virtual_mac;
mod vrrp;
mod world;

use std::collections::BTreeSet;

use libtest_mimic::{Arguments, Failed, Trial};
use vip_common::abi::Counter;

use fixture::Fixture;
use harness::{Outcome, harness};
use liveness::timed;

fn main() {
    let groups = [
        ("arp", arp::fixtures()),
        ("nd", ndp::fixtures()),
        ("ip", ip::fixtures()),
        ("other", other::fixtures()),
        ("handover", handover::fixtures()),
        ("virtual MAC", virtual_mac::fixtures()),
        ("liveness", liveness::fixtures()),
        ("vrrp", vrrp::fixtures()),
    ];
    let all: Vec<Fixture> = groups
        .iter()
        .flat_map(|(_, fixtures)| fixtures.clone())
        .collect();
    let mut trials = vec![
        trial(
            "lease::precise_clock_ends_it",
            lease::is_over_when_the_precise_clock_says_so,
        ),
        trial(
            "lease::valid_to_its_last_tick",
            lease::is_valid_to_its_last_tick,
        ),
        trial(
            "lease::precise_clock_alone",
            lease::means_the_same_by_the_precise_clock_alone,
        ),
        trial(
            "events::lost_ones_are_counted",
            lease::lost_events_are_counted,
        ),
        trial("liveness::echo_is_exact", timed::echo_is_exact),
        trial("liveness::every_byte_counts", timed::every_byte_counts),
        trial(
            "liveness::what_was_told_stays_true",
            timed::what_was_told_stays_true,
        ),
        trial(
            "liveness::what_nobody_was_told_is_renewed",
            timed::what_nobody_was_told_is_renewed,
        ),
        trial(
            "liveness::nonces_rise_under_one_key",
            timed::nonces_rise_under_one_key,
        ),
        trial("liveness::echoes_are_rationed", timed::echoes_are_rationed),
        trial(
            "liveness::each_echo_is_stamped_once",
            timed::each_echo_is_stamped_once,
        ),
        trial(
            "liveness::echoes_follow_the_claim",
            timed::echoes_follow_the_claim,
        ),
        trial(
            "liveness::the_port_is_configured",
            timed::the_port_is_configured,
        ),
        trial(
            "liveness::the_precise_clock_tells",
            timed::the_precise_clock_tells,
        ),
        trial(
            "peers::those_that_are_gone_make_room",
            peers::those_that_are_gone_make_room,
        ),
        trial(
            "peers::forged_icmp_does_not_silence_probes",
            peers::forged_icmp_does_not_silence_probes,
        ),
        trial("seen::wanted_vips", seen::wanted_vips_are_noted),
        trial("seen::once_a_second", seen::wanted_is_stored_once_a_second),
        trial("seen::first_packet", seen::the_first_packet_is_noted),
        trial("seen::drained", seen::drained_frames_are_noted),
        trial("budget::verified_instructions", budget::is_kept),
        trial(
            "budget::logging_costs_nothing_when_off",
            budget::logging_off_is_free,
        ),
        trial(
            "property::not_ours_passes",
            properties::what_is_not_ours_passes_untouched,
        ),
        trial(
            "property::ipv4_checksums",
            properties::ipv4_checksums_stay_valid,
        ),
        trial(
            "property::icmpv6_checksums",
            properties::icmpv6_checksums_stay_valid,
        ),
        trial(
            "property::advertisements",
            properties::advertisements_are_valid,
        ),
    ];
    let fixtures = all.clone();
    trials.push(trial("coverage::every_counter", move || {
        every_counter_has_a_fixture(&fixtures)
    }));
    let names: Vec<_> = groups
        .iter()
        .flat_map(|(group, fixtures)| {
            fixtures
                .iter()
                .map(move |it| format!("{group}::{}", it.name))
        })
        .collect();
    trials.push(trial("coverage::names_are_unique", move || {
        names_are_unique(&names)
    }));
    // Peers are answered by any node.
    let to_peers = |fixture: &Fixture| fixture.expect.counter == Some(Counter::ProbeAnswered);
    let fixtures: Vec<_> = all.iter().filter(|it| !to_peers(it)).cloned().collect();
    trials.push(trial("property::no_lease_no_answer", move || {
        properties::without_a_lease_nothing_is_answered(fixtures.clone());
    }));
    trials.push(trial("property::every_drop_has_a_reason", move || {
        properties::every_drop_has_a_reason(all.clone());
    }));
    for (group, fixtures) in groups {
        for fixture in fixtures {
            let name = format!("{group}::{}", fixture.name);
            trials.push(Trial::test(name, move || run(&fixture)));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn trial(name: &str, test: impl Fn() + Send + 'static) -> Trial {
    Trial::test(name, move || {
        test();
        Ok(())
    })
}

/// Sends a fixture's frame and compares everything that came of it.
fn run(fixture: &Fixture) -> Result<(), Failed> {
    let outcome = harness().run(fixture.setup, &fixture.input);
    let expected = Outcome::expected(&fixture.expect, fixture.input.len());
    if outcome == expected {
        return Ok(());
    }
    Err(format!(
        "{:?}\n   input {:02x?}\nexpected {expected:02x?}\n     was {outcome:02x?}",
        fixture.setup, fixture.input,
    )
    .into())
}

/// Every reason the program can give is given by some fixture.
fn every_counter_has_a_fixture(fixtures: &[Fixture]) {
    let hit: BTreeSet<_> = fixtures
        .iter()
        .filter_map(|fixture| fixture.expect.counter)
        .collect();
    let missing: Vec<_> = Counter::ALL
        .iter()
        .filter(|counter| !hit.contains(counter))
        // A frame cannot be made that has no room for eight more bytes but passes the checks; and
        // the full event buffer has its own test.
        .filter(|counter| !matches!(counter, Counter::DropResize | Counter::EventLost))
        .collect();
    assert!(missing.is_empty(), "no fixture for {missing:?}");
}

fn names_are_unique(names: &[String]) {
    let unique: BTreeSet<_> = names.iter().collect();
    assert_eq!(unique.len(), names.len());
}
