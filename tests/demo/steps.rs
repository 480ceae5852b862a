//! What goes wrong, one thing after the other.

use std::time::Duration;

use anyhow::Result;
use lab::cluster::Cluster;

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
    cluster.wait_until_active(1)?;
    let answered_by = cluster.wait_for_http(cluster.web[0])?;
    let answered_by_v6 = cluster.wait_for_http(cluster.web[1])?;
    let expected = cluster.nodes[1].answers_as.clone();
    story.step(Step {
        name: "crash",
        expected,
        answered_by,
        answered_by_v6,
        seen,
    });
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
    cluster.wait_until_active(0)?;
    let answered_by = cluster.wait_for_http(cluster.web[0])?;
    let answered_by_v6 = cluster.wait_for_http(cluster.web[1])?;
    let expected = cluster.nodes[0].answers_as.clone();
    story.step(Step {
        name: "hang",
        expected,
        answered_by,
        answered_by_v6,
        seen,
    });
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
    cluster.wait_until_active(1)?;
    let answered_by = cluster.wait_for_http(cluster.web[0])?;
    let answered_by_v6 = cluster.wait_for_http(cluster.web[1])?;
    let expected = cluster.nodes[1].answers_as.clone();
    story.step(Step {
        name: "switchover",
        expected,
        answered_by,
        answered_by_v6,
        seen,
    });
    Ok(())
}

/// The backend that gets the packets dies: cable pulled, nothing refuses, nothing answers.
pub(crate) fn backend_dies(
    cluster: &mut Cluster,
    story: &mut Story,
    settle: Duration,
) -> Result<()> {
    let [v4, v6] = cluster.lb;
    story.begin(
        "backend",
        "the active backend of lb dies: its cable is pulled",
    );
    let watch = cluster.watch(cluster.lb)?;
    let seen = watch.step(settle, || cluster.backends[0].host.unplug())?;
    drop(watch);
    let answered_by = cluster.wait_for_http(v4)?;
    let answered_by_v6 = cluster.wait_for_http(v6)?;
    let expected = cluster.backends[1].host.name().to_owned();
    story.step(Step {
        name: "backend",
        expected,
        answered_by,
        answered_by_v6,
        seen,
    });
    Ok(())
}
