//! `vip-agent why`: what led to the last transitions.

mod clock;
mod phrase;
mod render;
#[cfg(test)]
mod tests;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::json;
use vip_common::abi::{self, FlightRecord};
use vip_proto::Vrid;

use self::clock::WallClock;
use super::{Failure, block_on, config_failure, print};
use crate::api;
use crate::config::{self, Config, PIN_DIR, RUNTIME_DIR};
use crate::control::client::{Client, ClientError};
use crate::dataplane::flight::FlightRing;
use crate::dataplane::pins::Pins;
use crate::exit::ExitCode;
use crate::flight::story::Recording;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Asks the daemon; if none answers, reads what the last one left pinned, as long as the host is up and
the data plane was not removed by an orderly stop. That needs root.

Examples:
  vip-agent why                        the last three transitions of this node
  vip-agent why web --last 1
  vip-agent why --config /etc/vip-agent/vip-agent.toml
  vip-agent why --json | jq -r '.transitions[] | \"\\(.at) \\(.instance) \\(.sentence)\"'")]
pub(super) struct Args {
    /// Tell of this instance only, by its name or VRID
    instance: Option<String>,
    /// How many transitions to tell of
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    last: u16,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    /// Control socket of the daemon
    #[arg(long, value_name = "PATH", env = "VIP_SOCKET")]
    socket: Option<PathBuf>,
    /// Ask no daemon: read what is pinned in this directory
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pin_dir: Option<PathBuf>,
    /// Configuration that names the daemon's directories and the instances
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What is told about.
struct Source {
    recording: Recording,
    /// The daemon's word for the node; `None`: no daemon was asked.
    node: Option<String>,
    /// Where it comes from, for people.
    from: String,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let config = args.config.as_deref().map(config::load).transpose();
    let config = config.map_err(|error| config_failure(&error))?;
    let config = config.map(|loaded| loaded.config);
    let source = read(args, config.as_ref())?;
    let clock = WallClock::now();
    let vrid = args
        .instance
        .as_deref()
        .map(|name| find(&source.recording, name))
        .transpose()?;
    let stories = source.recording.stories(vrid, args.last.into());
    if args.json {
        let object = json!({
            "node": source.node,
            "source": source.from,
            "transitions": render::json(&source.recording, &stories, clock),
        });
        return print(&format!("{object:#}\n"));
    }
    if source.node.is_none() {
        print(&format!("From {}.\n", source.from))?;
    }
    if stories.is_empty() {
        return print("No transition is recorded.\n");
    }
    print(&render::text(&source.recording, &stories, clock))
}

fn find(recording: &Recording, name: &str) -> Result<Vrid, Failure> {
    recording.find(name).ok_or_else(|| {
        let known: Vec<String> = recording.instances().into_keys().collect();
        let error = format!(
            "there is no instance {name:?}; there are: {}",
            known.join(", ")
        );
        Failure::Error(ExitCode::Refused, anyhow::Error::msg(error))
    })
}

/// Asks the daemon, else looks at what is pinned.
fn read(args: &Args, config: Option<&Config>) -> Result<Source, Failure> {
    if let Some(directory) = &args.pin_dir {
        return read_pinned(directory, config, None);
    }
    let socket = args.socket.clone().unwrap_or_else(|| {
        let directory =
            config.map_or_else(|| Path::new(RUNTIME_DIR), |config| &config.node.runtime_dir);
        directory.join("control.sock")
    });
    let client = Client::new(&socket);
    match block_on(async { Ok(client.recording().await) })? {
        Ok(recording) => Ok(asked(recording)),
        Err(
            error @ (ClientError::NotRunning(_)
            | ClientError::Timeout(..)
            | ClientError::Connection(..)),
        ) => {
            let directory =
                config.map_or_else(|| Path::new(PIN_DIR), |config| &config.node.pin_dir);
            read_pinned(directory, config, Some(error))
        }
        Err(
            error @ (ClientError::Denied(_) | ClientError::Answer(_) | ClientError::Refused(_)),
        ) => Err(error.into()),
    }
}

fn asked(recording: api::Recording) -> Source {
    let names = recording.instances.into_iter();
    let names = names.filter_map(|instance| Some((Vrid::new(instance.vrid)?, instance.name)));
    let records: Vec<FlightRecord> = recording.records.iter().map(FlightRecord::from).collect();
    Source {
        recording: Recording::new(&records, names),
        node: Some(recording.node),
        from: "the running agent".into(),
    }
}

/// Reads what an agent has left. `unanswered`: why none was asked.
fn read_pinned(
    directory: &Path,
    config: Option<&Config>,
    unanswered: Option<ClientError>,
) -> Result<Source, Failure> {
    let path = Pins::new(directory).map(abi::FLIGHT);
    let ring = FlightRing::open_pinned(&path).map_err(|error| {
        let code = match (error.kind(), &unanswered) {
            (ErrorKind::PermissionDenied, _) => ExitCode::Privilege,
            (ErrorKind::NotFound, None) => ExitCode::Failure,
            (ErrorKind::NotFound, Some(unanswered)) => unanswered.exit_code(),
            _ => ExitCode::Failure,
        };
        let daemon = unanswered
            .as_ref()
            .map_or_else(String::new, |error| format!("{error}. "));
        let text = format!("{daemon}{}", cannot_read(&path, &error));
        Failure::Error(code, anyhow::Error::msg(text))
    })?;
    let names = config.map_or(&[][..], |config| &config.instances).iter();
    let names = names.map(|instance| (instance.vrid, instance.name.clone()));
    let why = if unanswered.is_some() {
        ", for no agent answers"
    } else {
        ""
    };
    Ok(Source {
        recording: Recording::new(&ring.records(), names),
        node: None,
        from: format!("what is pinned in {}{why}", directory.display()),
    })
}

fn cannot_read(path: &Path, error: &std::io::Error) -> String {
    let path = path.display();
    if error.kind() == ErrorKind::NotFound {
        format!(
            "There is no recording either: {path} does not exist. An orderly stop removes it, and \
             so does a restart of the host; --pin-dir or --config name another place"
        )
    } else if error.kind() == ErrorKind::PermissionDenied {
        format!("{path} may not be read by this user: run the command as root")
    } else {
        format!("the recording {path} cannot be read: {error}")
    }
}
