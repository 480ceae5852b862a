//! `cargo xtask run -- ARGS`: the agent on this machine's interfaces.

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::workspace::{become_command, say, spelled};
use crate::{build, setup};

/// Build the agent with optimisation and run it: `cargo xtask run -- run --config vip.toml`.
#[derive(clap::Args)]
pub(crate) struct Run {
    /// What the agent is given.
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGS"
    )]
    arguments: Vec<String>,
}

impl Run {
    /// Becomes the agent.
    pub(crate) fn run(&self) -> Result<ExitCode> {
        setup::lab()?;
        let mut agent = Command::new(build::agent(true)?);
        agent.args(&self.arguments);
        say(spelled(&agent));
        become_command(&mut agent)
    }
}
