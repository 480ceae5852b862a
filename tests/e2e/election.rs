//! Who becomes Active: priorities, preemption, partitions, transports, keys, recordings.

use std::time::{Duration, Instant as Clock};

use anyhow::{Context as _, Result};
use lab::frame::FrameSocket;
use lab::{Capture, Client, Instance, Lab, Node, NodeConfig, scenario, wait_until};
use serde_json::json;

use crate::frames::Asker;
use crate::support::{
    Cluster, INTERVAL, PATIENCE, instance, log, protocol, wait_for_field, wait_for_log,
};

/// Long enough for everything an election does by itself: dozens of down intervals.
const QUIET: Duration = Duration::from_millis(1500);
/// A delay that can be told from anything else.
const DELAY: Duration = Duration::from_secs(2);

#[test]
fn between_equal_priorities_the_higher_address_wins() {
    scenario(|lab| {
        let equal = |_, instance: Instance| instance.priority(100);
        // Both listen long enough to know each other before anyone claims.
        let listen = |_, config: NodeConfig| config.cluster_line("startup_delay = \"2s\"");
        let mut cluster = Cluster::new(lab, 2, equal, listen)?;
        for node in &mut cluster.nodes {
            node.launch()?;
        }
        cluster.settle(1)?;
        let addresses: Vec<_> = cluster.nodes.iter().map(|node| node.host.v4()).collect();
        assert!(addresses[1] > addresses[0]);
        assert_stays(&cluster, 1)?;
        assert!(!log(&cluster.nodes[0].host)?.contains("to=\"active\""));
        // It is the same when both claim without hearing each other.
        cluster.lan.split(&[&cluster.nodes[0].host])?;
        cluster.nodes[0].wait_for_state("web", "active", PATIENCE)?;
        cluster.lan.join(&[&cluster.nodes[0].host])?;
        cluster.settle(1)?;
        assert_stays(&cluster, 1)
    });
}

#[test]
fn a_better_node_preempts_only_if_it_may() {
    scenario(|lab| {
        let mut cluster = Cluster::new(lab, 2, |_, instance| instance, |_, config| config)?;
        cluster.nodes[1].start()?;
        cluster.settle(1)?;
        cluster.nodes[0].start()?;
        cluster.settle(0)?;
        assert_eq!(instance(&cluster.nodes[1], "web")?["reason"], "preempted");
        cluster.assert_served_by(0)
    });
    scenario(|lab| {
        let stay = |_, instance: Instance| instance.line("preempt = false");
        let mut cluster = Cluster::new(lab, 2, stay, |_, config| config)?;
        cluster.nodes[1].start()?;
        cluster.settle(1)?;
        cluster.nodes[0].start()?;
        assert_stays(&cluster, 1)?;
        cluster.assert_served_by(1)
    });
}

#[test]
fn a_better_node_waits_for_its_preempt_delay() {
    scenario(|lab| {
        let later = |_, instance: Instance| instance.line("preempt_delay = \"2s\"");
        let mut cluster = Cluster::new(lab, 2, later, |_, config| config)?;
        cluster.nodes[1].start()?;
        cluster.settle(1)?;
        let start = Clock::now();
        cluster.nodes[0].start()?;
        cluster.nodes[0].wait_for_state("web", "backup", PATIENCE)?;
        cluster.settle(0)?;
        assert!(start.elapsed() >= DELAY, "after {:?}", start.elapsed());
        assert_eq!(instance(&cluster.nodes[1], "web")?["reason"], "preempted");
        Ok(())
    });
}

#[test]
fn a_node_only_listens_during_its_startup_delay() {
    scenario(|lab| {
        let listen = |_, config: NodeConfig| config.cluster_line("startup_delay = \"2s\"");
        let mut cluster = Cluster::new(lab, 2, |_, instance| instance, listen)?;
        let start = Clock::now();
        cluster.nodes[0].start()?;
        assert_eq!(cluster.nodes[0].state("web")?, "initialize");
        cluster.settle(0)?;
        assert!(start.elapsed() >= DELAY, "after {:?}", start.elapsed());
        cluster.assert_served_by(0)
    });
}

#[test]
fn of_three_nodes_the_best_of_the_living_takes_over_alone() {
    scenario(|lab| {
        let mut cluster = three(lab)?;
        cluster.nodes[0].crash()?;
        cluster.settle(1)?;
        assert_stays(&cluster, 1)?;
        cluster.assert_served_by(1)?;
        let third = log(&cluster.nodes[2].host)?;
        assert!(!third.contains("to=\"active\""), "{third}");
        cluster.nodes[1].crash()?;
        cluster.settle(2)?;
        cluster.assert_served_by(2)
    });
}

#[test]
fn a_healed_partition_ends_with_one_active_node_and_a_word_about_it() {
    scenario(|lab| {
        let cluster = three(lab)?;
        let alone = cluster.nodes[0].host.clone();
        cluster.lan.split(&[&alone])?;
        cluster.nodes[1].wait_for_state("web", "active", PATIENCE)?;
        // Both sides serve: availability is the policy.
        assert_eq!(cluster.active(), [0, 1]);
        assert_eq!(cluster.nodes[2].state("web")?, "backup");
        cluster.lan.join(&[&alone])?;
        wait_until("one Active node", PATIENCE, || match cluster.active() {
            active if active == [0] => Ok(()),
            active => Err(format!("{active:?}")),
        })?;
        assert_stays(&cluster, 0)?;
        assert_eq!(
            instance(&cluster.nodes[1], "web")?["reason"],
            "lost_conflict"
        );
        // The other one says so only if it was heard before this one gave way.
        wait_for_log(
            &cluster.nodes[1].host,
            &["two nodes were active at once", "gives way"],
        )?;
        cluster.assert_served_by(0)
    });
}

#[test]
fn adverts_travel_by_multicast_and_over_ipv6() {
    type Adapt = fn(NodeConfig) -> NodeConfig;
    let ways: [Adapt; 2] = [
        |config| config.multicast([239, 255, 81, 12].into(), "eth0"),
        |config| config.multicast([0xff02, 0, 0, 0, 0, 0, 0, 0x5112].into(), "eth0"),
    ];
    for way in ways {
        scenario(|lab| {
            let mut cluster =
                Cluster::running(lab, 2, |_, instance| instance, |_, config| way(config))?;
            assert_takes_over_and_back(&mut cluster)
        });
    }
    scenario(|lab| {
        let mut cluster = Cluster::new(lab, 2, |_, instance| instance, |_, config| config)?;
        let hosts = [0, 1].map(|number: usize| cluster.nodes[number].host.clone());
        for number in 0..2 {
            let config = cluster.nodes[number].config.clone();
            cluster.nodes[number].config = config.peers_v6(&[&hosts[1 - number]]);
            cluster.nodes[number].start()?;
        }
        cluster.settle(0)?;
        let peer = &cluster.nodes[0].status()?["peers"][0];
        assert_eq!(peer["address"], hosts[1].v6().to_string());
        assert_takes_over_and_back(&mut cluster)
    });
}

#[test]
fn nodes_with_different_keys_do_not_believe_each_other_and_say_so() {
    // Another secret under the same identifier, and another identifier.
    let cases: [(&[(u8, u8)], &str); 2] = [
        (&[(1, 0x77)], "wrong message authentication code"),
        (&[(2, 0x4b)], "signed with key"),
    ];
    for (keys, reason) in cases {
        scenario(|lab| {
            let mut cluster = Cluster::new(
                lab,
                2,
                |_, instance| instance,
                |number, config| {
                    if number == 1 {
                        config.keys(keys)
                    } else {
                        config
                    }
                },
            )?;
            for node in &mut cluster.nodes {
                node.start()?;
            }
            for (number, node) in cluster.nodes.iter().enumerate() {
                let from = format!("from={}", cluster.nodes[1 - number].host.v4());
                wait_for_log(&node.host, &["advert not accepted", reason, &from])?;
                assert!(protocol(node, "adverts_rejected")? > 0);
                assert_eq!(protocol(node, "adverts_received")?, 0);
                assert_eq!(node.status()?["peers"][0]["alive"], false);
                // Neither lets the other keep it from serving.
                node.wait_for_state("web", "active", PATIENCE)?;
            }
            Ok(())
        });
    }
}

#[test]
fn a_key_is_rotated_node_by_node_without_an_advert_being_refused() {
    scenario(|lab| {
        let (old, new) = ((1, 0x4b), (2, 0x77));
        let mut cluster = Cluster::running(lab, 2, |_, instance| instance, |_, config| config)?;
        for keys in [&[old, new][..], &[new, old], &[new]] {
            for number in [1, 0] {
                let config = cluster.nodes[number].config.clone();
                cluster.nodes[number].stop()?;
                cluster.nodes[number].config = config.keys(keys);
                cluster.nodes[number].start()?;
                cluster.settle(0)?;
                for node in &cluster.nodes {
                    wait_until("the peer to be heard", PATIENCE, || {
                        let status = node.status().map_err(|error| format!("{error:#}"))?;
                        (status["peers"][0]["alive"] == true)
                            .then_some(())
                            .ok_or_else(|| status["peers"].to_string())
                    })?;
                }
            }
        }
        for node in &cluster.nodes {
            let text = log(&node.host)?;
            assert!(!text.contains("advert not accepted"), "{text}");
        }
        Ok(())
    });
}

#[test]
fn recorded_adverts_change_nothing() {
    scenario(|lab| {
        let mut cluster = Cluster::pair(lab)?;
        let attacker = lab.client("attacker", &[&cluster.lan])?;
        let recording = record_adverts(&cluster.nodes[0], &cluster.nodes[1])?;

        // Later: by now the other node is Active, and the recording says the first one is.
        cluster.nodes[0].switchover("web")?;
        cluster.settle(1)?;
        let refused = protocol(&cluster.nodes[1], "adverts_rejected")?;
        let epoch = instance(&cluster.nodes[1], "web")?["epoch"].clone();
        replay(&attacker, &recording)?;
        wait_until("the recording to be refused", PATIENCE, || {
            let now = protocol(&cluster.nodes[1], "adverts_rejected")
                .map_err(|error| format!("{error:#}"))?;
            (now >= refused + u64::try_from(recording.len()).unwrap_or(0))
                .then_some(())
                .ok_or_else(|| now.to_string())
        })?;
        wait_for_log(&cluster.nodes[1].host, &["advert not accepted", "replayed"])?;
        assert_stays(&cluster, 1)?;
        assert_eq!(instance(&cluster.nodes[1], "web")?["epoch"], epoch);

        // After a restart nothing is remembered: the recording is of a session unknown now. It must
        // neither be believed nor keep the node from serving, however often it is played.
        cluster.nodes[0].crash()?;
        cluster.nodes[1].stop()?;
        let player = Asker::start(&attacker, recording, INTERVAL)?;
        cluster.nodes[1].start()?;
        cluster.nodes[1].wait_for_state("web", "active", PATIENCE)?;
        assert!(player.rounds() > 0);
        let rounds = player.rounds();
        std::thread::sleep(QUIET);
        assert!(player.rounds() > rounds, "it is still being played");
        assert_eq!(cluster.active(), [1]);
        let status = cluster.nodes[1].status()?;
        assert_eq!(status["peers"][0]["alive"], false, "{status}");
        let text = log(&cluster.nodes[1].host)?;
        let last_start = text.rsplit_once("ready").context("a start")?.1;
        assert!(!last_start.contains("peer heard"), "{last_start}");
        assert_eq!(
            last_start.matches("to=\"active\"").count(),
            1,
            "{last_start}"
        );
        Ok(())
    });
}

/// Three nodes, all running, the first Active.
fn three(lab: &Lab) -> Result<Cluster> {
    Cluster::running(lab, 3, |_, instance| instance, |_, config| config)
}

/// Nothing changes any more, and this node alone is Active.
fn assert_stays(cluster: &Cluster, active: usize) -> Result<()> {
    let since = |number: usize| -> Result<u64> {
        let since = &instance(&cluster.nodes[number], "web")?["since_ms"];
        since.as_u64().context("a time")
    };
    let before = since(active)?;
    std::thread::sleep(QUIET);
    assert_eq!(cluster.active(), [active]);
    assert!(since(active)? > before, "the node stayed Active in between");
    Ok(())
}

/// The second node serves when the first one dies, and the first again when it is back.
fn assert_takes_over_and_back(cluster: &mut Cluster) -> Result<()> {
    cluster.assert_served_by(0)?;
    wait_for_field(&cluster.nodes[1], "web", "state", &json!("backup"))?;
    cluster.nodes[0].crash()?;
    cluster.settle(1)?;
    cluster.assert_served_by(1)?;
    cluster.nodes[0].host.plug()?;
    cluster.nodes[0].start()?;
    cluster.settle(0)?;
    cluster.assert_served_by(0)
}

/// Adverts of `from` to `to`, as they were on the wire.
fn record_adverts(from: &Node, to: &Node) -> Result<Vec<Vec<u8>>> {
    let capture = Capture::at_port_of(&to.host, "udp port 8112")?;
    std::thread::sleep(INTERVAL * 20);
    let recording: Vec<Vec<u8>> = capture
        .stop()?
        .into_iter()
        .filter(|frame| frame.source() == from.mac() && frame.destination() == to.mac())
        .map(|frame| frame.bytes)
        .collect();
    anyhow::ensure!(recording.len() >= 5, "{} adverts", recording.len());
    Ok(recording)
}

/// Sends recorded frames once, in their order.
fn replay(attacker: &Client, recording: &[Vec<u8>]) -> Result<()> {
    let socket = FrameSocket::open(attacker.namespace(), "eth0")?;
    recording.iter().try_for_each(|frame| socket.send(frame))
}
