//! The flight recorder: what led to a failover is known afterwards, whatever has become of the agent.

use std::net::IpAddr;
use std::process::Output;

use anyhow::{Context as _, Result, ensure};
use lab::{Node, clock, scenario, wait_until};
use serde_json::Value;

use crate::support::{Cluster, PATIENCE, instance};

/// Runs `vip-agent why` with the node's configuration.
fn why(node: &Node, arguments: &[&str]) -> Result<Output> {
    let config = node.config.path().to_str().context("a path in UTF-8")?;
    node.command(&[&["why", "--config", config], arguments].concat())
}

/// Its report for programs.
fn told(node: &Node, arguments: &[&str]) -> Result<Value> {
    let output = why(node, &[&["--json"], arguments].concat())?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "why: {}: {stderr}", output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The last transition with this reason.
fn transition(node: &Node, reason: &str) -> Result<Value> {
    let report = told(node, &["web", "--last", "20"])?;
    let transitions = report["transitions"].as_array().context("a list")?;
    transitions
        .iter()
        .rev()
        .find(|transition| transition["reason"] == reason)
        .cloned()
        .with_context(|| format!("no {reason} in {report:#}"))
}

/// Numbers of the kinds of a transition's records, before and after it.
fn kinds(transition: &Value, side: &str) -> Vec<u64> {
    let events = transition[side].as_array().into_iter().flatten();
    events.filter_map(|event| event["kind"].as_u64()).collect()
}

const UNANSWERED: u64 = 13;
const CLAIMED: u64 = 61;
const ANNOUNCED: u64 = 63;
const FIRST_PACKET: u64 = 64;

#[test]
fn the_survivor_of_a_crash_tells_why_it_took_over_and_remembers_when_killed() {
    scenario(|lab| {
        let mut cluster = Cluster::pair(lab)?;
        let dead = IpAddr::from(cluster.nodes[0].host.v4()).to_string();
        wait_until("answered probes", PATIENCE, || {
            let probe = cluster.nodes[1].status().map_err(|e| format!("{e:#}"))?;
            let probe = &probe["peers"][0]["probe"];
            (probe["answered"] == true)
                .then_some(())
                .ok_or_else(|| probe.to_string())
        })?;
        cluster.nodes[0].crash()?;
        cluster.settle(1)?;
        assert_eq!(instance(&cluster.nodes[1], "web")?["reason"], "node_dead");
        cluster.assert_served_by(1)?;

        let survivor = &cluster.nodes[1];
        let story = wait_until("the first packet to be recorded", PATIENCE, || {
            let story = transition(survivor, "node_dead").map_err(|e| format!("{e:#}"))?;
            if kinds(&story, "after").contains(&FIRST_PACKET) {
                Ok(story)
            } else {
                Err(story.to_string())
            }
        })?;
        assert_eq!(
            (&story["from"], &story["to"]),
            (&"backup".into(), &"active".into())
        );
        let sentence = story["sentence"].as_str().unwrap_or_default();
        assert!(
            sentence.starts_with(&format!(
                "This node became Active because node {dead} was dead: it left 3 probes \
                 unanswered, the last answer came "
            )),
            "{sentence}"
        );
        assert!(kinds(&story, "before").contains(&UNANSWERED), "{story:#}");
        assert_eq!(
            kinds(&story, "after").get(..2),
            Some(&[CLAIMED, ANNOUNCED][..]),
            "{story:#}"
        );
        let times = |side: &str| -> Vec<u64> {
            let events = story[side].as_array().into_iter().flatten();
            events.filter_map(|event| event["at_ns"].as_u64()).collect()
        };
        let flip = story["at_ns"].as_u64().context("a time")?;
        assert!(times("before").is_sorted(), "{story:#}");
        assert!(times("before").iter().all(|at| *at <= flip), "{story:#}");
        assert!(times("after").iter().all(|at| *at >= flip), "{story:#}");
        let number = &story["after"][0]["number"];

        cluster.nodes[1].kill()?;
        let report = told(&cluster.nodes[1], &["--last", "1"])?;
        let source = report["source"].as_str().unwrap_or_default();
        assert!(source.starts_with("what is pinned in "), "{source}");
        let after_death = transition(&cluster.nodes[1], "node_dead")?;
        assert_eq!(&after_death["after"][0]["number"], number, "post mortem");

        cluster.nodes[1].start()?;
        cluster.settle(1)?;
        let report = told(&cluster.nodes[1], &["--last", "1"])?;
        assert_eq!(report["source"], "the running agent");
        let last = &report["transitions"][0];
        assert!(
            last["decided_ns"].as_u64() > story["decided_ns"].as_u64(),
            "a new one: {last:#}"
        );
        let remembered = transition(&cluster.nodes[1], "node_dead")?;
        assert_eq!(&remembered["after"][0]["number"], number, "after a restart");
        assert_eq!(remembered["sentence"], story["sentence"]);
        Ok(())
    });
}

#[test]
fn without_an_agent_and_without_a_recording_that_is_said() {
    scenario(|lab| {
        let mut cluster = Cluster::pair(lab)?;
        let text = String::from_utf8(why(&cluster.nodes[0], &["web"])?.stdout)?;
        assert!(text.contains("web  Backup → Active"), "{text}");
        assert!(text.contains("claimed under epoch"), "{text}");
        let unknown = why(&cluster.nodes[0], &["no-such"])?;
        assert_eq!(unknown.status.code(), Some(12));
        let pins = cluster.nodes[0].config.pin_dir().to_owned();
        let pins = pins.to_str().context("a path in UTF-8")?;

        cluster.nodes[0].kill()?;
        let pinned = cluster.nodes[0].command(&["why", "--pin-dir", pins, "51"])?;
        let text = String::from_utf8(pinned.stdout)?;
        assert!(text.contains("web  Backup → Active"), "{text}");

        cluster.nodes[0].start()?;
        assert!(cluster.nodes[0].stop()?.success());
        let gone = why(&cluster.nodes[0], &[])?;
        assert_eq!(gone.status.code(), Some(11));
        let error = String::from_utf8(gone.stderr)?;
        assert!(error.contains("no vip-agent daemon answers"), "{error}");
        assert!(error.contains("no recording either"), "{error}");
        let gone = cluster.nodes[0].command(&["why", "--pin-dir", pins])?;
        assert_eq!(gone.status.code(), Some(1));
        Ok(())
    });
}

#[test]
fn check_tells_how_long_it_takes_when_active_and_best_backup_die_together() {
    scenario(|lab| {
        let cluster = Cluster::running(lab, 3, |_, instance| instance, |_, config| config)?;
        let last = &cluster.nodes[2];
        let config = last.config.path().to_str().context("a path in UTF-8")?;
        let checked = last.command(&["check", "--json", config])?;
        let checked: Value = serde_json::from_slice(&checked.stdout)?;
        let bound = checked["instances"][0]["worst_case_us"]["two_hosts_death"]
            .as_u64()
            .with_context(|| format!("no bound in {checked:#}"))?;

        cluster.nodes[0].host.unplug()?;
        cluster.nodes[1].host.unplug()?;
        let died = clock::now_ns();
        last.wait_for_state("web", "active", PATIENCE)?;
        let report = told(last, &["web", "--last", "1"])?;
        let flip = report["transitions"][0]["at_ns"]
            .as_u64()
            .context("a time")?;
        let took = flip.saturating_sub(died) / 1000;
        println!("took {took} us, at most {bound} us are told");
        // What the network and a busy host add.
        assert!(
            took <= bound + 100_000,
            "{took} us, told {bound} us: {report:#}"
        );
        Ok(())
    });
}
