//! `cargo xtask demo`: a VIP that moves.
//!
//! Builds a client, two nodes and two backends out of network namespaces, lets things go wrong one
//! after the other, and prints what the client saw. Succeeds only if each step ended with the service
//! answered by the node or backend that should.
#![expect(clippy::print_stdout, reason = "the timeline is the program's output")]

mod output;
mod steps;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use lab::Lab;
use lab::cluster::{Cluster, Plan};

use crate::output::{Story, Style};

/// What the command line says.
#[derive(Debug, Default, Clone, Copy)]
struct Options {
    json: bool,
    fast: bool,
}

fn main() -> ExitCode {
    match options().and_then(run) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Options> {
    let mut options = Options::default();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--json" => options.json = true,
            "--fast" => options.fast = true,
            "--help" | "-h" => {
                println!("usage: cargo xtask demo [--json] [--fast]");
                std::process::exit(0);
            }
            other => bail!("unknown option {other}; there are --json and --fast"),
        }
    }
    Ok(options)
}

fn run(options: Options) -> Result<bool> {
    let style = if options.json {
        Style::Json
    } else {
        Style::Text
    };
    let mut story = Story::new(style);
    let lab = Lab::new()?;
    let plan = Plan::default();
    story.title(&plan);
    let outcome = play(&lab, &plan, &mut story, options);
    if outcome.is_err() {
        eprintln!("{}", lab.logs());
    }
    outcome?;
    Ok(story.end())
}

fn play(lab: &Lab, plan: &Plan, story: &mut Story, options: Options) -> Result<()> {
    let settle = Duration::from_millis(if options.fast { 300 } else { 1000 });
    let mut cluster = Cluster::start(lab, plan)?;
    story.cluster_is_up(&cluster)?;
    steps::crash(&mut cluster, story, settle)?;
    steps::freeze(&mut cluster, story, settle)?;
    steps::switchover(&mut cluster, story, settle)?;
    steps::backend_dies(&mut cluster, story, settle)
}
