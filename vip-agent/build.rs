//! Builds the XDP program and leaves it in `OUT_DIR/vip-ebpf.o`: the only recipe there is.

#[path = "../xtask/src/bpf_toolchain.rs"]
mod bpf_toolchain;

use std::path::{Path, PathBuf};

use bpf_toolchain::{Missing, TARGET, TOOLCHAIN_VARIABLE, Toolchain};

fn main() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_owned);
    let workspace = workspace.unwrap_or_else(|| fail("vip-agent is not inside its workspace"));
    for input in [
        "Cargo.toml",
        "vip-common/Cargo.toml",
        "vip-common/src",
        "vip-ebpf/Cargo.lock",
        "vip-ebpf/Cargo.toml",
        "vip-ebpf/src",
        "xtask/src/bpf_toolchain.rs",
    ] {
        println!(
            "cargo::rerun-if-changed={}",
            workspace.join(input).display()
        );
    }
    println!("cargo::rerun-if-env-changed={TOOLCHAIN_VARIABLE}");

    let built = build(&workspace, &out_dir().join("vip-ebpf"));
    let object = out_dir().join("vip-ebpf.o");
    if let Err(error) = std::fs::copy(&built, &object) {
        fail(&format!(
            "cannot copy {} to {}: {error}",
            built.display(),
            object.display()
        ));
    }
}

/// Runs cargo on `vip-ebpf` and returns the path of the object file.
fn build(workspace: &Path, target_dir: &Path) -> PathBuf {
    let toolchain = Toolchain::find().unwrap_or_else(|missing| fail_missing(&missing));
    let linker = bpf_toolchain::find_linker().unwrap_or_else(|missing| fail_missing(&missing));

    let mut cargo = toolchain.cargo();
    cargo
        .current_dir(workspace.join("vip-ebpf"))
        .args([
            "build",
            "--release",
            "--locked",
            "-Z",
            "build-std=core",
            "--target",
            TARGET,
        ])
        .arg("--target-dir")
        .arg(target_dir)
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            bpf_toolchain::encoded_rustflags(workspace),
        )
        .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &linker);
    match cargo.status() {
        Ok(status) if status.success() => target_dir.join(TARGET).join("release/vip-ebpf"),
        Ok(status) => fail(&format!(
            "the XDP program did not compile with {toolchain}: {status}"
        )),
        Err(error) => fail(&format!("cannot start cargo of {toolchain}: {error}")),
    }
}

fn out_dir() -> PathBuf {
    std::env::var_os("OUT_DIR")
        .map(PathBuf::from)
        .unwrap_or_else(|| fail("OUT_DIR is not set: run by something other than cargo"))
}

fn fail_missing(missing: &Missing) -> ! {
    fail(&format!("{missing}; run `cargo xtask setup`"))
}

/// Ends the build with one line that cargo shows as an error.
fn fail(message: &str) -> ! {
    println!("cargo::error={message}");
    std::process::exit(1)
}
