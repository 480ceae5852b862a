//! Programs run by the lab: short ones with a time limit, long ones that end with their owner.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// How long a helper program (`ip`, `ping` …) may take.
pub const HELPER_LIMIT: Duration = Duration::from_secs(20);

/// Runs a program and returns what it printed to standard output.
///
/// # Errors
/// If it cannot be started, does not end within [`HELPER_LIMIT`], or fails: with its error output.
pub fn run(command: &mut Command) -> Result<String> {
    let output = output_within(command, HELPER_LIMIT)?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{command:?} failed ({}): {}",
        output.status,
        stderr.trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a program to its end, whatever its exit code.
///
/// # Errors
/// If it cannot be started or does not end within `limit` (it is killed then).
pub fn output_within(command: &mut Command, limit: Duration) -> Result<Output> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| {
        format!(
            "cannot start {}: is it installed (cargo xtask setup)?",
            program(command)
        )
    })?;
    let stdout = read_in_background(child.stdout.take());
    let stderr = read_in_background(child.stderr.take());
    let Some(status) = wait_within(&mut child, limit)? else {
        child
            .kill()
            .context("killing a program that takes too long")?;
        child.wait().context("collecting a killed program")?;
        bail!("{command:?} did not end within {limit:?}");
    };
    Ok(Output {
        status,
        stdout: stdout.join().unwrap_or_default(),
        stderr: stderr.join().unwrap_or_default(),
    })
}

/// The program's name, for messages.
fn program(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

/// Collects a pipe's bytes on a thread of its own, so that the writer never blocks.
fn read_in_background(
    pipe: Option<impl Read + Send + 'static>,
) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read until an error is still worth showing.
            drop(pipe.read_to_end(&mut bytes));
        }
        bytes
    })
}

/// Waits for a child to end; `None` if it has not by then.
fn wait_within(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().context("waiting for a program")? {
            return Ok(Some(status));
        }
        if start.elapsed() >= limit {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_micros(500));
    }
}

/// A running program with its output in a file. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    /// For messages.
    name: String,
    /// The child.
    child: Child,
    /// Where its output goes.
    log: PathBuf,
}

impl Process {
    /// Starts a program; standard output and standard error are appended to the file `log`.
    ///
    /// # Errors
    /// If the log cannot be opened or the program not be started.
    pub fn spawn(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("opening {}", log.display()))?;
        let errors = file.try_clone().context("sharing the log")?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .spawn()
            .with_context(|| format!("cannot start {name} ({})", program(command)))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
        })
    }

    /// Process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// If the process has ended already.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal)
            .with_context(|| format!("sending {signal:?} to {}", self.name))
    }

    /// The exit status, if it has ended.
    ///
    /// # Errors
    /// If the kernel cannot tell.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        self.child
            .try_wait()
            .with_context(|| format!("asking after {}", self.name))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If it has not ended within `limit`: with the end of its log.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        match wait_within(&mut self.child, limit)? {
            Some(status) => Ok(status),
            None => bail!(
                "{} did not end within {limit:?}; its log ends:\n{}",
                self.name,
                self.log_tail()
            ),
        }
    }

    /// The last 40 lines it has printed.
    #[must_use]
    pub fn log_tail(&self) -> String {
        tail(&self.log, 40)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it has ended and was collected: then there is nothing to do.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The last `lines` lines of a text file; empty if it cannot be read.
#[must_use]
pub fn tail(file: &Path, lines: usize) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
