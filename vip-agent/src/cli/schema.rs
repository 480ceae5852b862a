//! `vip-agent schema`: the JSON schema of the configuration file.

use super::{Failure, print};
use crate::config::schema::json_schema;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Editors with a TOML language server complete and check the file with it.

Examples:
  vip-agent schema > vip-agent.schema.json")]
pub(super) struct Args {}

pub(super) fn run(_args: &Args) -> Result<(), Failure> {
    print(&format!("{:#}\n", json_schema()))
}
