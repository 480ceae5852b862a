//! `cargo xtask bench`: the numbers of the README and of docs/benchmarks.md, measured where you are.
//!
//! `flip`: how long the flip itself takes, for 1 and for 1,000 VIPs. `announce`: how long it takes to
//! tell the neighbours of 1,000 VIPs. `failover`: what a client sees, per kind of failure, with
//! keepalived beside it, and what that costs. `xdp`: what a packet costs in the data plane.
#![expect(clippy::print_stdout, reason = "the tables are the program's output")]

mod announce;
mod failover;
mod flip;
mod options;
mod rows;
mod xdp;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use lab::Lab;

use crate::options::Options;
use crate::rows::Rows;

/// A suite: its name, and what runs it.
type Suite = (&'static str, fn(&Options, &mut Rows) -> Result<()>);

const SUITES: [Suite; 4] = [
    ("flip", |options, rows| {
        in_lab(|lab| flip::run(lab, options.runs(10), rows))
    }),
    ("announce", |options, rows| {
        in_lab(|lab| announce::run(lab, options.runs(10), rows))
    }),
    ("failover", failover::run),
    ("xdp", |options, rows| xdp::run(options.runs(20), rows)),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.as_slice() {
        // What starves the processors: us, started by us.
        [mode, seconds] if mode == failover::BUSY => failover::be_busy(seconds),
        _ => Options::read(&arguments).and_then(|options| run(&options)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let chosen: Vec<&Suite> = SUITES
        .iter()
        .filter(|(name, _)| options.name.as_ref().is_none_or(|part| name.contains(part)))
        .collect();
    if chosen.is_empty() {
        let names: Vec<&str> = SUITES.iter().map(|(name, _)| *name).collect();
        bail!(
            "no benchmark {:?}; there are: {}",
            options.name,
            names.join(", ")
        );
    }
    let mut rows = Rows::default();
    let mut failed = Vec::new();
    for (name, suite) in &chosen {
        // What the others have measured, and what this one has until then, is worth showing.
        if let Err(error) = suite(options, &mut rows) {
            eprintln!("bench: {name}: {error:#}");
            failed.push(*name);
        }
    }
    println!("{}\n", rows::machine());
    for (name, _) in &chosen {
        for table in tables(name, &rows) {
            println!("{}", table.plain());
        }
    }
    if let Some(file) = &options.json {
        write(file, &serde_json::to_string_pretty(&rows.json())?)?;
    }
    if let Some(file) = &options.chart {
        write(file, &failover::chart(&rows))?;
    }
    if let Some(file) = &options.markdown {
        let mut document =
            std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        for (name, _) in &chosen {
            document = filled_in(&document, name, &rows);
        }
        write(file, &document)?;
    }
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

/// Runs a suite in a lab of its own; its logs are told with what went wrong.
fn in_lab(suite: impl FnOnce(&Lab) -> Result<()>) -> Result<()> {
    let lab = Lab::new()?;
    suite(&lab).with_context(|| format!("logs:\n{}", lab.logs()))
}

/// How a suite's results are shown.
fn tables(suite: &str, rows: &Rows) -> Vec<rows::Table> {
    let tables = if suite == "failover" {
        failover::tables(rows)
    } else {
        vec![rows::table(rows, |row| row.suite == suite)]
    };
    tables
        .into_iter()
        .filter(|table| !table.is_empty())
        .collect()
}

/// The document with the suite's tables between its marks, if it has them.
fn filled_in(document: &str, suite: &str, rows: &Rows) -> String {
    let (begin, end) = (format!("<!-- bench: {suite} -->\n"), "<!-- end -->");
    let parts = document.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(end)?;
        Some((before, after))
    });
    let Some((before, after)) = parts else {
        return document.to_owned();
    };
    let tables: Vec<String> = tables(suite, rows)
        .iter()
        .map(rows::Table::markdown)
        .collect();
    let machine = rows::machine();
    format!(
        "{before}{begin}\n{machine}\n\n{}\n{end}{after}",
        tables.join("\n")
    )
}

fn write(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).with_context(|| format!("writing {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_keeps_everything_outside_the_marks() {
        let mut rows = Rows::default();
        rows.numbers("flip", "1 VIP", "claim", "ns", vec![5, 7, 6]);
        let old =
            "a\n<!-- bench: flip -->\nold\n<!-- end -->\nb\n<!-- bench: x -->\nx\n<!-- end -->\n";
        let new = filled_in(old, "flip", &rows);
        assert!(new.starts_with("a\n<!-- bench: flip -->\n"), "{new}");
        assert!(new.contains("| flip | 1 VIP | vip | claim | ns | 3 | 5 | 6 | 7 | 7 |\n"));
        let rest = "<!-- end -->\nb\n<!-- bench: x -->\nx\n<!-- end -->\n";
        assert!(new.ends_with(rest) && !new.contains("old"), "{new}");
        assert_eq!(filled_in(&new, "flip", &rows), new);
        assert_eq!(filled_in("no marks", "flip", &rows), "no marks");
    }
}
