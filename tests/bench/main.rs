//! `cargo xtask bench`: the numbers of the README, measured where you are.
//!
//! `flip`: how long the flip itself takes, for 1 and for 1,000 VIPs. `announce`: how long it takes to
//! tell the neighbours of 1,000 VIPs. `failover`: what a client sees, per kind of failure.
#![expect(clippy::print_stdout, reason = "the tables are the program's output")]

mod announce;
mod failover;
mod flip;
mod rows;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use lab::Lab;

use crate::rows::Rows;

/// A suite: its name, and what runs it.
type Suite = (&'static str, fn(&Lab, u32, &mut Rows) -> Result<()>);

const SUITES: [Suite; 3] = [
    ("flip", flip::run),
    ("announce", announce::run),
    ("failover", failover::run),
];

/// What the command line says.
#[derive(Debug)]
struct Options {
    suite: Option<String>,
    runs: u32,
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    match options().and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Options> {
    let mut options = Options {
        suite: None,
        runs: 10,
        json: None,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => options.json = Some(arguments.next().context("--json FILE")?.into()),
            "--runs" => {
                let number = arguments.next().context("--runs N")?;
                options.runs = number.parse().with_context(|| format!("--runs {number}"))?;
            }
            name if SUITES.iter().any(|(suite, _)| *suite == name) => {
                options.suite = Some(argument);
            }
            other => {
                let names: Vec<&str> = SUITES.iter().map(|(name, _)| *name).collect();
                bail!("no benchmark {other:?}; there are: {}", names.join(", "));
            }
        }
    }
    if options.runs == 0 {
        bail!("--runs must be at least 1");
    }
    Ok(options)
}

fn run(options: &Options) -> Result<()> {
    let mut rows = Rows::default();
    for (name, suite) in SUITES {
        if options.suite.as_ref().is_none_or(|wanted| wanted == name) {
            let lab = Lab::new()?;
            suite(&lab, options.runs, &mut rows)
                .with_context(|| format!("{name}; logs:\n{}", lab.logs()))?;
        }
    }
    rows.print();
    if let Some(path) = &options.json {
        let json = serde_json::to_string_pretty(&rows.json())?;
        std::fs::write(path, json).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}
