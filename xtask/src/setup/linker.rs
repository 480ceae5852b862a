//! The linker for eBPF objects: built against the same LLVM as the compiler.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, anyhow, ensure};

use super::packages::{can_install, have_program, install};
use crate::bpf_toolchain::{Toolchain, find_linker};
use crate::workspace::{cargo, must, output, say};

/// The version everything here was tested with.
const VERSION: &str = "0.13.0";

/// Makes sure that there is one.
pub(crate) fn ensure(toolchain: &Toolchain) -> Result<()> {
    if let Ok(path) = find_linker() {
        say(format!("eBPF linker: {}", path.display()));
        return Ok(());
    }
    let llvm = llvm_major(toolchain)?;
    say(format!(
        "eBPF linker: building bpf-linker {VERSION} for LLVM {llvm}, about a minute"
    ));
    ensure_llvm(&llvm)?;
    let prefix = format!("/usr/lib/llvm-{llvm}");
    let path = std::env::var("PATH").unwrap_or_default();
    let feature = format!("llvm-{llvm}");
    let mut build = cargo(&["install", "bpf-linker", "--version", VERSION, "--locked"]);
    build.args(["--no-default-features", "--features", &feature]);
    build
        .env("PATH", format!("{prefix}/bin:{path}"))
        .env("LLVM_PREFIX", &prefix);
    must(&mut build).with_context(|| {
        format!("bpf-linker {VERSION} must be built against the compiler's LLVM {llvm}")
    })?;
    let path = find_linker().map_err(|missing| anyhow!("built, and yet: {missing}"))?;
    say(format!("eBPF linker: {}", path.display()));
    Ok(())
}

/// Libraries and headers of LLVM, and the C++ compiler to link them.
fn ensure_llvm(major: &str) -> Result<()> {
    let mut missing = Vec::new();
    let packages = [format!("llvm-{major}-dev"), format!("libpolly-{major}-dev")];
    if !Path::new(&format!("/usr/lib/llvm-{major}/bin/llvm-config")).exists() {
        ensure!(
            can_install(&[&packages[0]]),
            "the compiler uses LLVM {major}, and there is no package {}: install LLVM {major} with \
             its headers, then: LLVM_PREFIX=WHERE cargo install bpf-linker --version {VERSION} \
             --no-default-features --features llvm-{major}",
            packages[0]
        );
        missing.extend(packages.iter().map(String::as_str));
        missing.extend(["libzstd-dev", "zlib1g-dev"]);
    }
    if !have_program("c++") {
        missing.push("g++");
    }
    if missing.is_empty() {
        Ok(())
    } else {
        install(&missing)
    }
}

/// Main version of the LLVM in a compiler.
fn llvm_major(toolchain: &Toolchain) -> Result<String> {
    let mut rustc = match toolchain {
        Toolchain::Chosen(name) | Toolchain::Nightly(name) => {
            let mut command = Command::new("rustup");
            command.args(["run", name, "rustc"]);
            command
        }
        Toolchain::Distribution => Command::new("/usr/bin/rustc"),
    };
    let text = output(rustc.arg("-vV").env_remove("RUSTUP_TOOLCHAIN"))?;
    llvm_line(&text).with_context(|| format!("no version of LLVM in: {text}"))
}

/// Reads `LLVM version: 22.1.8` out of what `rustc -vV` prints.
fn llvm_line(text: &str) -> Option<String> {
    let version = text
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: "))?;
    Some(version.split('.').next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::llvm_line;

    #[test]
    fn the_main_version_of_llvm_is_found() {
        assert_eq!(
            llvm_line("release: 1.96.0\nLLVM version: 22.1.8\n").as_deref(),
            Some("22")
        );
        assert_eq!(llvm_line("release: 1.96.0\n"), None);
    }
}
