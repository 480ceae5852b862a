//! `cargo xtask build`: the agent with the XDP program inside.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context, Result};

use crate::setup;
use crate::workspace::{cargo, must, say, target_dir};

/// Build the agent, with the XDP program inside.
#[derive(clap::Args)]
pub(crate) struct Build {
    /// With optimisation.
    #[arg(long)]
    release: bool,
}

impl Build {
    /// Builds and says what has come out.
    pub(crate) fn run(&self) -> Result<ExitCode> {
        setup::build_tools()?;
        let agent = agent(self.release)?;
        let size = |path: &PathBuf| -> Result<u64> {
            Ok(fs::metadata(path)
                .with_context(|| format!("{}", path.display()))?
                .len()
                / 1024)
        };
        let object = newest_object(self.release)?;
        say(format!(
            "XDP program: {} ({} KiB)",
            object.display(),
            size(&object)?
        ));
        say(format!(
            "agent: {} ({} KiB)",
            agent.display(),
            size(&agent)?
        ));
        Ok(ExitCode::SUCCESS)
    }
}

/// Builds the agent; returns the program.
pub(crate) fn agent(release: bool) -> Result<PathBuf> {
    let mut command = cargo(&["build", "--package", "vip-agent"]);
    if release {
        command.arg("--release");
    }
    must(&mut command)?;
    Ok(profile_dir(release).join("vip-agent"))
}

/// Builds the agent and one of the programs of `tests`; returns both.
pub(crate) fn agent_and_program(name: &str, release: bool) -> Result<(PathBuf, PathBuf)> {
    // One build for both, so that what they share is built once.
    let packages = ["--package", "vip-agent", "--package", "vip-tests"];
    let programs = ["--bin", "vip-agent", "--bin", name];
    let profile = release.then_some("--release");
    must(
        cargo(&["build"])
            .args(profile)
            .args(packages)
            .args(programs),
    )?;
    Ok((
        profile_dir(release).join("vip-agent"),
        profile_dir(release).join(name),
    ))
}

/// Where a profile's programs are.
fn profile_dir(release: bool) -> PathBuf {
    target_dir().join(if release { "release" } else { "debug" })
}

/// The object that the agent's last build has made.
fn newest_object(release: bool) -> Result<PathBuf> {
    let folder = profile_dir(release).join("build");
    let builds = fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
    builds
        .flatten()
        .filter(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .starts_with("vip-agent-")
        })
        .map(|entry| entry.path().join("out/vip-ebpf.o"))
        .filter_map(|object| Some((fs::metadata(&object).ok()?.modified().ok()?, object)))
        .max_by_key(|(modified, _): &(SystemTime, PathBuf)| *modified)
        .map(|(_, object)| object)
        .with_context(|| format!("no XDP program in {}", folder.display()))
}
