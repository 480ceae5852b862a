//! The command line: what can be asked, and how an answer or an error is shown.

mod abi;
mod check;
mod completions;
mod keygen;
mod reload;
mod run;
mod schema;
mod status;
mod switchover;
mod why;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::config::LoadError;
use crate::control::client::ClientError;
use crate::exit::ExitCode;

/// Keeps virtual IP addresses on exactly one live node of a cluster.
#[derive(Debug, Parser)]
#[command(name = "vip-agent", version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  vip-agent keygen /etc/vip-agent/cluster.key    make a key, to be copied to all nodes
  vip-agent check /etc/vip-agent/vip-agent.toml  find mistakes before they matter
  vip-agent why                                  what led to the last failovers
  vip-agent run --config /etc/vip-agent/vip-agent.toml
  vip-agent status --watch
  vip-agent switchover web
  vip-agent reload";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon in the foreground
    Run(run::Args),
    /// Show what the daemon is doing
    Status(status::Args),
    /// Hand an instance over to another node
    Switchover(switchover::Args),
    /// Apply a changed configuration, or another version of the program, without a failover
    Reload(reload::Args),
    /// Tell what led to the last transitions
    Why(why::Args),
    /// Check a configuration file
    Check(check::Args),
    /// Print the version of the data plane
    Abi(abi::Args),
    /// Print the JSON schema of the configuration file
    Schema(schema::Args),
    /// Make a key for a cluster
    Keygen(keygen::Args),
    /// Print completions for a shell
    Completions(completions::Args),
}

/// Where the daemon listens.
#[derive(Debug, clap::Args)]
struct Socket {
    /// Control socket of the daemon
    #[arg(
        long = "socket",
        value_name = "PATH",
        env = "VIP_SOCKET",
        default_value = "/run/vip-agent/control.sock"
    )]
    path: PathBuf,
}

/// Why a command did not succeed.
#[derive(Debug)]
enum Failure {
    /// With this code and this text on standard error.
    Error(ExitCode, anyhow::Error),
    /// With this code; what there was to say has been said.
    Said(ExitCode),
}

impl Failure {
    fn new(code: ExitCode, error: impl Into<anyhow::Error>) -> Self {
        Self::Error(code, error.into())
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Error(error.exit_code(), error.into())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        // Whoever read our output has seen enough: `vip-agent status | head -1` is no failure.
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::Said(ExitCode::Success);
        }
        Self::Error(ExitCode::Failure, anyhow::Error::new(error))
    }
}

/// Shows everything that is wrong with a configuration.
fn config_failure(error: &LoadError) -> Failure {
    let report = error.render(true);
    match anstream::stderr().write_all(report.as_bytes()) {
        Ok(()) => Failure::Said(error.exit_code()),
        Err(_closed) => Failure::Said(error.exit_code()),
    }
}

/// Writes to standard output, with colours where it is a terminal.
fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = anstream::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

/// Runs a command that talks to the daemon.
fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(future)
}

/// Parses the arguments of the process, does what they say, and tells how it went.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Switchover(args) => switchover::run(&args),
        Command::Reload(args) => reload::run(&args),
        Command::Why(args) => why::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Abi(args) => abi::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Keygen(args) => keygen::run(&args),
        Command::Completions(args) => completions::run(&args),
    };
    match result {
        Ok(()) => ExitCode::Success,
        Err(Failure::Said(code)) => code,
        Err(Failure::Error(code, error)) => {
            let chain = chain(&error);
            let style = anstyle::AnsiColor::Red.on_default().bold();
            match writeln!(anstream::stderr(), "{style}error:{style:#} {chain}") {
                // With standard error closed only the code is left to tell.
                Ok(()) | Err(_) => code,
            }
        }
    }
}

/// An error and its causes, leaving out those it has quoted already.
fn chain(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |text, cause| {
        let cause = cause.to_string();
        match text.as_str() {
            "" => cause,
            said if said.contains(&cause) => text,
            said => format!("{said}: {cause}"),
        }
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn no_cause_is_said_twice() {
        let cause = std::io::Error::other("no such thing");
        let error = anyhow::Error::new(cause).context("reading it: no such thing");
        assert_eq!(super::chain(&error), "reading it: no such thing");
        let cause = std::io::Error::other("no such thing");
        let error = anyhow::Error::new(cause).context("reading it");
        assert_eq!(super::chain(&error), "reading it: no such thing");
    }

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
