//! What being there costs, and what starved processors do.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lab::{Host, Process};

use super::rival::Routers;
use super::schedule::default_plan;
use super::vip::Nodes;
use crate::options::Options;
use crate::rows::{Row, Rows, VIP};

/// First argument of a program that keeps a processor busy.
pub(crate) const BUSY: &str = "busy";
/// Loops on each processor.
const LOOPS: usize = 2;
/// The keepaliveds beside VIP, by the time between their adverts.
const RIVALS: [(&str, Duration); 2] = [
    ("keepalived 10ms", Duration::from_millis(10)),
    ("keepalived 1s", Duration::from_secs(1)),
];

/// Spends processor time for so many seconds, and ends.
pub(crate) fn be_busy(seconds: &str) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(seconds.parse().context("seconds")?);
    while Instant::now() < end {
        std::hint::spin_loop();
    }
    Ok(())
}

/// Lets VIP and keepalived run side by side: in peace, then with all processors kept busy.
pub(super) fn run(options: &Options, rows: &mut Rows) -> Result<()> {
    eprintln!("failover: load: starting");
    let mut nodes = Nodes::start(&default_plan())?;
    let rivals = if options.quick { &RIVALS[..1] } else { &RIVALS };
    let routers = rivals
        .iter()
        .map(|(name, interval)| Ok((*name, Routers::start(*interval)?)))
        .collect::<Result<Vec<_>>>()?;
    cost(options, &mut nodes, &routers, rows)?;
    starve(options, &nodes, &routers, rows)
}

/// Processor time and memory of the Backups.
fn cost(
    options: &Options,
    nodes: &mut Nodes,
    routers: &[(&str, Routers)],
    rows: &mut Rows,
) -> Result<()> {
    let seconds = if options.quick { 1 } else { 10 };
    eprintln!("failover: load: cost, {seconds} s");
    let mut systems = vec![(VIP, vec![nodes.cluster.nodes[1].node.pid()?])];
    for (name, pair) in routers {
        systems.push((name, pair.routers[1].pids()?.to_vec()));
    }
    let mut shares: Vec<Vec<u64>> = vec![Vec::new(); systems.len()];
    let mut before = times(&systems)?;
    for _ in 0..seconds {
        std::thread::sleep(Duration::from_secs(1));
        let after = times(&systems)?;
        for ((shares, then), now) in shares.iter_mut().zip(&before).zip(&after) {
            let (spent, passed) = (now.1 - then.1, now.0.duration_since(then.0).as_nanos());
            // Thousandths of a percent.
            shares.push(spent * 100_000 / u64::try_from(passed)?.max(1));
        }
        before = after;
    }
    for ((name, pids), shares) in systems.iter().zip(shares) {
        let row = |metric, samples| Row::new("cost", "Backup", metric, samples).of(name);
        rows.add(row("share of one CPU", shares).unit("%", 1000));
        let memory: u64 = pids.iter().map(|pid| resident(*pid)).sum::<Result<u64>>()?;
        rows.add(row("resident memory", vec![memory]).unit("MiB", 1024));
    }
    Ok(())
}

/// When each was looked at, and the processor time it had had by then, in nanoseconds.
fn times(systems: &[(&str, Vec<u32>)]) -> Result<Vec<(Instant, u64)>> {
    systems
        .iter()
        .map(|(_, pids)| {
            let spent = pids
                .iter()
                .map(|pid| processor_time(*pid))
                .sum::<Result<u64>>()?;
            Ok((Instant::now(), spent))
        })
        .collect()
}

/// Processor time of all threads, as the scheduler counts it; with it goes what the kernel does for
/// frames while the thread sends them, in a lab that is the whole way to the receiver.
fn processor_time(pid: u32) -> Result<u64> {
    let tasks = format!("/proc/{pid}/task");
    let mut sum = 0;
    for task in fs::read_dir(&tasks).with_context(|| format!("reading {tasks}"))? {
        let file = task.context("a thread")?.path().join("schedstat");
        sum += first_number(&file)?;
    }
    Ok(sum)
}

/// Memory that is there, in KiB.
fn resident(pid: u32) -> Result<u64> {
    let file = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&file).with_context(|| format!("reading {file}"))?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .with_context(|| format!("no VmRSS in {file}"))
}

fn first_number(file: &Path) -> Result<u64> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    text.split_whitespace()
        .next()
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("no number in {}", file.display()))
}

/// Counts failovers while there are more loops than processors.
fn starve(
    options: &Options,
    nodes: &Nodes,
    routers: &[(&str, Routers)],
    rows: &mut Rows,
) -> Result<()> {
    let seconds = match options {
        Options { quick: true, .. } => 2,
        Options { full: true, .. } => 60,
        _ => 20,
    };
    eprintln!("failover: load: starved, {seconds} s");
    let before = counts(nodes, routers)?;
    let loops = Loops::start(&nodes.cluster.client, seconds)?;
    std::thread::sleep(Duration::from_secs(seconds));
    drop(loops);
    let after = counts(nodes, routers)?;
    let case = format!("{LOOPS} busy loops per CPU, {seconds} s");
    for ((name, before), (_, after)) in before.into_iter().zip(after) {
        let failovers = vec![after.saturating_sub(before)];
        let row = Row::new("starvation", &case, "failovers", failovers);
        rows.add(row.of(name).unit("times", 1));
    }
    Ok(())
}

/// How often somebody has taken over, of each system, since it was started.
fn counts<'name>(
    nodes: &Nodes,
    routers: &[(&'name str, Routers)],
) -> Result<Vec<(&'name str, u64)>> {
    let mut epoch = 0;
    for serving in &nodes.cluster.nodes {
        // Each claim has a later epoch than the one before.
        let status = serving.node.status()?;
        epoch = epoch.max(
            status["instances"][0]["epoch"]
                .as_u64()
                .context("an epoch")?,
        );
    }
    let mut counts = vec![(VIP, epoch)];
    for (name, pair) in routers {
        let [one, two] = pair.routers.each_ref().map(lab::Keepalived::times_master);
        counts.push((name, u64::try_from(one? + two?)?));
    }
    Ok(counts)
}

/// Busy programs: they end by themselves, and with this. They live in a host of the lab, so that they
/// are found and ended with it when we are killed.
struct Loops(#[expect(dead_code, reason = "held until they are to end")] Vec<Process>);

impl Loops {
    fn start(host: &Host, seconds: u64) -> Result<Self> {
        // Ourselves, even if a build has replaced us meanwhile.
        let program = "/proc/self/exe";
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let start = |_| {
            let mut command = Command::new(program);
            command.args([BUSY, &seconds.to_string()]);
            let log = host.file("busy.log");
            host.namespace()
                .enter(|| Process::spawn(BUSY, &mut command, &log))
        };
        Ok(Self((0..LOOPS * cpus).map(start).collect::<Result<_>>()?))
    }
}
