//! Traffic to the VIPs while something planned happens, and what must not have changed afterwards.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use lab::{Instance, Lab, Node, NodeConfig, Probe, Report, clock};
use serde_json::Value;

use crate::support::{Cluster, PATIENCE, instance, log};

/// Time between questions: 2,000 packets a second there and back.
pub(crate) const TICK: Duration = Duration::from_micros(500);

/// What happens to a VIP's traffic while something is done.
pub(crate) struct Traffic(Vec<Probe>);

impl Traffic {
    pub(crate) fn start(cluster: &Cluster) -> Result<Self> {
        let probes = cluster
            .vips()
            .into_iter()
            .map(|vip| Probe::start(&cluster.client, vip, TICK))
            .collect::<Result<Vec<_>>>()?;
        let traffic = Self(probes);
        traffic.is_answered()?;
        Ok(traffic)
    }

    pub(crate) fn is_answered(&self) -> Result<()> {
        self.0
            .iter()
            .try_for_each(|probe| probe.wait_for_answer(PATIENCE))
    }

    /// What was seen since then.
    pub(crate) fn since(&self, start: u64) -> Vec<Report> {
        let end = clock::now_ns();
        self.0
            .iter()
            .map(|probe| probe.report(start, end))
            .collect()
    }

    /// Not one question is without exactly one answer, and all of them are by this node.
    pub(crate) fn assert_untouched(&self, start: u64, node: &str) {
        for report in self.since(start) {
            assert!(report.sent > 100, "{report}");
            assert_eq!((report.lost, report.duplicates), (0, 0), "{report}");
            assert_eq!(report.answers.len(), 1, "{report}");
            assert!(report.answers.contains_key(node), "{report}");
        }
    }

    /// Not one question is without exactly one answer, whoever answers.
    pub(crate) fn assert_lossless(&self, start: u64) {
        for report in self.since(start) {
            assert!(report.sent > 100, "{report}");
            assert_eq!((report.lost, report.duplicates), (0, 0), "{report}");
        }
    }
}

/// Nobody but the first node has ever been Active.
pub(crate) fn assert_nobody_took_over(cluster: &Cluster) -> Result<()> {
    for node in &cluster.nodes[1..] {
        let log = log(&node.host)?;
        assert!(!log.contains("to=\"active\""), "{log}");
    }
    cluster.settle(0)
}

/// What must not change while a node restarts: epoch, incarnation.
pub(crate) fn identity(node: &Node) -> Result<(Value, Value)> {
    let epoch = instance(node, "web")?["epoch"].clone();
    Ok((epoch, node.status()?["incarnation"].clone()))
}

/// A pair whose nodes run a copy of the agent of their own, which a test may replace.
pub(crate) fn upgradable(
    lab: &Lab,
    config: impl Fn(usize, NodeConfig) -> NodeConfig,
) -> Result<Cluster> {
    let stay = |_, instance: Instance| instance.line("preempt = false");
    let mut cluster = Cluster::new(lab, 2, stay, config)?;
    for node in &mut cluster.nodes {
        let program = node.host.file("bin").join("vip-agent");
        fs::create_dir_all(program.parent().context("a directory")?)?;
        fs::copy(lab::node::agent_program()?, &program)?;
        node.program = Some(program);
    }
    for number in 0..2 {
        cluster.nodes[number].start()?;
        cluster.nodes[0].wait_for_state("web", "active", PATIENCE)?;
    }
    cluster.settle(0)?;
    cluster.assert_served_by(0)?;
    Ok(cluster)
}

pub(crate) fn upgradable_pair(lab: &Lab) -> Result<Cluster> {
    upgradable(lab, |_, config| config)
}
