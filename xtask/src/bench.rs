//! `cargo xtask bench`: numbers, with the command that makes them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::workspace::{become_command, program};
use crate::{build, setup};

/// Measure: all benchmarks, or those with NAME in their names.
#[derive(clap::Args)]
pub(crate) struct Bench {
    /// Which.
    name: Option<String>,
    /// How often each failure is measured [default: 10; failover: 20].
    #[arg(long)]
    runs: Option<u32>,
    /// Everything once, within a minute: shows that it works.
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// With a minute of starved processors, and as many runs of keepalived as of VIP.
    #[arg(long)]
    full: bool,
    /// Write the results to a file too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw the failovers as SVG.
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
    /// Write the results into a document, between `<!-- bench: NAME -->` and `<!-- end -->`.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

impl Bench {
    /// Becomes the benchmark.
    pub(crate) fn run(&self) -> Result<ExitCode> {
        setup::everything()?;
        let (agent, bench) = build::agent_and_program("vip-bench", true)?;
        let mut command = program(&bench.to_string_lossy(), &[]);
        command.env("VIP_AGENT", agent).args(&self.name);
        if let Some(runs) = self.runs {
            command.args(["--runs", &runs.to_string()]);
        }
        command
            .args(self.quick.then_some("--quick"))
            .args(self.full.then_some("--full"));
        for (option, file) in [
            ("--json", &self.json),
            ("--chart", &self.chart),
            ("--markdown", &self.markdown),
        ] {
            if let Some(file) = file {
                command.arg(option).arg(where_the_user_is(file)?);
            }
        }
        become_command(&mut command)
    }
}

/// The benchmark runs in the repository, its files belong where the user is.
fn where_the_user_is(file: &Path) -> Result<PathBuf> {
    std::path::absolute(file).context("the path of the file")
}
