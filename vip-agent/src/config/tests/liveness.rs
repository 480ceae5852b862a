//! The `[liveness]` table, and what intervals and leases mean in time.

use std::time::Duration;

use super::{BASE, config, load, warned, with};
use crate::config::{Config, LivenessLink};

/// The base with a `[liveness]` table of these lines.
fn liveness(lines: &str) -> String {
    format!("{BASE}\n[liveness]\n{lines}\n")
}

/// The codes of what is wrong with it.
fn codes(text: &str) -> Vec<&'static str> {
    let error = load(text).unwrap_err();
    error
        .findings()
        .iter()
        .map(|finding| finding.code)
        .collect()
}

#[test]
fn probes_are_on_by_default_and_can_be_switched_off() {
    let probes = config(BASE).liveness.unwrap();
    assert_eq!(probes.interval, Duration::from_millis(1));
    assert_eq!((probes.misses, probes.port, probes.lease), (3, 8113, None));
    assert!(config(&liveness("enabled = false")).liveness.is_none());
    let moved = config(&with("[cluster]", "[cluster]\nport = 9000"));
    assert_eq!(moved.liveness.unwrap().port, 9001);
}

#[test]
fn links_are_taken() {
    let text = liveness(
        "[[liveness.link]]\npeer = \"10.0.0.2\"\nlocal = \"10.9.0.1\"\nremote = \"10.9.0.2\"",
    );
    let link = LivenessLink {
        peer: "10.0.0.2".parse().unwrap(),
        local: "10.9.0.1".parse().unwrap(),
        remote: "10.9.0.2".parse().unwrap(),
    };
    assert_eq!(config(&text).liveness.unwrap().links, [link]);
}

#[test]
fn what_cannot_be_is_refused() {
    let link = |peer: &str, local: &str, remote: &str| {
        format!(
            "[[liveness.link]]\npeer = \"{peer}\"\nlocal = \"{local}\"\nremote = \"{remote}\"\n"
        )
    };
    let sound = link("10.0.0.2", "10.9.0.1", "10.9.0.2");
    for (lines, code) in [
        ("port = 8112".to_owned(), "config::same_port"),
        ("lease = \"176ms\"".to_owned(), "config::lease_too_long"),
        (link("10.0.0.7", "10.9.0.1", "10.9.0.2"), "config::bad_link"),
        (link("10.0.0.2", "10.9.0.1", "fd00::2"), "config::bad_link"),
        (link("10.0.0.2", "10.9.0.1", "10.0.0.2"), "config::bad_link"),
        (
            link("10.0.0.2", "0.0.0.0", "10.9.0.2"),
            "config::bad_address",
        ),
        (format!("{sound}{sound}"), "config::duplicate_link"),
    ] {
        assert_eq!(codes(&liveness(&lines)), [code], "{lines}");
    }
    assert!(load(&liveness("lease = \"175ms\"")).is_ok());
}

#[test]
fn an_interval_that_forgives_nothing_is_a_warning() {
    let every = |interval: &str| with("\n\n", &format!("\nadvert_interval = \"{interval}\"\n\n"));
    warned("tight_interval", &every("1ms"));
    warned(
        "tight_lease",
        &with("\n\n", "\n\n[liveness]\nlease = \"2ms\"\n\n"),
    );
    assert_eq!(load(&every("10ms")).unwrap().warnings, []);
}

#[test]
fn times() {
    let timing = |config: &Config| crate::config::timing::Timing::of(config, &config.instances[0]);
    let us = Duration::from_micros;
    let fast = timing(&config(&with("\n\n", "\nadvert_interval = \"10ms\"\n\n")));
    assert_eq!(fast.lease, us(17_500));
    assert_eq!(fast.forgiven, us(7_500));
    assert_eq!(fast.guard, Duration::from_nanos(1_328_125));
    assert_eq!(fast.skew, Duration::from_nanos(6_093_750));
    assert_eq!(fast.takeover, Duration::from_nanos(36_093_750));
    assert_eq!(fast.host_death, us(4_000));
    assert_eq!(fast.agent_death, us(19_500));
    assert_eq!(fast.two_hosts_death, None);
    assert_eq!(fast.backend_death, None);

    let peers = with("[\"10.0.0.2\"]", "[\"10.0.0.2\", \"10.0.0.3\"]");
    let without = timing(&config(&format!("{peers}\n[liveness]\nenabled = false\n")));
    assert_eq!(without.host_death, without.takeover);
    assert_eq!(without.agent_death, without.takeover);
    // Silence of 4 intervals, noticed with the next, skew, and 3 intervals of intent.
    let intervals = us(8 * 100_000);
    assert_eq!(without.two_hosts_death, Some(intervals + without.skew));

    let short = timing(&config(&format!("{peers}\n[liveness]\nlease = \"20ms\"\n")));
    assert_eq!((short.lease, short.forgiven), (us(20_000), us(15_000)));
    assert_eq!(short.agent_death, us(22_000));
    assert!(short.guard > without.guard);
}
