//! One way to measure them all.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Client, Probe, Report, clock, wait_until};

use super::summary::{LOST, OWNERS};
use super::{Fault, owners};
use crate::rows::{Row, Rows};

/// Time between questions.
const SPACING: Duration = Duration::from_micros(100);
/// A steady state before something happens.
const BEFORE: Duration = Duration::from_millis(20);
/// How long a first answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Two who share a VIP, and something that can go wrong with them. Dropping it removes it all.
pub(super) trait Pair {
    /// Who asks.
    fn client(&self) -> &Client;
    /// Whom it asks.
    fn vip(&self) -> IpAddr;
    /// What the two answer as.
    fn names(&self) -> [String; 2];
    /// Lets something happen to the one of the two who answers.
    fn cause(&mut self, fault: Fault, to: usize) -> Result<()>;
    /// After it the other one must answer within this time.
    fn patience(&self) -> Duration;
    /// How long the client is watched after that.
    fn settle(&self, fault: Fault) -> Duration;
    /// Makes it good again, and waits until both are ready for the next.
    fn repair(&mut self, fault: Fault, to: usize) -> Result<()>;
    /// What to show when something went wrong.
    fn logs(&self) -> String;
}

type Start = Box<dyn Fn() -> Result<Box<dyn Pair>>>;

/// Faults of one system, one after the other.
pub(super) struct Series {
    system: &'static str,
    /// Follows the fault's name.
    suffix: String,
    faults: Vec<(Fault, u32)>,
    start: Start,
}

/// What the client saw, for each run.
#[derive(Debug, Default)]
struct Samples {
    outage: Vec<u64>,
    lost: Vec<u64>,
    duplicates: Vec<u64>,
    owners: Vec<u64>,
    moved: Vec<u64>,
    late: Vec<u64>,
}

impl Series {
    /// These faults, so many times each, with a pair that `start` makes.
    pub(super) fn new(
        system: &'static str,
        faults: Vec<(Fault, u32)>,
        start: impl Fn() -> Result<Box<dyn Pair>> + 'static,
    ) -> Self {
        Self {
            system,
            suffix: String::new(),
            faults,
            start: Box::new(start),
        }
    }

    /// With something in the case's name besides the fault's.
    pub(super) fn called(mut self, suffix: &str) -> Self {
        self.suffix = format!(", {suffix}");
        self
    }

    /// Measures; returns what failed, which has been told already.
    pub(super) fn run(&self, rows: &mut Rows) -> Vec<String> {
        let mut failures = Vec::new();
        let mut pair = None;
        for (fault, runs) in &self.faults {
            let case = format!("{}{}", fault.name(), self.suffix);
            eprintln!("failover: {}: {case}, {runs} times", self.system);
            let mut samples = Samples::default();
            if let Err(error) = self.repeat(&mut pair, *fault, *runs, &mut samples) {
                let logs = pair.take().map(|pair: Box<dyn Pair>| pair.logs());
                eprintln!("{}", logs.unwrap_or_default());
                eprintln!("failover: {}: {case}: {error:#}", self.system);
                failures.push(format!("{}: {case}", self.system));
            }
            samples.add_to(rows, self.system, &case, *fault);
        }
        failures
    }

    fn repeat(
        &self,
        pair: &mut Option<Box<dyn Pair>>,
        fault: Fault,
        runs: u32,
        samples: &mut Samples,
    ) -> Result<()> {
        let pair = match pair {
            Some(pair) => pair,
            None => pair.insert((self.start)().context("starting")?),
        };
        for run in 1..=runs {
            once(pair.as_mut(), fault, samples).with_context(|| format!("run {run} of {runs}"))?;
        }
        Ok(())
    }
}

/// Lets it happen once.
fn once(pair: &mut dyn Pair, fault: Fault, samples: &mut Samples) -> Result<()> {
    let probe = Probe::start(pair.client(), pair.vip(), SPACING)?;
    probe.wait_for_answer(PATIENCE)?;
    let before = clock::now_ns();
    std::thread::sleep(BEFORE);
    let answering = probe.answered_by().unwrap_or_default();
    let names = pair.names();
    let to = names
        .iter()
        .position(|name| *name == answering)
        .with_context(|| format!("{answering} answers"))?;
    pair.cause(fault, to)?;
    if fault.moves() {
        let other = &names[1 - to];
        wait_until(
            &format!("{other} to answer"),
            pair.patience(),
            || match probe.answered_by() {
                Some(name) if name == *other => Ok(()),
                last => Err(format!("last answered by {last:?}")),
            },
        )?;
    }
    std::thread::sleep(pair.settle(fault));
    let report = probe.report(before, clock::now_ns());
    // Whoever answers for it makes the client send its packets there.
    let owners = owners::count(pair.client(), pair.vip())?;
    drop(probe);
    ensure!(report.last.is_some(), "nobody answers: {report}");
    samples.take(&report, owners);
    pair.repair(fault, to)
}

impl Samples {
    fn take(&mut self, report: &Report, owners: u64) {
        self.outage.push(report.outage_ns);
        self.lost.push(report.lost);
        self.duplicates.push(report.duplicates);
        self.owners.push(owners);
        self.moved
            .push(u64::try_from(report.changes.len().saturating_sub(1)).unwrap_or(u64::MAX));
        self.late.push(report.stall_ns);
    }

    fn add_to(self, rows: &mut Rows, system: &str, case: &str, fault: Fault) {
        if self.outage.is_empty() {
            return;
        }
        let row = |metric, samples| Row::new("failover", case, metric, samples).of(system);
        rows.add(row("gap", self.outage).unit("ms", 1_000_000));
        rows.add(row(LOST, self.lost).unit("packets", 1));
        rows.add(row("answered twice", self.duplicates).unit("packets", 1));
        if fault != Fault::Backend {
            rows.add(row(OWNERS, self.owners).unit("nodes", 1));
        }
        rows.add(row("changes of who answers", self.moved).unit("times", 1));
        rows.add(row("probe's own stall", self.late).unit("ms", 1_000_000));
    }
}
