//! `cargo xtask ci`: everything a change must pass.

mod gates;
mod sources;

use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::bpf_toolchain::{TARGET, Toolchain};
use crate::workspace::{cargo, must, result, root, say};
use crate::{setup, test};

/// Check format, lints and the repository's own rules, then run all tests.
#[derive(clap::Args)]
pub(crate) struct Ci {
    /// Leave out the tests.
    #[arg(long)]
    no_tests: bool,
}

/// Name and work of a step.
type Step = (&'static str, fn() -> Result<()>);

/// What comes before the tests: quick ones first.
const STEPS: [Step; 12] = [
    ("setup", setup::everything),
    ("format", format),
    (
        "gate: unsafe code is where the architecture says",
        gates::unsafe_list,
    ),
    ("gate: no file is too long", gates::file_size),
    ("gate: no mod.rs", gates::no_mod_rs),
    ("gate: one file declares the maps", gates::maps_in_one_file),
    (
        "gate: vip-proto knows no operating system",
        gates::pure_protocol,
    ),
    (
        "gate: the README shows the two commands",
        gates::readme_commands,
    ),
    ("gate: Cargo.lock is complete", locked),
    ("lints: workspace", clippy),
    ("lints: vip-ebpf", clippy_ebpf),
    ("documentation", documentation),
];

impl Ci {
    /// Runs all steps, whatever fails, and ends with the summary of the tests.
    pub(crate) fn run(&self) -> Result<ExitCode> {
        let mut failures = Vec::new();
        for (name, work) in STEPS {
            let (outcome, seconds) = timed(work);
            match outcome {
                Ok(()) => say(format!("ok     {seconds:>4} s  {name}")),
                Err(error) => {
                    say(format!("FAILED {seconds:>4} s  {name}: {error:#}"));
                    failures.push(name);
                }
            }
        }
        if self.no_tests {
            ensure!(failures.is_empty(), "{}", failures.join("; "));
            return Ok(ExitCode::SUCCESS);
        }
        let (summary, seconds) = timed(|| test::all(None));
        say(format!("tests  {seconds:>4} s"));
        if !failures.is_empty() {
            say(format!("FAILED: {}", failures.join("; ")));
        }
        let summary = summary?;
        result(summary);
        Ok(if failures.is_empty() {
            summary.exit_code()
        } else {
            ExitCode::FAILURE
        })
    }
}

/// Does something and says how many seconds it took.
fn timed<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed().as_secs())
}

/// All code is in rustfmt's form.
fn format() -> Result<()> {
    must(&mut cargo(&["fmt", "--all", "--check"])).context("run `cargo fmt --all`")?;
    let manifest = "vip-ebpf/Cargo.toml";
    must(&mut cargo(&["fmt", "--manifest-path", manifest, "--check"]))
        .with_context(|| format!("run `cargo fmt --manifest-path {manifest}`"))
}

/// The lock file needs no change.
fn locked() -> Result<()> {
    let metadata = ["metadata", "--locked", "--format-version=1"];
    crate::workspace::output(&mut cargo(&metadata))
        .map(drop)
        .context("commit Cargo.lock")
}

/// clippy finds nothing in the workspace.
fn clippy() -> Result<()> {
    must(&mut cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ]))
}

/// clippy finds nothing in the XDP program, where its compiler has one.
fn clippy_ebpf() -> Result<()> {
    let Ok(toolchain) = Toolchain::find() else {
        bail!("no compiler: `cargo xtask setup`")
    };
    if !has_clippy(&toolchain) {
        say(format!(
            "no clippy in {toolchain}: vip-ebpf is only compiled"
        ));
        return Ok(());
    }
    let mut command = toolchain.cargo();
    command.current_dir(root().join("vip-ebpf"));
    command.args([
        "clippy",
        "--release",
        "--locked",
        "-Z",
        "build-std=core",
        "--target",
        TARGET,
    ]);
    must(command.args(["--quiet", "--", "-D", "warnings"]))
}

/// Whether a compiler comes with a clippy of its own.
fn has_clippy(toolchain: &Toolchain) -> bool {
    match toolchain {
        // A `cargo-clippy` elsewhere in PATH belongs to another compiler.
        Toolchain::Distribution => std::path::Path::new("/usr/bin/cargo-clippy").exists(),
        Toolchain::Chosen(name) | Toolchain::Nightly(name) => Command::new("rustup")
            .args(["run", name, "cargo-clippy", "--version"])
            .output()
            .is_ok_and(|output| output.status.success()),
    }
}

/// The documentation builds without a dead link.
fn documentation() -> Result<()> {
    let mut command = cargo(&[
        "doc",
        "--workspace",
        "--no-deps",
        "--document-private-items",
        "--quiet",
    ]);
    must(command.env("RUSTDOCFLAGS", "-D warnings"))
}
