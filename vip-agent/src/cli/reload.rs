//! `vip-agent reload`: another configuration or another version, without a failover.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::{Failure, Socket, block_on, print};
use crate::api::{ReloadReply, ReloadRequest, Status};
use crate::control::client::{Client, ClientError};
use crate::exit::ExitCode;

/// How long the new agent may take until it answers.
const PATIENCE: Duration = Duration::from_secs(20);

/// Time between two questions to it.
const ASK_EVERY: Duration = Duration::from_millis(10);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The program on disk checks the configuration file; if it cannot be used nothing happens and the agent
runs on (exit code 12). Else the process becomes the program on disk and goes on with the data plane:
no packet is lost and no other node takes over. What cannot be kept (another version of the data
plane, instances in another order) is handed to other nodes first; without one that is ready the
reload is refused, unless --force says that packets may be lost.

Examples:
  vip-agent reload            after a change of the configuration or of the program
  vip-agent reload --force    even if no other node can take over meanwhile")]
pub(super) struct Args {
    /// Reload even if VIPs are unserved meanwhile
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    socket: Socket,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let request = ReloadRequest { force: args.force };
    let client = Client::new(&args.socket.path);
    let (reply, status) = block_on(async {
        let reply = client.reload(&request).await?;
        if let Some(reason) = &reply.handed_over {
            print(&format!("handing everything over first: {reason}\n"))?;
        }
        let status = successor(&client).await?;
        Ok((reply, status))
    })?;
    print(&outcome(&reply, &status))
}

/// Waits for the new agent: the one that has run for less time than has passed.
async fn successor(client: &Client) -> Result<Status, Failure> {
    let start = Instant::now();
    loop {
        let answer = client.status().await;
        let passed = start.elapsed();
        match answer {
            Ok(status) if Duration::from_millis(status.uptime_ms) < passed => return Ok(status),
            Err(error) if passed > PATIENCE => return Err(error.into()),
            Ok(_) if passed > PATIENCE => {
                let error = anyhow::Error::msg(
                    "the agent was asked to reload but still runs as before: see its log",
                );
                return Err(Failure::Error(ExitCode::Failure, error));
            }
            Err(ClientError::Denied(path)) => return Err(ClientError::Denied(path).into()),
            Ok(_) | Err(_) => tokio::time::sleep(ASK_EVERY).await,
        }
    }
}

/// What has become of it.
fn outcome(reply: &ReloadReply, status: &Status) -> String {
    let program = reply.program.display();
    let how = if status.resumed {
        "it went on with the data plane"
    } else {
        "it began anew"
    };
    let mut text = format!(
        "reloaded: {program} {}, pid {}; {how}\n",
        status.version, status.pid
    );
    for instance in &status.instances {
        match writeln!(text, "  {}: {}", instance.name, instance.state) {
            // Writing to a string does not fail.
            Ok(()) | Err(_) => {}
        }
    }
    text
}
