//! Results: one shape for all benchmarks.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// The system all others are compared with: VIP, as it is configured by default.
pub(crate) const VIP: &str = "vip";

/// What was measured of one thing.
#[derive(Debug)]
pub(crate) struct Row {
    /// The benchmark.
    pub(crate) suite: &'static str,
    /// What happened, or what was there.
    pub(crate) case: String,
    /// What was measured: `vip`, `vip fast`, `keepalived 1s` …
    pub(crate) system: String,
    /// The quantity.
    pub(crate) metric: &'static str,
    /// Its unit.
    pub(crate) unit: &'static str,
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
        self.add(Row::new(suite, case, metric, nanoseconds).unit("ms", 1_000_000));
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
        self.add(Row::new(suite, case, metric, numbers).unit(unit, 1));
    }

    /// Adds a row.
    pub(crate) fn add(&mut self, row: Row) {
        self.0.push(row);
    }

    /// All of them, in the order in which they were measured.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Row> {
        self.0.iter()
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
                    "system": row.system,
                    "metric": row.metric,
                    "unit": row.unit,
                    "n": row.count(),
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
    /// A row of VIP's; samples are plain numbers.
    pub(crate) fn new(
        suite: &'static str,
        case: &str,
        metric: &'static str,
        mut samples: Vec<u64>,
    ) -> Self {
        samples.sort_unstable();
        Self {
            suite,
            case: case.to_owned(),
            system: VIP.to_owned(),
            metric,
            unit: "",
            samples,
            scale: 1,
        }
    }

    /// Of another system.
    pub(crate) fn of(mut self, system: &str) -> Self {
        system.clone_into(&mut self.system);
        self
    }

    /// The unit, of which each sample is `scale` times too much.
    pub(crate) fn unit(mut self, unit: &'static str, scale: u64) -> Self {
        (self.unit, self.scale) = (unit, scale);
        self
    }

    /// Number of samples.
    pub(crate) fn count(&self) -> usize {
        self.samples.len()
    }

    /// The sample below which `percent` of them lie (nearest rank); 0 is the least, 100 the greatest.
    pub(crate) fn percentile(&self, percent: usize) -> u64 {
        let rank = (self.samples.len() * percent).div_ceil(100).max(1);
        self.samples.get(rank - 1).copied().unwrap_or(0)
    }

    /// A percentile in its unit, without it; three digits where the samples are finer.
    pub(crate) fn text(&self, percent: usize) -> String {
        let sample = self.percentile(percent);
        if self.scale == 1 {
            return sample.to_string();
        }
        let (whole, rest) = (sample / self.scale, sample % self.scale);
        format!("{whole}.{:03}", rest * 1000 / self.scale)
    }

    /// A percentile in its unit.
    #[expect(
        clippy::float_arithmetic,
        clippy::cast_precision_loss,
        reason = "for the report"
    )]
    pub(crate) fn value(&self, percent: usize) -> f64 {
        self.percentile(percent) as f64 / self.scale as f64
    }
}

/// A table of text.
#[derive(Debug)]
pub(crate) struct Table {
    head: Vec<&'static str>,
    lines: Vec<Vec<String>>,
    /// So many columns are words, the others numbers.
    words: usize,
}

impl Table {
    /// With these columns, of which the first `words` are not numbers.
    pub(crate) fn new(words: usize, head: &[&'static str]) -> Self {
        Self {
            head: head.to_vec(),
            lines: Vec::new(),
            words,
        }
    }

    /// Adds a line.
    pub(crate) fn line(&mut self, cells: Vec<String>) {
        self.lines.push(cells);
    }

    /// Whether it has no lines.
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// For a screen.
    pub(crate) fn plain(&self) -> String {
        let width = |column: usize| {
            let cells = self.lines.iter().filter_map(|line| line.get(column));
            let longest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
            longest.max(self.head[column].chars().count())
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let head: Vec<String> = self.head.iter().map(|cell| (*cell).to_owned()).collect();
        let mut text = String::new();
        for line in std::iter::once(&head).chain(&self.lines) {
            let mut out = String::new();
            for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
                let padded = if column < self.words {
                    format!("{cell:<width$}  ")
                } else {
                    format!("{cell:>width$}  ")
                };
                out += &padded;
            }
            text += out.trim_end();
            text.push('\n');
        }
        text
    }

    /// For a document.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("| {} |\n|", self.head.join(" | "));
        for column in 0..self.head.len() {
            text += if column < self.words { "---|" } else { "---:|" };
        }
        text.push('\n');
        for line in &self.lines {
            // Writing to a string cannot fail.
            writeln!(text, "| {} |", line.join(" | ")).ok();
        }
        text
    }
}

/// One line for each row for which `wanted` holds.
pub(crate) fn table(rows: &Rows, wanted: impl Fn(&Row) -> bool) -> Table {
    let head = [
        "suite", "case", "system", "metric", "unit", "n", "min", "median", "p99", "max",
    ];
    let mut table = Table::new(5, &head);
    for row in rows.iter().filter(|row| wanted(row)) {
        let words = [row.suite, &row.case, &row.system, row.metric, row.unit];
        let mut cells = words.map(str::to_owned).to_vec();
        cells.push(row.count().to_string());
        cells.extend([0, 50, 99, 100].map(|percent| row.text(percent)));
        table.line(cells);
    }
    table
}

/// What it was measured on.
pub(crate) fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split(':').nth(1))
        .unwrap_or("unknown processor")
        .trim()
        .to_owned();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = rustix::system::uname();
    let release = kernel.release().to_string_lossy();
    // What follows is the build's name.
    let version = release.split('-').next().unwrap_or_default();
    format!("{model}, {cpus} CPUs, Linux {version}")
}
