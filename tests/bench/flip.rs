//! The flip itself: the store that makes this node Active for an instance.

use std::time::Instant as Stopwatch;

use anyhow::{Context, Result};
use lab::{Instance, Lab, NodeConfig};
use vip_agent::config;
use vip_agent::dataplane::Dataplane;
use vip_proto::{Epoch, Instant};

use crate::rows::Rows;

/// Flips timed together: one alone is shorter than reading the clock.
const BATCH: u32 = 1000;
/// Batches.
const BATCHES: u32 = 200;

/// Claims an instance again and again, with 1 and with 1,000 VIPs, in turns.
pub(crate) fn run(lab: &Lab, _runs: u32, rows: &mut Rows) -> Result<()> {
    let network = lab.network("lan")?;
    let mut planes = Vec::new();
    for vips in [1, 1000] {
        let host = lab.host(&format!("node-{vips}"), &[&network])?;
        let mut instance = Instance::new("web", 1);
        for number in 0..vips {
            let [high, low] = u16::to_be_bytes(number);
            instance = instance.vip([10, 255, high, low]);
        }
        let node = NodeConfig::new(&host).peers(&[&host]).instance(instance);
        let node = node.cluster_line("address = \"127.0.0.1\"");
        node.write()?;
        let config = config::load(node.path())
            .map_err(|error| anyhow::anyhow!("{error:?}"))?
            .config;
        planes.push((vips, Dataplane::load(&config)?));
    }
    let mut samples = vec![Vec::new(); planes.len()];
    for _ in 0..BATCHES {
        for ((_, plane), samples) in planes.iter().zip(&mut samples) {
            samples.push(batch(plane)?);
        }
    }
    for ((vips, plane), samples) in planes.into_iter().zip(samples) {
        let case = format!("{vips} VIP{}", if vips == 1 { "" } else { "s" });
        rows.numbers("flip", &case, "claim, read back", "ns", samples);
        plane.remove()?;
    }
    Ok(())
}

/// Nanoseconds a claim takes, as the mean of a batch.
fn batch(plane: &Dataplane) -> Result<u64> {
    let slots = plane.slots();
    let begin = Stopwatch::now();
    for number in 0..BATCH {
        // Without a lease nobody answers for anything here.
        let now = Instant::from_nanos(u64::from(number) + 1);
        slots
            .instances
            .claim(0, Epoch(number), true, now)
            .context("claiming")?;
    }
    let nanoseconds = begin.elapsed().as_nanos() / u128::from(BATCH);
    Ok(u64::try_from(nanoseconds)?)
}
