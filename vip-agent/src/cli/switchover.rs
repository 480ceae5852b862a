//! `vip-agent switchover`: a planned hand-over.

use std::net::IpAddr;

use super::{Failure, Socket, block_on, print};
use crate::api::SwitchoverRequest;
use crate::control::client::Client;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Run it on the Active node. It returns once the successor was heard to be Active; from then on this
node does not take the instance back by itself as long as the successor lives.

Examples:
  vip-agent switchover web                 hand over to the best node alive
  vip-agent switchover web --to 10.0.0.2   hand over to this one")]
pub(super) struct Args {
    /// Name of the instance
    instance: String,
    /// Address of the node to hand over to; default: the best one alive
    #[arg(long, value_name = "ADDRESS")]
    to: Option<IpAddr>,
    #[command(flatten)]
    socket: Socket,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let request = SwitchoverRequest { to: args.to };
    let client = Client::new(&args.socket.path);
    let reply = block_on(async { Ok(client.switchover(&args.instance, &request).await?) })?;
    print(&format!(
        "{}: {} is Active now, after {:.3} ms\n",
        args.instance, reply.active, reply.took_ms
    ))
}
