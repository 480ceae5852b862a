//! A failover of 1,000 VIPs: how long until all neighbours have been told.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use lab::cluster::{Cluster, Plan};
use lab::{Capture, Lab};

use crate::rows::Rows;

/// Number of VIPs.
const VIPS: u16 = 1000;
/// How long after the crash announcements are looked for.
const SETTLE: Duration = Duration::from_millis(500);

/// Crashes the Active node and looks at the announcements of the other, as the client gets them.
pub(crate) fn run(lab: &Lab, runs: u32, rows: &mut Rows) -> Result<()> {
    let plan = Plan {
        vips: VIPS,
        backends: false,
        ..Plan::default()
    };
    let mut cluster = Cluster::start(lab, &plan)?;
    let (mut spread, mut gaps) = (Vec::new(), Vec::new());
    for run in 0..runs {
        eprintln!("announce: run {} of {runs}", run + 1);
        let (active, backup) = if run % 2 == 0 { (0, 1) } else { (1, 0) };
        let capture = Capture::at(&cluster.client, "arp and ether broadcast")?;
        let watch = cluster.watch(cluster.web)?;
        let seen = watch.step(SETTLE, || cluster.nodes[active].node.crash())?;
        gaps.push(seen.v4.gap_ns);
        drop(watch);
        let mac = cluster.nodes[backup].node.mac();
        // Sender address of a gratuitous ARP → when it was first heard.
        let mut first_heard: BTreeMap<[u8; 4], u64> = BTreeMap::new();
        for frame in capture.stop()?.iter().filter(|frame| frame.source() == mac) {
            let sender: Option<[u8; 4]> = frame
                .bytes
                .get(28..32)
                .and_then(|bytes| bytes.try_into().ok());
            let target = frame.bytes.get(38..42);
            if let Some(sender) = sender.filter(|sender| target == Some(sender.as_slice())) {
                first_heard.entry(sender).or_insert(frame.at_ns);
            }
        }
        ensure!(
            first_heard.len() == usize::from(VIPS),
            "{} of {VIPS} VIPs were announced",
            first_heard.len()
        );
        let first = first_heard.values().min().copied().unwrap_or(0);
        let last = first_heard.values().max().copied().unwrap_or(0);
        spread.push(last - first);
        cluster.repair(active)?;
    }
    rows.milliseconds("announce", "1000 VIPs", "first to last ARP", spread);
    rows.milliseconds("announce", "1000 VIPs, node crashes", "gap", gaps);
    Ok(())
}
