//! `vip-agent keygen`: a key for a cluster.

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::{Failure, print};
use crate::config::key;
use crate::exit::ExitCode;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The file is readable by its owner alone, and an existing file is never overwritten. Copy it to all
nodes of the cluster. To change the key without an interruption, make a second one with another
identifier and list both as `key_files`: first [old, new] on all nodes, then [new, old], then [new].

Examples:
  vip-agent keygen /etc/vip-agent/cluster.key
  vip-agent keygen --id 2 /etc/vip-agent/next.key")]
pub(super) struct Args {
    /// File to write; default: standard output
    file: Option<PathBuf>,
    /// Identifier of the key, different from those in use
    #[arg(long, value_name = "ID", default_value_t = key::DEFAULT_ID, value_parser = clap::value_parser!(u8).range(1..))]
    id: u8,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let text = key::generate(args.id)
        .context("the system gave no random numbers")
        .map_err(|error| Failure::Error(ExitCode::Failure, error))?;
    let Some(path) = &args.file else {
        return print(&text);
    };
    write_new(path, &text).map_err(|error| {
        let context = if error.kind() == io::ErrorKind::AlreadyExists {
            format!("{} exists and is not overwritten", path.display())
        } else {
            format!("cannot write {}", path.display())
        };
        Failure::Error(
            ExitCode::Failure,
            anyhow::Error::new(error).context(context),
        )
    })
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = std::fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
