//! Removing all that a lab has made: by its owner, after a signal, or by the next run.
//!
//! Everything a lab makes bears its prefix `vip-lab-PID-START-N-`, where PID and START (the process's
//! start time) name exactly one process, even when process ids are reused.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};

use crate::netns::NAMES;
use crate::wait::wait_until;

/// What the names of all labs start with.
const FAMILY: &str = "vip-lab-";
/// Where the BPF file system is expected.
pub const BPFFS: &str = "/sys/fs/bpf";

/// Prefixes of the labs of this process that exist now.
static LIVE: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Prefix of this process's `number`th lab, without the last hyphen.
///
/// # Errors
/// If /proc cannot be read.
pub fn prefix(number: u32) -> Result<String> {
    let pid = std::process::id();
    let start = start_time(pid).context("no start time of this process in /proc")?;
    Ok(format!("{FAMILY}{pid}-{start}-{number}"))
}

/// Directory of a lab's logs, configurations and sockets.
#[must_use]
pub fn run_dir(prefix: &str) -> PathBuf {
    std::env::temp_dir().join(prefix)
}

/// Directory of a lab's BPF pins.
#[must_use]
pub fn pin_dir(prefix: &str) -> PathBuf {
    Path::new(BPFFS).join(prefix)
}

/// Notes a lab so that it is removed when a signal ends the process.
pub(crate) fn register(prefix: &str) {
    static HANDLER: Once = Once::new();
    HANDLER.call_once(spawn_signal_thread);
    LIVE.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(prefix.to_owned());
}

/// Removes all of a lab: processes, pins, namespaces (with their interfaces), files.
///
/// # Errors
/// If something resists; the rest is removed all the same.
pub fn remove(prefix: &str) -> Result<()> {
    let namespaces = named(Path::new(NAMES), prefix);
    let killed = wait_until("the lab's processes to end", Duration::from_secs(5), || {
        match processes_in(&namespaces) {
            left if left.is_empty() => Ok(()),
            left => {
                for pid in &left {
                    // Fails only if it has just ended.
                    kill_process(*pid, Signal::KILL).ok();
                }
                Err(format!("{left:?}"))
            }
        }
    });
    let pins = remove_directory(&pin_dir(prefix));
    for namespace in &namespaces {
        // A half-made namespace is a plain file: not being a mount point is no failure.
        unmount(namespace, UnmountFlags::DETACH).ok();
        gone(fs::remove_file(namespace), namespace)?;
    }
    let files = remove_directory(&run_dir(prefix));
    LIVE.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .remove(prefix);
    killed.and(pins).and(files)
}

/// Removes what labs of processes that no longer exist have left behind.
///
/// # Errors
/// As [`remove`].
pub fn remove_stale() -> Result<()> {
    let temp = std::env::temp_dir();
    let places = [Path::new(NAMES), Path::new(BPFFS), temp.as_path()];
    let stale: BTreeSet<String> = places
        .iter()
        .flat_map(|place| named(place, FAMILY))
        .filter_map(|path| owner_is_gone(path.file_name()?.to_str()?))
        .collect();
    stale.iter().try_for_each(|prefix| remove(prefix))
}

/// What of a lab is still there: names of namespaces, directories and process ids. For tests.
#[must_use]
pub fn remains(prefix: &str) -> Vec<String> {
    let namespaces = named(Path::new(NAMES), prefix);
    let processes = processes_in(&namespaces)
        .into_iter()
        .map(|pid| format!("process {pid:?}"));
    let directories = [pin_dir(prefix), run_dir(prefix)]
        .into_iter()
        .filter(|path| path.exists());
    namespaces
        .iter()
        .cloned()
        .chain(directories)
        .map(|path| path.display().to_string())
        .chain(processes)
        .collect()
}

/// The lab's prefix, if `name` belongs to a lab whose process is gone.
fn owner_is_gone(name: &str) -> Option<String> {
    let mut parts = name.strip_prefix(FAMILY)?.splitn(4, '-');
    let (pid, start, number) = (parts.next()?, parts.next()?, parts.next()?);
    let alive = start_time(pid.parse().ok()?) == Some(start.parse().ok()?);
    (!alive).then(|| format!("{FAMILY}{pid}-{start}-{number}"))
}

/// When a process started, in clock ticks since boot; `None`: there is no such process.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Field 22; the second one, the program's name in parentheses, may contain blanks.
    stat.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(19)?
        .parse()
        .ok()
}

/// Entries of a directory that are `prefix` or start with it as a whole.
fn named(directory: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let whole = format!("{}-", prefix.trim_end_matches('-'));
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&whole))
        .map(|entry| entry.path())
        .collect()
}

/// Processes whose network namespace is one of these.
fn processes_in(namespaces: &[PathBuf]) -> Vec<Pid> {
    let inodes: BTreeSet<u64> = namespaces
        .iter()
        .filter_map(|path| Some(fs::metadata(path).ok()?.ino()))
        .collect();
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let inode = fs::metadata(entry.path().join("ns/net")).ok()?.ino();
            inodes.contains(&inode).then(|| Pid::from_raw(pid))?
        })
        .collect()
}

/// Removes a directory that need not exist.
fn remove_directory(path: &Path) -> Result<()> {
    gone(fs::remove_dir_all(path), path)
}

/// Takes it as well when there was nothing: two runs may remove the same remains.
fn gone(removed: std::io::Result<()>, path: &Path) -> Result<()> {
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Starts the thread that removes all labs when SIGINT or SIGTERM arrives, then ends the process.
fn spawn_signal_thread() {
    let watch = async {
        use tokio::signal::unix::{SignalKind, signal};
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        Ok::<i32, std::io::Error>(tokio::select! {
            _ = interrupt.recv() => 130,
            _ = terminate.recv() => 143,
        })
    };
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let code = match runtime.and_then(|runtime| runtime.block_on(watch)) {
            Ok(code) => code,
            Err(error) => {
                eprintln!(
                    "lab: signals are not watched ({error}): interrupting leaves namespaces behind"
                );
                return;
            }
        };
        let live = LIVE.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for prefix in live {
            if let Err(error) = remove(&prefix) {
                eprintln!("lab: {error:#}");
            }
        }
        std::process::exit(code);
    });
}
