//! `vip-agent run`: the daemon.

use std::path::PathBuf;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

use super::{Failure, config_failure};
use crate::config::{self, Severity, host};
use crate::daemon::Invocation;
use crate::exit::ExitCode;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Stops on SIGTERM or SIGINT: hands its VIPs over, forwards what still comes for them, then removes the
data plane (or leaves it, with `on_exit = \"stay\"`, or leaves it at work, with `on_exit = \"keep\"`). A
second signal stops it at once. SIGHUP reloads, as `vip-agent reload` does. Needs root, or the
capabilities in the systemd unit.

Examples:
  vip-agent run --config /etc/vip-agent/vip-agent.toml
  vip-agent run --config vip-agent.toml --log debug,hyper=warn --log-format json")]
pub(super) struct Args {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// What to log, by level and target
    #[arg(long, value_name = "FILTER", env = "VIP_LOG", default_value = "info")]
    log: String,
    /// How to log, on standard error
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    /// Lines for people
    Text,
    /// One JSON object per line
    Json,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    crate::daemon::hold_back()?;
    let invocation = Invocation::of_this_process(&args.config)?;
    start_log(args)?;
    let loaded = config::load(&args.config).map_err(|error| config_failure(&error))?;
    for warning in &loaded.warnings {
        tracing::warn!(code = warning.code, "{warning}");
    }
    check_host(&loaded.config)?;
    crate::daemon::run(loaded.config, &invocation)
        .map_err(|error| Failure::new(error.exit_code(), error))
}

fn start_log(args: &Args) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&args.log).map_err(|error| {
        let error = anyhow::Error::new(error).context(format!("bad --log filter {:?}", args.log));
        Failure::Error(ExitCode::Usage, error)
    })?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // Told on stderr, too, which panics where nobody reads it any more: an agent does not die of
        // the end of its log.
        .log_internal_errors(false);
    let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
    match args.log_format {
        LogFormat::Text => log.with_ansi(colour).init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

/// Logs what does not fit this host; an error ends the start.
fn check_host(config: &config::Config) -> Result<(), Failure> {
    let facts = host::interface_facts()?;
    let findings = config::host_findings(config, &facts);
    for finding in findings
        .iter()
        .filter(|finding| finding.severity == Severity::Warning)
    {
        tracing::warn!(code = finding.code, "{finding}");
    }
    let errors: Vec<_> = findings
        .into_iter()
        .filter(|finding| finding.severity == Severity::Error)
        .collect();
    if errors.is_empty() {
        return Ok(());
    }
    // What is missing may still come (at boot the network often does): worth another start.
    let code = if errors
        .iter()
        .all(|finding| [host::NO_SUCH_INTERFACE, host::NO_SUCH_ADDRESS].contains(&finding.code))
    {
        ExitCode::NoInterface
    } else {
        ExitCode::Config
    };
    let text = errors
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\nerror: ");
    Err(Failure::Error(code, anyhow::Error::msg(text)))
}
