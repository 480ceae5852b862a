//! `cargo xtask setup`: from a machine with Rust to one where everything builds and tests.

mod linker;
mod packages;
mod quiet;

use std::fs;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};

use crate::bpf_toolchain::{Missing, TOOLCHAIN_VARIABLE, Toolchain, find_linker};
use crate::workspace::{must, program, say};
use packages::{have_program, install};

/// Install what is missing: eBPF compiler and linker, BPF file system, test tools.
///
/// Does nothing, quickly, when nothing is missing. Installing needs root; what cannot be installed is
/// named with the command to run by hand.
#[derive(clap::Args)]
pub(crate) struct Setup {
    /// Only report what is missing (exit code 1 then).
    #[arg(long)]
    check: bool,
}

/// Debian's matched set for the `bpfel-unknown-none` target: a rustc with the sources of `core`.
const DEBIAN_TOOLCHAIN: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
/// Programs the tests run, and the packages that have them.
const TOOLS: [(&str, &str); 6] = [
    ("ip", "iproute2"),
    ("ethtool", "ethtool"),
    ("arping", "iputils-arping"),
    ("ping", "iputils-ping"),
    ("curl", "curl"),
    ("tcpdump", "tcpdump"),
];
/// What the benchmarks measure beside VIP, and a test runs them.
const RIVALS: [(&str, &str); 1] = [("keepalived", "keepalived")];
/// Where the BPF file system belongs.
const BPFFS: &str = "/sys/fs/bpf";

impl Setup {
    /// Reports or installs.
    pub(crate) fn run(&self) -> Result<ExitCode> {
        if self.check {
            check()
        } else {
            everything().map(|()| ExitCode::SUCCESS)
        }
    }
}

/// Makes sure that everything is there. Other subcommands call this first.
pub(crate) fn everything() -> Result<()> {
    lab()?;
    ensure_programs("what is measured beside VIP", &RIVALS)
}

/// Makes sure that VIP can be built and run, on this machine or in a lab.
pub(crate) fn lab() -> Result<()> {
    let toolchain = ensure_toolchain()?;
    linker::ensure(&toolchain)?;
    ensure_programs("test tools", &TOOLS)?;
    ensure_bpffs()
}

/// Makes sure that all can be built: enough where nothing is to be run.
pub(crate) fn build_tools() -> Result<()> {
    linker::ensure(&ensure_toolchain()?)
}

/// Prints what is there and what is not.
fn check() -> Result<ExitCode> {
    let mut complete = true;
    let mut report = |what: &str, found: Result<String, String>| match found {
        Ok(found) => say(format!("{what}: {found}")),
        Err(missing) => {
            complete = false;
            say(format!("{what}: MISSING: {missing}"));
        }
    };
    let toolchain = Toolchain::find();
    report(
        "eBPF compiler",
        toolchain
            .map(|found| found.to_string())
            .map_err(|no| no.to_string()),
    );
    let linker = find_linker();
    report(
        "eBPF linker",
        linker
            .map(|path| path.display().to_string())
            .map_err(|no| no.to_string()),
    );
    for (tool, package) in TOOLS.into_iter().chain(RIVALS) {
        let found = have_program(tool).then(|| "present".to_owned());
        report(tool, found.ok_or_else(|| format!("package {package}")));
    }
    let mounted = bpffs_is_mounted()?.then(|| "mounted".to_owned());
    report(
        BPFFS,
        mounted.ok_or_else(|| "no BPF file system mounted".to_owned()),
    );
    if !complete {
        say("to install what is missing: cargo xtask setup (as root)");
    }
    Ok(if complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A complete compiler for the XDP program: one that is there, else the distribution's, else rustup's.
fn ensure_toolchain() -> Result<Toolchain> {
    match Toolchain::find() {
        Ok(found) => {
            say(format!("eBPF compiler: {found}"));
            return Ok(found);
        }
        Err(Missing::ChosenToolchain(name)) => bail!(
            "{TOOLCHAIN_VARIABLE} names a toolchain that is not complete: \
             rustup toolchain install {name} --component rust-src"
        ),
        Err(Missing::Toolchain | Missing::Linker) => {}
    }
    if packages::can_install(&DEBIAN_TOOLCHAIN) {
        say("eBPF compiler: installing the distribution's matched set");
        install(&DEBIAN_TOOLCHAIN)?;
    } else if have_program("rustup") {
        say("eBPF compiler: the distribution has none; installing rustup's nightly with rust-src");
        let arguments = [
            "toolchain",
            "install",
            "nightly",
            "--profile",
            "minimal",
            "--component",
        ];
        must(program("rustup", &arguments).arg("rust-src"))?;
    } else {
        bail!(
            "no eBPF compiler, no distribution package ({}) and no rustup: install rustup, then \
             `rustup toolchain install nightly --component rust-src`",
            DEBIAN_TOOLCHAIN.join(" ")
        );
    }
    let found =
        Toolchain::find().map_err(|missing| anyhow::anyhow!("still incomplete: {missing}"))?;
    say(format!("eBPF compiler: {found}"));
    Ok(found)
}

/// Installs the packages of those programs that are missing.
fn ensure_programs(purpose: &str, programs: &[(&str, &str)]) -> Result<()> {
    let missing = || programs.iter().filter(|(tool, _)| !have_program(tool));
    let packages: Vec<&str> = missing().map(|(_, package)| *package).collect();
    if packages.is_empty() {
        return Ok(());
    }
    say(format!("{purpose}: installing {}", packages.join(" ")));
    install(&packages)?;
    let absent: Vec<&str> = missing().map(|(tool, _)| *tool).collect();
    ensure!(
        absent.is_empty(),
        "still not in PATH after installing them: {}",
        absent.join(" ")
    );
    Ok(())
}

/// A BPF file system, which holds pinned programs and maps.
fn ensure_bpffs() -> Result<()> {
    if bpffs_is_mounted()? {
        return Ok(());
    }
    let by_hand = format!("mount -t bpf bpf {BPFFS}");
    ensure!(
        packages::is_root(),
        "no BPF file system: run as root: {by_hand}"
    );
    say(format!("BPF file system: {by_hand}"));
    fs::create_dir_all(BPFFS).with_context(|| format!("creating {BPFFS}"))?;
    must(Command::new("mount").args(["-t", "bpf", "bpf", BPFFS]))
}

/// Whether there is a BPF file system at its place.
fn bpffs_is_mounted() -> Result<bool> {
    let mounts = fs::read_to_string("/proc/mounts").context("reading /proc/mounts")?;
    Ok(mounts.lines().any(|line| {
        let mut fields = line.split(' ').skip(1);
        fields.next() == Some(BPFFS) && fields.next() == Some("bpf")
    }))
}
