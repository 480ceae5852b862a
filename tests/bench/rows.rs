//! Results: one shape for all benchmarks.

use serde_json::{Value, json};

/// What was measured of one thing.
#[derive(Debug)]
struct Row {
    suite: &'static str,
    case: String,
    metric: &'static str,
    unit: &'static str,
    /// Ascending.
    samples: Vec<u64>,
    /// Samples are this many times the unit.
    scale: u64,
}

/// All results.
#[derive(Debug, Default)]
pub(crate) struct Rows(Vec<Row>);

impl Rows {
    /// Adds samples given in nanoseconds, shown in milliseconds.
    pub(crate) fn milliseconds(
        &mut self,
        suite: &'static str,
        case: &str,
        metric: &'static str,
        nanoseconds: Vec<u64>,
    ) {
        self.add(suite, case, metric, "ms", nanoseconds, 1_000_000);
    }

    /// Adds plain numbers.
    pub(crate) fn numbers(
        &mut self,
        suite: &'static str,
        case: &str,
        metric: &'static str,
        unit: &'static str,
        numbers: Vec<u64>,
    ) {
        self.add(suite, case, metric, unit, numbers, 1);
    }

    fn add(
        &mut self,
        suite: &'static str,
        case: &str,
        metric: &'static str,
        unit: &'static str,
        mut samples: Vec<u64>,
        scale: u64,
    ) {
        samples.sort_unstable();
        self.0.push(Row {
            suite,
            case: case.to_owned(),
            metric,
            unit,
            samples,
            scale,
        });
    }

    /// Prints a table.
    pub(crate) fn print(&self) {
        println!("{}", machine());
        println!(
            "\n{:<9} {:<26} {:<20} {:>4} {:>10} {:>10} {:>10} {:>10}",
            "suite", "case", "metric", "n", "min", "median", "p99", "max"
        );
        for row in &self.0 {
            println!(
                "{:<9} {:<26} {:<20} {:>4} {:>10} {:>10} {:>10} {:>10} {}",
                row.suite,
                row.case,
                row.metric,
                row.samples.len(),
                row.text(0),
                row.text(50),
                row.text(99),
                row.text(100),
                row.unit
            );
        }
    }

    /// `{"machine", "rows": [{"suite", "case", "system", "metric", "unit", "n", "median", "p99", "max"}]}`
    pub(crate) fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .0
            .iter()
            .map(|row| {
                json!({
                    "suite": row.suite,
                    "case": row.case,
                    "system": "vip",
                    "metric": row.metric,
                    "unit": row.unit,
                    "n": row.samples.len(),
                    "min": row.value(0),
                    "median": row.value(50),
                    "p99": row.value(99),
                    "max": row.value(100),
                })
            })
            .collect();
        json!({ "machine": machine(), "rows": rows })
    }
}

impl Row {
    /// The sample below which `percent` of them lie (nearest rank).
    fn percentile(&self, percent: usize) -> u64 {
        let rank = (self.samples.len() * percent).div_ceil(100).max(1);
        self.samples.get(rank - 1).copied().unwrap_or(0)
    }

    fn text(&self, percent: usize) -> String {
        let sample = self.percentile(percent);
        if self.scale == 1 {
            return sample.to_string();
        }
        let (whole, rest) = (sample / self.scale, sample % self.scale);
        format!("{whole}.{:03}", rest * 1000 / self.scale)
    }

    #[expect(
        clippy::float_arithmetic,
        clippy::cast_precision_loss,
        reason = "for the report"
    )]
    fn value(&self, percent: usize) -> f64 {
        self.percentile(percent) as f64 / self.scale as f64
    }
}

/// What it was measured on.
fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split(':').nth(1))
        .unwrap_or("unknown processor")
        .trim()
        .to_owned();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = rustix::system::uname();
    format!(
        "{model}, {cpus} CPUs, Linux {}",
        kernel.release().to_string_lossy()
    )
}
