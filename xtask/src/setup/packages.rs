//! The distribution's packages.

use std::fs;
use std::process::Command;
use std::sync::Once;

use anyhow::{Context, Result, ensure};

use super::quiet::NoServices;
use crate::workspace::{must, output};

/// Whether a program is in `PATH`, or where administrators' programs are.
pub(crate) fn have_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|folder| folder.join(name).is_file())
}

/// Whether we may change the machine.
pub(crate) fn is_root() -> bool {
    // Owner of our own process, without a library for one call.
    fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        // Real, effective, saved, file system.
        uids.is_some_and(|uids| uids.split_whitespace().nth(1) == Some("0"))
    })
}

/// Whether the distribution has all these packages (its lists are fetched first, if that is possible).
pub(crate) fn can_install(packages: &[&str]) -> bool {
    if !have_program("apt-get") {
        return false;
    }
    if is_root() {
        // A mirror that cannot be reached: the lists that are there may do.
        update().ok();
    }
    packages.iter().all(|package| {
        // "show" knows virtual packages and removed ones too; a candidate is what can be installed.
        output(Command::new("apt-cache").args(["policy", package])).is_ok_and(|text| {
            let candidate = text
                .lines()
                .find_map(|line| line.trim().strip_prefix("Candidate:"));
            candidate.is_some_and(|version| version.trim() != "(none)")
        })
    })
}

/// Installs packages; whatever services they bring are not started.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let by_hand = format!(
        "apt-get install -y --no-install-recommends {}",
        packages.join(" ")
    );
    ensure!(
        have_program("apt-get"),
        "no apt-get here: install by hand what these Debian packages hold: {}",
        packages.join(" ")
    );
    ensure!(is_root(), "not root: run by hand: sudo {by_hand}");
    update()?;
    let _quiet = NoServices::for_now()?;
    must(
        Command::new("apt-get")
            .args(["install", "--yes", "--quiet", "--no-install-recommends"])
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
    .with_context(|| format!("installing packages; try by hand: {by_hand}"))
}

/// Fetches the lists of packages, once in our life.
fn update() -> Result<()> {
    static ONCE: Once = Once::new();
    let mut done = Ok(());
    ONCE.call_once(|| done = must(Command::new("apt-get").args(["update", "--quiet"])));
    done.context("fetching the lists of packages: is a mirror reachable?")
}
