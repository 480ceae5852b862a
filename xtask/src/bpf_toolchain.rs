//! Which compiler and linker build the XDP program.
//!
//! The `bpfel-unknown-none` target has no prebuilt `core`, so a toolchain is complete only with the
//! sources of the standard library and with unstable features allowed. This file is shared:
//! `vip-agent/build.rs` includes it to build the object, `xtask` to say what is missing.
#![expect(unreachable_pub, reason = "shared by two binaries")]

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Environment variable that names the rustup toolchain to use, before any other way is tried.
pub const TOOLCHAIN_VARIABLE: &str = "VIP_BPF_TOOLCHAIN";

/// Compilation target of the XDP program.
pub const TARGET: &str = "bpfel-unknown-none";

const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_SYSROOT: &str = "/usr";

/// The compiler that was found, and by which way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Toolchain {
    /// The rustup toolchain named by [`TOOLCHAIN_VARIABLE`].
    Chosen(String),
    /// A rustup nightly that has the component `rust-src`.
    Nightly(String),
    /// The distribution's cargo, rustc and library sources (Debian: `cargo-web`, `rustc-web`,
    /// `rust-web-src`).
    Distribution,
}

/// What is missing for building the XDP program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// The toolchain named by [`TOOLCHAIN_VARIABLE`] is not installed or has no `rust-src`.
    ChosenToolchain(String),
    /// Neither a nightly with `rust-src` nor the distribution's set is installed.
    Toolchain,
    /// There is no `bpf-linker`, neither in `PATH` nor in cargo's own `bin` folder.
    Linker,
}

impl Toolchain {
    /// The first complete toolchain: the one named by [`TOOLCHAIN_VARIABLE`], else a rustup nightly
    /// with `rust-src`, else the distribution's.
    ///
    /// # Errors
    /// [`Missing`] when a chosen toolchain is incomplete, or none is complete.
    pub fn find() -> Result<Self, Missing> {
        if let Some(name) = std::env::var(TOOLCHAIN_VARIABLE)
            .ok()
            .filter(|name| !name.is_empty())
        {
            return if rustup_toolchain_is_complete(&name) {
                Ok(Self::Chosen(name))
            } else {
                Err(Missing::ChosenToolchain(name))
            };
        }
        if let Some(name) = rustup_nightlies()
            .into_iter()
            .find(|n| rustup_toolchain_is_complete(n))
        {
            return Ok(Self::Nightly(name));
        }
        let distribution = Path::new(DEBIAN_CARGO).exists()
            && Path::new(DEBIAN_RUSTC).exists()
            && has_library_sources(Path::new(DEBIAN_SYSROOT));
        distribution
            .then_some(Self::Distribution)
            .ok_or(Missing::Toolchain)
    }

    /// A `cargo` of this toolchain, with nothing left in its environment of the cargo that may be
    /// running now.
    #[must_use]
    pub fn cargo(&self) -> Command {
        let mut command = match self {
            Self::Chosen(name) | Self::Nightly(name) => {
                let mut command = Command::new("rustup");
                command.args(["run", name, "cargo"]);
                command.env_remove("RUSTC");
                command
            }
            Self::Distribution => {
                let mut command = Command::new(DEBIAN_CARGO);
                command.env("RUSTC", DEBIAN_RUSTC);
                command
            }
        };
        // Stable compilers refuse `-Z build-std` and the target's unstable parts without it.
        command.env("RUSTC_BOOTSTRAP", "1");
        for inherited in [
            "CARGO",
            "CARGO_BUILD_TARGET",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_TARGET_DIR",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTC_WRAPPER",
            "RUSTDOC",
            "RUSTFLAGS",
            "RUSTUP_TOOLCHAIN",
        ] {
            command.env_remove(inherited);
        }
        command
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chosen(name) => write!(f, "rustup toolchain {name} ({TOOLCHAIN_VARIABLE})"),
            Self::Nightly(name) => write!(f, "rustup toolchain {name} with rust-src"),
            Self::Distribution => write!(f, "the distribution's {DEBIAN_RUSTC} and its sources"),
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ChosenToolchain(name) => write!(
                f,
                "the toolchain {name} named by {TOOLCHAIN_VARIABLE} is not installed or lacks \
                 the component rust-src"
            ),
            Self::Toolchain => write!(
                f,
                "no Rust toolchain for eBPF: neither a rustup nightly with rust-src nor \
                 {DEBIAN_RUSTC} with its library sources"
            ),
            Self::Linker => write!(f, "bpf-linker is neither in PATH nor in cargo's bin folder"),
        }
    }
}

impl std::error::Error for Missing {}

/// The `bpf-linker` in `PATH`, else the one in cargo's `bin` folder.
///
/// # Errors
/// [`Missing::Linker`] when there is none.
pub fn find_linker() -> Result<PathBuf, Missing> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let cargo_home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    std::env::split_paths(&path)
        .chain(cargo_home.map(|home| home.join("bin")))
        .map(|folder| folder.join("bpf-linker"))
        .find(|file| file.is_file())
        .ok_or(Missing::Linker)
}

/// Installed rustup toolchains whose name begins with `nightly`; none without rustup.
fn rustup_nightlies() -> Vec<String> {
    let Some(list) = output_of("rustup", &["toolchain", "list", "--quiet"]) else {
        return Vec::new();
    };
    list.lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| name.starts_with("nightly"))
        .map(str::to_owned)
        .collect()
}

fn rustup_toolchain_is_complete(name: &str) -> bool {
    output_of("rustup", &["run", name, "rustc", "--print", "sysroot"])
        .is_some_and(|sysroot| has_library_sources(Path::new(sysroot.trim())))
}

fn has_library_sources(sysroot: &Path) -> bool {
    sysroot
        .join("lib/rustlib/src/rust/library/core/src/lib.rs")
        .exists()
}

/// Standard output of a program that exists and succeeds.
fn output_of(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    // A cargo that runs us under rustup pins its own toolchain through these.
    command
        .args(arguments)
        .env_remove("RUSTC")
        .env_remove("RUSTUP_TOOLCHAIN");
    let output = command
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

/// Compiler flags of the XDP program, in the form of `CARGO_ENCODED_RUSTFLAGS`.
#[must_use]
pub fn encoded_rustflags(workspace: &Path) -> OsString {
    const FLAGS: [&str; 3] = [
        // Also for `core`: the linker makes the BTF from it that names maps, functions and lines.
        "-Cdebuginfo=2",
        "-Clink-arg=--btf",
        // Packet headers lie at odd addresses. Kernels on x86-64 and arm64 allow words to be read
        // there; without this each is put together from bytes.
        "-Ctarget-feature=+allows-misaligned-mem-access",
    ];
    let mut flags = OsString::from(FLAGS.join("\u{1f}"));
    // No machine path in the object.
    flags.push("\u{1f}--remap-path-prefix=");
    flags.push(workspace);
    flags.push("=.");
    flags
}
