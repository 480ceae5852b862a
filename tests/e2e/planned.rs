//! What is planned loses nothing, at 10,000 packets a second, however often it is done.

use std::time::Duration;

use anyhow::Result;
use lab::{NodeConfig, Probe, Report, clock, scenario};

use crate::support::{Cluster, INTERVAL, PATIENCE};

/// Time between two packets of the client.
const TICK: Duration = Duration::from_micros(100);

/// Nothing was lost, and nothing was answered twice.
fn assert_lossless(report: &Report) {
    assert!(report.sent > 1_000, "{report}");
    assert_eq!((report.lost, report.duplicates), (0, 0), "{report}");
}

/// The first node hands over by command and gets the instance back by command.
fn switch_over(times: u32) {
    scenario(|lab| {
        let cluster = Cluster::pair(lab)?;
        let probe = Probe::start(&cluster.client, cluster.v4().into(), TICK)?;
        probe.wait_for_answer(PATIENCE)?;
        for _ in 0..times {
            for (from, to) in [(0, 1), (1, 0)] {
                let start = clock::now_ns();
                cluster.nodes[from].switchover("web")?;
                cluster.settle(to)?;
                std::thread::sleep(INTERVAL * 4);
                assert_lossless(&probe.report(start, clock::now_ns()));
            }
        }
        Ok(())
    });
}

/// The first node stops, and preempts the other one when it is back.
fn preempt(times: u32) {
    scenario(|lab| {
        let mut cluster = Cluster::running(
            lab,
            2,
            |_, instance| instance.line("preempt = true"),
            |_, config| config,
        )?;
        let probe = Probe::start(&cluster.client, cluster.v4().into(), TICK)?;
        probe.wait_for_answer(PATIENCE)?;
        for _ in 0..times {
            let start = clock::now_ns();
            assert!(cluster.nodes[0].stop()?.success());
            cluster.settle(1)?;
            cluster.nodes[0].start()?;
            cluster.settle(0)?;
            std::thread::sleep(INTERVAL * 4);
            assert_lossless(&probe.report(start, clock::now_ns()));
        }
        Ok(())
    });
}

/// The first node's agent becomes the program on disk.
fn reload(times: u32) {
    scenario(|lab| {
        let mut cluster = Cluster::pair(lab)?;
        let probe = Probe::start(&cluster.client, cluster.v4().into(), TICK)?;
        probe.wait_for_answer(PATIENCE)?;
        let pid = cluster.nodes[0].pid()?;
        let open =
            || -> Result<usize> { Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count()) };
        cluster.nodes[0].reload()?;
        std::thread::sleep(INTERVAL * 4);
        let before = open()?;
        for _ in 0..times {
            let start = clock::now_ns();
            cluster.nodes[0].reload()?;
            std::thread::sleep(INTERVAL * 4);
            let report = probe.report(start, clock::now_ns());
            assert_lossless(&report);
            assert_eq!(report.answers.len(), 1, "nobody else answers: {report}");
        }
        let after = open()?;
        assert!(after <= before + 2, "{before} files were open, now {after}");
        crate::traffic::assert_nobody_took_over(&cluster)
    });
}

/// The first node's agent is killed and started again, or stops for another one to go on.
fn restart(times: u32, killed: bool) {
    scenario(|lab| {
        let config = |_, config: NodeConfig| {
            // A killed agent has to be back within its lease, however busy the machine is.
            config
                .interval(INTERVAL * 10)
                .node_line("on_exit = \"keep\"")
        };
        let stay = |_, instance: lab::Instance| instance.line("preempt = false");
        let mut cluster = Cluster::new(lab, 2, stay, config)?;
        for number in 0..2 {
            cluster.nodes[number].start()?;
            cluster.nodes[0].wait_for_state("web", "active", PATIENCE)?;
        }
        cluster.settle(0)?;
        let probe = Probe::start(&cluster.client, cluster.v4().into(), TICK)?;
        probe.wait_for_answer(PATIENCE)?;
        for _ in 0..times {
            let start = clock::now_ns();
            if killed {
                cluster.nodes[0].kill()?;
            } else {
                assert!(cluster.nodes[0].stop()?.success());
            }
            cluster.nodes[0].start()?;
            cluster.nodes[0].wait_for_state("web", "active", PATIENCE)?;
            std::thread::sleep(INTERVAL * 11);
            let report = probe.report(start, clock::now_ns());
            assert_lossless(&report);
            assert_eq!(report.answers.len(), 1, "nobody else answers: {report}");
        }
        crate::traffic::assert_nobody_took_over(&cluster)
    });
}

#[test]
fn switchovers_lose_nothing() {
    switch_over(2);
}

#[test]
fn preemption_loses_nothing() {
    preempt(2);
}

#[test]
fn reloads_lose_nothing_and_leave_nothing_open() {
    reload(5);
}

#[test]
#[ignore = "takes two minutes: `cargo test -p vip-tests --test e2e planned -- --ignored`"]
fn a_hundred_switchovers_lose_nothing() {
    switch_over(50);
}

#[test]
#[ignore = "takes some minutes: `cargo test -p vip-tests --test e2e planned -- --ignored`"]
fn a_hundred_preemptions_lose_nothing() {
    preempt(100);
}

#[test]
#[ignore = "takes a minute: `cargo test -p vip-tests --test e2e planned -- --ignored`"]
fn fifty_reloads_lose_nothing() {
    reload(50);
}

#[test]
#[ignore = "takes two minutes: `cargo test -p vip-tests --test e2e planned -- --ignored`"]
fn fifty_restarts_lose_nothing() {
    restart(50, false);
}

#[test]
#[ignore = "takes two minutes: `cargo test -p vip-tests --test e2e planned -- --ignored`"]
fn fifty_kills_and_starts_lose_nothing() {
    restart(50, true);
}

#[test]
fn a_switchover_that_nobody_takes_is_said_to_have_failed_and_the_node_serves_on() {
    scenario(|lab| {
        let slow = |_, config: NodeConfig| config.interval(Duration::from_millis(300));
        let mut cluster = Cluster::running(lab, 2, |_, instance| instance, slow)?;
        let probe = Probe::start(&cluster.client, cluster.v4().into(), TICK * 10)?;
        probe.wait_for_answer(PATIENCE)?;
        let start = clock::now_ns();
        cluster.nodes[1].freeze()?;
        let Err(error) = cluster.nodes[0].switchover("web") else {
            anyhow::bail!("a frozen node took over");
        };
        let end = clock::now_ns();
        let text = format!("{error:#}");
        assert!(text.contains("stays active here"), "{text}");
        assert!(!text.contains("released"), "{text}");
        assert_eq!(probe.report(start, end).lost, 0);
        cluster.nodes[1].thaw()?;
        cluster.settle(0)
    });
}

#[test]
fn a_reload_in_the_middle_of_a_switchover_leaves_one_node_active() {
    scenario(|lab| {
        let stay = |_, instance: lab::Instance| instance.line("preempt = false");
        let mut cluster = Cluster::running(lab, 2, stay, |_, config| config)?;
        let probe = Probe::start(&cluster.client, cluster.v4().into(), TICK * 5)?;
        probe.wait_for_answer(PATIENCE)?;
        for delay in (0..40).step_by(4) {
            // The agent that hands over and the one that accepts take turns.
            for reloads in 0..2 {
                let active = cluster.active();
                let [active] = active[..] else {
                    anyhow::bail!("{active:?} are active");
                };
                let start = clock::now_ns();
                cluster.nodes[(active + reloads) % 2].hang_up()?;
                std::thread::sleep(Duration::from_millis(delay));
                // Refused, cut off or done: all of it is right.
                drop(cluster.nodes[active].switchover("web"));
                std::thread::sleep(INTERVAL * 8);
                let report = probe.report(start, clock::now_ns());
                assert_eq!(report.duplicates, 0, "{report}");
                assert!(report.lost < 20, "{delay} ms, {reloads}: {report}");
            }
        }
        Ok(())
    });
}
