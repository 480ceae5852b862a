//! `vip-agent completions`: completions for a shell.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, Failure, print};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vip-agent completions bash > /etc/bash_completion.d/vip-agent
  vip-agent completions zsh  > /usr/local/share/zsh/site-functions/_vip-agent
  vip-agent completions fish > ~/.config/fish/completions/vip-agent.fish")]
pub(super) struct Args {
    /// Which shell
    shell: Shell,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "vip-agent", &mut script);
    print(&String::from_utf8_lossy(&script))
}
