//! `vip-agent abi`: the version of the data plane, for a running agent that asks the program on disk.

use vip_common::abi::ABI_VERSION;

use super::{Failure, print};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Agents with the same number go on with each other's data plane (`vip-agent reload`, restart); with
different numbers the instances are handed to other nodes first.

Example:
  vip-agent abi")]
pub(super) struct Args {}

pub(super) fn run(_: &Args) -> Result<(), Failure> {
    print(&format!("{ABI_VERSION}\n"))
}
