//! `vip-agent status`: what the daemon is doing.

mod render;
#[cfg(test)]
mod tests;

use std::io::{IsTerminal, Write};
use std::time::Duration;

use super::{Failure, Socket, block_on, print};
use crate::api::Status;
use crate::config::duration;
use crate::control::client::{Client, ClientError};
use crate::exit::ExitCode;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vip-agent status
  vip-agent status web --watch=0.2
  vip-agent status --json | jq -r '.instances[] | \"\\(.name) \\(.state)\"'")]
pub(super) struct Args {
    /// Show this instance only
    instance: Option<String>,
    /// Print everything as a JSON object (with --watch: one per line)
    #[arg(long)]
    json: bool,
    /// Show it again and again until interrupted, every second or as often as given
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "1",
        value_parser = period,
    )]
    watch: Option<Duration>,
    #[command(flatten)]
    socket: Socket,
}

/// Reads `0.2` or `200ms`.
fn period(text: &str) -> Result<Duration, String> {
    let parsed = match text.parse::<f64>() {
        Ok(_) => duration::parse(&format!("{text}s")),
        Err(_) => duration::parse(text),
    };
    let period = parsed.map_err(|error| error.to_string())?;
    if period < Duration::from_millis(10) {
        return Err("at least 10ms".into());
    }
    Ok(period)
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let client = Client::new(&args.socket.path);
    block_on(async {
        match args.watch {
            None => print(&shown(args, client.status().await?)?),
            Some(period) => watch(args, &client, period).await,
        }
    })
}

/// What is printed of a status.
fn shown(args: &Args, mut status: Status) -> Result<String, Failure> {
    if let Some(name) = &args.instance {
        let names: Vec<String> = status.instances.iter().map(|i| i.name.clone()).collect();
        status.instances.retain(|instance| instance.name == *name);
        if status.instances.is_empty() {
            let error = format!(
                "there is no instance {name:?}; there are: {}",
                names.join(", ")
            );
            return Err(Failure::Error(ExitCode::Refused, anyhow::Error::msg(error)));
        }
    }
    if !args.json {
        return Ok(render::render(&status));
    }
    let json = if args.watch.is_some() {
        serde_json::to_string(&status)
    } else {
        serde_json::to_string_pretty(&status)
    };
    json.map(|json| json + "\n")
        .map_err(|error| Failure::new(ExitCode::Failure, error))
}

/// Shows the status until interrupted, also across restarts of the daemon.
async fn watch(args: &Args, client: &Client, period: Duration) -> Result<(), Failure> {
    let redraw = !args.json && std::io::stdout().is_terminal();
    let mut known: Option<u32> = None;
    let mut gone = false;
    let mut timer = tokio::time::interval(period);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        match client.status().await {
            Ok(status) => {
                let pid = status.pid;
                let news = match known {
                    Some(before) if before != pid => "the daemon was restarted\n\n",
                    Some(_) if gone => "the daemon answers again\n\n",
                    _ => "",
                };
                let text = shown(args, status)?;
                if redraw {
                    print(&format!("\x1b[H\x1b[2J{news}{text}"))?;
                } else if args.json {
                    print(&text)?;
                } else {
                    print(&format!("{news}{text}\n"))?;
                }
                known = Some(pid);
                gone = false;
            }
            Err(ClientError::Denied(path)) => return Err(ClientError::Denied(path).into()),
            // At first it is an error like without --watch; later the daemon may come back.
            Err(error) if known.is_none() => return Err(error.into()),
            Err(error) if !gone => {
                gone = true;
                if args.json {
                    writeln!(anstream::stderr(), "{error}")?;
                } else {
                    print(&format!("\n{error}\nwaiting for it …\n"))?;
                }
            }
            Err(_still_gone) => {}
        }
    }
}
