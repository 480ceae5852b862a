//! What a client sees when things go wrong, at adverts every 10 ms.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::cluster::{Cluster, Plan, Seen, Watch};
use lab::{Lab, Report};

use crate::rows::Rows;

/// How long after something went wrong the client is watched.
const SETTLE: Duration = Duration::from_millis(300);

/// Samples of one kind of failure.
#[derive(Debug, Default)]
struct Samples {
    gap: Vec<u64>,
    lost: Vec<u64>,
    stalls: Vec<u64>,
}

impl Samples {
    fn take(&mut self, report: &Report) {
        self.gap.push(report.gap_ns);
        self.lost.push(report.lost);
        self.stalls.push(report.stall_ns);
    }

    fn add_to(self, rows: &mut Rows, case: &str) {
        rows.milliseconds("failover", case, "gap", self.gap);
        rows.numbers("failover", case, "lost of 1000/s", "packets", self.lost);
        rows.milliseconds("failover", case, "probe's own stall", self.stalls);
    }
}

/// Crash, hang, switchover and backend failure, `runs` times each, in turns.
pub(crate) fn run(lab: &Lab, runs: u32, rows: &mut Rows) -> Result<()> {
    let plan = Plan::default();
    let mut cluster = Cluster::start(lab, &plan)?;
    let (mut crash, mut hang) = (Samples::default(), Samples::default());
    let (mut switchover, mut backend) = (Samples::default(), Samples::default());
    for run in 0..runs {
        eprintln!("failover: run {} of {runs}", run + 1);
        crash.take(&watched(&cluster_watch(&cluster)?, || {
            cluster.nodes[0].node.crash()
        })?);
        cluster.wait_until_active(1)?;
        cluster.repair(0)?;

        hang.take(&watched(&cluster_watch(&cluster)?, || {
            cluster.nodes[1].node.freeze()
        })?);
        cluster.wait_until_active(0)?;
        cluster.nodes[1].node.thaw()?;
        cluster.wait_until_backup(1)?;

        for (from, to) in [(0, 1), (1, 0)] {
            switchover.take(&watched(&cluster_watch(&cluster)?, || {
                for instance in cluster.instances() {
                    cluster.nodes[from].node.switchover(instance)?;
                }
                Ok(())
            })?);
            cluster.wait_until_active(to)?;
        }

        let watch = cluster.watch(cluster.lb)?;
        let report = watched(&watch, || cluster.backends[0].host.unplug())?;
        ensure!(
            report.after.as_deref() == Some("backend-2"),
            "backend-2 takes over: {report:?}"
        );
        backend.take(&report);
        drop(watch);
        cluster.backends[0].host.plug()?;
        cluster.wait_for_backend("backend-1")?;
    }
    crash.add_to(rows, "node crashes");
    hang.add_to(rows, "agent hangs");
    switchover.add_to(rows, "switchover");
    backend.add_to(rows, "backend dies");
    Ok(())
}

fn cluster_watch(cluster: &Cluster) -> Result<Watch> {
    cluster.watch(cluster.web)
}

fn watched(watch: &Watch, happening: impl FnOnce() -> Result<()>) -> Result<Report> {
    let Seen { v4, v6: _ } = watch.step(SETTLE, happening)?;
    Ok(v4)
}
