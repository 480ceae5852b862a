//! `cargo xtask bench`: numbers, with the command that makes them.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::workspace::{become_command, program};
use crate::{build, setup};

/// Measure: all benchmarks, or those with NAME in their names.
#[derive(clap::Args)]
pub(crate) struct Bench {
    /// Which.
    name: Option<String>,
    /// How often each failure is measured.
    #[arg(long, default_value_t = 10)]
    runs: u32,
    /// Write the results to a file too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Bench {
    /// Becomes the benchmark.
    pub(crate) fn run(&self) -> Result<ExitCode> {
        setup::everything()?;
        let (agent, bench) = build::agent_and_program("vip-bench", true)?;
        let mut command = program(&bench.to_string_lossy(), &[]);
        command.env("VIP_AGENT", agent).args(&self.name);
        command.args(["--runs", &self.runs.to_string()]);
        if let Some(file) = &self.json {
            // The benchmark runs in the repository, the file belongs where the user is.
            let file = std::path::absolute(file).context("the path of the file")?;
            command.arg("--json").arg(file);
        }
        become_command(&mut command)
    }
}
