//! The repository, and programs run in it.

use std::fmt::Display;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, anyhow, ensure};

/// Root of the repository this program was started for.
pub(crate) fn root() -> PathBuf {
    // cargo sets the variable when it runs us; a binary started by hand knows where it was built.
    let xtask = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    xtask.parent().map_or_else(|| xtask.clone(), Path::to_owned)
}

/// Where cargo puts what it builds.
pub(crate) fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// Says what is being done; on standard error, so that results alone are on standard output.
pub(crate) fn say(what: impl Display) {
    eprintln!("xtask: {what}");
}

/// Prints a result.
#[expect(
    clippy::print_stdout,
    reason = "results are what standard output is for"
)]
pub(crate) fn result(text: impl Display) {
    println!("{text}");
}

/// A program, run in the repository.
pub(crate) fn program(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(name);
    command.args(arguments).current_dir(root());
    command
}

/// The cargo that runs us, in the repository.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = program(&cargo, arguments);
    // What cargo has set for us is not meant for builds of other packages.
    command
        .env_remove("CARGO_MANIFEST_DIR")
        .env_remove("CARGO_PKG_NAME");
    command
}

/// The command as one would type it.
pub(crate) fn spelled(command: &Command) -> String {
    let name = Path::new(command.get_program())
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    let arguments = command
        .get_args()
        .map(|argument| argument.to_string_lossy());
    std::iter::once(name)
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Runs a command to its end; it must succeed. All it prints goes to standard error, see [`say`].
pub(crate) fn must(command: &mut Command) -> Result<()> {
    command.stdin(Stdio::null()).stdout(std::io::stderr());
    let status = command
        .status()
        .with_context(|| format!("cannot start `{}`", spelled(command)))?;
    ensure!(status.success(), "`{}` failed ({status})", spelled(command));
    Ok(())
}

/// As [`must`], with the command's standard output instead of showing it.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot start `{}`", spelled(command)))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "`{}` failed: {}",
        spelled(command),
        errors.trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Becomes the command: its exit code is ours, signals reach it directly.
pub(crate) fn become_command(command: &mut Command) -> Result<ExitCode> {
    let error = command.exec();
    Err(anyhow!(error).context(format!("cannot start `{}`", spelled(command))))
}
