//! The data plane answers for the agent's life: dead nodes and agents are told from busy ones.

use std::time::Duration;

use anyhow::{Context as _, Result};
use lab::{Host, Instance, Node, NodeConfig, Probe, clock, scenario, wait_until};
use serde_json::{Value, json};

use crate::support::{
    Cluster, INTERVAL, PATIENCE, VIP, counter, instance, log, protocol, wait_for_field,
    wait_for_log,
};

/// What a node says of its first peer's probes.
fn probe(node: &Node) -> Result<Value> {
    Ok(node.status()?["peers"][0]["probe"].clone())
}

/// Waits until the node's probes of its first peer are answered.
fn wait_for_echoes(node: &Node) -> Result<()> {
    let what = format!("echoes at {}", node.host.name());
    wait_until(&what, PATIENCE, || match probe(node) {
        Ok(probe) if probe["answered"] == true => Ok(()),
        Ok(probe) => Err(probe.to_string()),
        Err(error) => Err(format!("{error:#}")),
    })
}

/// Number of UDP: a bare machine has no names of protocols.
const UDP: u8 = 17;

/// Lets nothing to this UDP port leave the host; what XDP sends is not touched.
fn mute(host: &Host, port: u16) -> Result<()> {
    host.namespace()
        .ip(&format!(
            "rule add pref 1 ipproto {UDP} dport {port} blackhole"
        ))
        .map(drop)
}

#[test]
fn a_backup_probes_the_active_node_and_a_crash_is_told_by_silence() {
    scenario(|lab| {
        let mut cluster = Cluster::pair(lab)?;
        wait_for_echoes(&cluster.nodes[1])?;
        let before = counter(&cluster.nodes[0], "probe_answered")?;
        std::thread::sleep(Duration::from_millis(500));
        let answered = counter(&cluster.nodes[0], "probe_answered")? - before;
        assert!(answered > 50, "{answered} probes answered in half a second");
        assert!(counter(&cluster.nodes[1], "echo_taken")? > 50);
        assert_eq!(
            counter(&cluster.nodes[1], "probe_answered")?,
            0,
            "an active node probes nobody"
        );
        cluster.nodes[0].crash()?;
        cluster.settle(1)?;
        assert_eq!(instance(&cluster.nodes[1], "web")?["reason"], "node_dead");
        cluster.assert_served_by(1)
    });
}

#[test]
fn an_agent_that_hangs_is_told_by_its_lease() {
    scenario(|lab| {
        let mut cluster = Cluster::pair(lab)?;
        wait_for_echoes(&cluster.nodes[1])?;
        cluster.nodes[0].freeze()?;
        cluster.nodes[1].wait_for_state("web", "active", PATIENCE)?;
        assert_eq!(instance(&cluster.nodes[1], "web")?["reason"], "agent_dead");
        cluster.nodes[0].thaw()?;
        wait_for_field(&cluster.nodes[0], "web", "state", &json!("backup"))?;
        cluster.assert_served_by(1)
    });
}

#[test]
fn an_agent_that_is_only_late_keeps_its_vips() {
    scenario(|lab| {
        let cluster = Cluster::pair(lab)?;
        wait_for_echoes(&cluster.nodes[1])?;
        mute(&cluster.nodes[0].host, 8112)?;
        let heard = protocol(&cluster.nodes[1], "adverts_received")?;
        // Many times as long as adverts may be missing where nothing else is known.
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(protocol(&cluster.nodes[1], "adverts_received")?, heard);
        assert_eq!(cluster.active(), [0], "nobody took over");
        wait_for_log(&cluster.nodes[1].host, &["late", "no failover"])?;
        // The echoes know more: an agent that dies now is noticed all the same.
        let mut cluster = cluster;
        cluster.nodes[0].kill()?;
        cluster.nodes[1].wait_for_state("web", "active", PATIENCE)?;
        assert_eq!(instance(&cluster.nodes[1], "web")?["reason"], "agent_dead");
        Ok(())
    });
}

#[test]
fn without_probes_adverts_tell() {
    scenario(|lab| {
        let stay = |_, instance: Instance| instance.line("preempt = false");
        let off = |_, config: NodeConfig| config.liveness_line("enabled = false");
        let mut cluster = Cluster::running(lab, 2, stay, off)?;
        assert_eq!(probe(&cluster.nodes[1])?, Value::Null);
        cluster.nodes[0].crash()?;
        cluster.settle(1)?;
        assert_eq!(instance(&cluster.nodes[1], "web")?["reason"], "active_down");
        assert_eq!(counter(&cluster.nodes[1], "echo_taken")?, 0);
        cluster.assert_served_by(1)
    });
}

#[test]
fn probes_of_a_stranger_are_not_answered() {
    scenario(|lab| {
        let cluster = Cluster::pair(lab)?;
        wait_for_echoes(&cluster.nodes[1])?;
        let before = counter(&cluster.nodes[0], "liveness_rejected")?;
        let target = format!("{}:8113", cluster.nodes[0].host.v4());
        let datagram = vec![0_u8; 104];
        // Of the right length, but from a host that is no peer, and from one without the key.
        for host in [(*cluster.client).clone(), cluster.nodes[1].host.clone()] {
            let (target, mut datagram) = (target.clone(), datagram.clone());
            datagram[..4].copy_from_slice(&[b'V', b'P', 1, 1]);
            let local = format!("{}:0", host.v4());
            host.namespace().enter(move || -> Result<()> {
                let socket = std::net::UdpSocket::bind(&local)?;
                socket.set_read_timeout(Some(Duration::from_millis(200)))?;
                for _ in 0..5 {
                    socket.send_to(&datagram, &target)?;
                }
                let answer = socket.recv(&mut [0; 256]);
                anyhow::ensure!(answer.is_err(), "somebody answered: {answer:?}");
                Ok(())
            })?;
        }
        let rejected = counter(&cluster.nodes[0], "liveness_rejected")? - before;
        assert_eq!(
            rejected, 5,
            "those of the peer's address, with a wrong code"
        );
        assert_eq!(cluster.active(), [0]);
        Ok(())
    });
}

#[test]
fn a_second_link_keeps_a_node_alive_that_cannot_be_reached_by_the_first() {
    scenario(|lab| {
        let (lan, sync) = (lab.network("lan")?, lab.network("sync")?);
        let hosts = [
            lab.host("node-1", &[&lan, &sync])?,
            lab.host("node-2", &[&lan, &sync])?,
        ];
        let mut nodes = Vec::new();
        for (own, peer) in [(0, 1), (1, 0)] {
            let (host, other) = (&hosts[own], &hosts[peer]);
            let link = format!(
                "[[liveness.link]]\npeer = \"{}\"\nlocal = \"{}\"\nremote = \"{}\"",
                other.v4(),
                host.interfaces()[1].v4,
                other.interfaces()[1].v4,
            );
            let web = Instance::new("web", 51)
                .priority(u8::try_from(200 - own)?)
                .vip(lan.v4(VIP))
                .line("preempt = false");
            let config = NodeConfig::new(host)
                .peers(&[other])
                .interval(INTERVAL)
                .liveness_line(&link)
                .instance(web);
            let mut node = Node::new(host, config)?;
            node.start()?;
            nodes.push(node);
            nodes[0].wait_for_state("web", "active", PATIENCE)?;
        }
        nodes[1].wait_for_state("web", "backup", PATIENCE)?;
        wait_for_echoes(&nodes[1])?;
        lan.split(&[&hosts[1]])?;
        std::thread::sleep(Duration::from_secs(2));
        assert_eq!(nodes[0].state("web")?, "active");
        assert_eq!(nodes[1].state("web")?, "backup", "the other link answers");
        nodes[0].crash()?;
        nodes[1].wait_for_state("web", "active", PATIENCE)?;
        assert_eq!(instance(&nodes[1], "web")?["reason"], "node_dead");
        Ok(())
    });
}

#[test]
fn a_busy_machine_causes_no_failover() {
    keep_busy(Duration::from_secs(5));
}

#[test]
#[ignore = "takes a minute: `cargo test -p vip-tests --test e2e liveness -- --ignored`"]
fn a_machine_that_is_busy_for_a_minute_causes_no_failover() {
    keep_busy(Duration::from_secs(60));
}

/// Two busy loops on each processor.
fn keep_busy(time: Duration) {
    scenario(|lab| {
        let cluster = Cluster::pair(lab)?;
        wait_for_echoes(&cluster.nodes[1])?;
        let epoch = instance(&cluster.nodes[0], "web")?["epoch"].clone();
        let probe = Probe::start(&cluster.client, cluster.vips()[0], Duration::from_millis(5))?;
        probe.wait_for_answer(PATIENCE)?;
        let start = clock::now_ns();
        let cores = std::thread::available_parallelism()?.get();
        let end = std::time::Instant::now() + time;
        let busy: Vec<_> = (0..2 * cores)
            .map(|_| std::thread::spawn(move || while std::time::Instant::now() < end {}))
            .collect();
        for thread in busy {
            thread.join().ok().context("a busy loop panicked")?;
        }
        let report = probe.report(start, clock::now_ns());
        let by: Vec<&str> = report.changes.iter().map(|(_, name)| &**name).collect();
        assert_eq!(by, ["node-1"], "{report}");
        assert_eq!(instance(&cluster.nodes[0], "web")?["epoch"], epoch);
        let told = log(&cluster.nodes[1].host)?;
        assert!(!told.contains("node_dead"), "{told}");
        Ok(())
    });
}
