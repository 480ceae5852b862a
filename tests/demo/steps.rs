//! What goes wrong, one thing after the other.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::Result;
use lab::cluster::{Cluster, Seen};

use crate::output::{Step, Story};

/// The Active node loses power: its agent is killed and its cable pulled at the same instant.
pub(crate) fn crash(cluster: &mut Cluster, story: &mut Story, settle: Duration) -> Result<()> {
    story.begin(
        "crash",
        "node-1 dies: agent killed and cable pulled at the same instant",
    );
    let watch = cluster.watch(cluster.web)?;
    let seen = watch.step(settle, || cluster.nodes[0].node.crash())?;
    drop(watch);
    now_served_by_node(cluster, story, "crash", 1, seen)?;
    story.say("node-1 is repaired; it comes back as Backup");
    cluster.repair(0)
}

/// The Active node's agent hangs. Its kernel and its network work on: without a lease it would go on
/// answering for the VIP.
pub(crate) fn freeze(cluster: &mut Cluster, story: &mut Story, settle: Duration) -> Result<()> {
    story.begin(
        "hang",
        "the agent of node-2 hangs (SIGSTOP); its host and network work on",
    );
    let watch = cluster.watch(cluster.web)?;
    let seen = watch.step(settle, || cluster.nodes[1].node.freeze())?;
    drop(watch);
    now_served_by_node(cluster, story, "hang", 0, seen)?;
    story.say("the agent of node-2 goes on (SIGCONT); it finds its lease ended and is Backup");
    cluster.nodes[1].node.thaw()?;
    cluster.wait_until_backup(1)
}

/// The operator moves the VIPs.
pub(crate) fn switchover(cluster: &mut Cluster, story: &mut Story, settle: Duration) -> Result<()> {
    story.begin("switchover", "vip-agent switchover web, on node-1");
    let watch = cluster.watch(cluster.web)?;
    let seen = watch.step(settle, || {
        for instance in cluster.instances() {
            cluster.nodes[0].node.switchover(instance)?;
        }
        Ok(())
    })?;
    drop(watch);
    now_served_by_node(cluster, story, "switchover", 1, seen)
}

/// The backend that gets the packets dies: cable pulled, nothing refuses, nothing answers.
pub(crate) fn backend_dies(
    cluster: &mut Cluster,
    story: &mut Story,
    settle: Duration,
) -> Result<()> {
    story.begin(
        "backend",
        "the active backend of lb dies: its cable is pulled",
    );
    let watch = cluster.watch(cluster.lb)?;
    let seen = watch.step(settle, || cluster.backends[0].host.unplug())?;
    drop(watch);
    let expected = cluster.backends[1].host.name().to_owned();
    now_served_by(cluster, story, "backend", cluster.lb, expected, seen)
}

/// Ends a step after which this node is to serve `web`.
fn now_served_by_node(
    cluster: &Cluster,
    story: &mut Story,
    name: &'static str,
    number: usize,
    seen: Seen,
) -> Result<()> {
    cluster.wait_until_active(number)?;
    let expected = cluster.nodes[number].answers_as.clone();
    now_served_by(cluster, story, name, cluster.web, expected, seen)
}

/// Ends a step: asks who serves HTTP at the VIPs now, over IPv4 and over IPv6.
fn now_served_by(
    cluster: &Cluster,
    story: &mut Story,
    name: &'static str,
    [v4, v6]: [IpAddr; 2],
    expected: String,
    seen: Seen,
) -> Result<()> {
    story.step(Step {
        name,
        expected,
        answered_by: cluster.wait_for_http(v4)?,
        answered_by_v6: cluster.wait_for_http(v6)?,
        seen,
    });
    Ok(())
}
