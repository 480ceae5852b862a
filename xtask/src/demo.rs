//! `cargo xtask demo`: a cluster in a box, and what happens to its VIP when things go wrong.

use std::process::ExitCode;

use anyhow::Result;

use crate::workspace::{become_command, program};
use crate::{build, setup};

/// Show a VIP moving: client, two nodes, backends; crash, hang, switchover, backend failure.
#[derive(clap::Args)]
pub(crate) struct Demo {
    /// Print the results as JSON.
    #[arg(long)]
    json: bool,
    /// Shorter pauses.
    #[arg(long)]
    fast: bool,
}

impl Demo {
    /// Becomes the demo.
    pub(crate) fn run(&self) -> Result<ExitCode> {
        setup::lab()?;
        // Without optimisation, as the tests: the flip is in the kernel, and the build half as long.
        let (agent, demo) = build::agent_and_program("vip-demo", false)?;
        let mut command = program(&demo.to_string_lossy(), &[]);
        command.env("VIP_AGENT", agent);
        command
            .args(self.json.then_some("--json"))
            .args(self.fast.then_some("--fast"));
        become_command(&mut command)
    }
}
