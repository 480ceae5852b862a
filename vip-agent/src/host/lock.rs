//! Keeps two agents from using the same directories: each would destroy what the other has there.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use tracing::warn;

use crate::error::RunError;

/// An agent that was killed holds its locks until it is gone: the next one waits so long for that, and
/// no longer, as the lease runs.
const ENDING_BOUND: Duration = Duration::from_millis(100);
/// Time between two tries.
const TRY_EVERY: Duration = Duration::from_millis(2);

/// Takes the lock; waits a moment for whoever has it and may be ending.
fn lock(file: &File) -> Result<(), Errno> {
    let deadline = Instant::now() + ENDING_BOUND;
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => sleep(TRY_EVERY),
            result => return result,
        }
    }
}

/// Whoever may open a locked file can take the lock himself and keep the agent from starting.
const LOCK_MODE: u32 = 0o600;

/// The group may use the control socket in it.
const RUNTIME_DIR_MODE: u32 = 0o750;

const PIN_DIR_MODE: u32 = 0o700;

/// The runtime directory, while this agent runs; the kernel gives it back however the process ends.
#[derive(Debug)]
pub struct RuntimeLock {
    _file: File,
}

/// Creates the runtime directory and takes the lock in it.
///
/// # Errors
/// [`RunError::AlreadyRunning`] if another agent holds it.
pub fn runtime_dir(directory: &Path) -> Result<RuntimeLock, RunError> {
    create(directory, RUNTIME_DIR_MODE).map_err(RunError::io(format!(
        "creating the runtime directory {}",
        directory.display()
    )))?;
    let path = directory.join("lock");
    let describe = || format!("taking the lock {}", path.display());
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(LOCK_MODE)
        .open(&path)
        .map_err(RunError::io(describe()))?;
    match lock(&file) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut text = String::new();
            let pid = file
                .read_to_string(&mut text)
                .ok()
                .and_then(|_| text.trim().parse().ok());
            return Err(RunError::AlreadyRunning {
                pid,
                runtime_dir: directory.to_owned(),
            });
        }
        Err(error) => return Err(RunError::io(describe())(error.into())),
    }
    let fill = |mut file: &File| {
        // An earlier version may have made it for everybody to read.
        file.set_permissions(Permissions::from_mode(LOCK_MODE))?;
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())
    };
    fill(&file).map_err(RunError::io(describe()))?;
    Ok(RuntimeLock { _file: file })
}

/// The pin directory, while this agent runs.
#[derive(Debug)]
pub struct PinLock {
    directory: File,
    path: PathBuf,
}

impl PinLock {
    /// Whether the path still leads to what is locked: a lock on what is gone keeps nobody away.
    fn holds(&self) -> io::Result<bool> {
        let locked = self.directory.metadata()?;
        let now = fs::metadata(&self.path);
        Ok(now.is_ok_and(|now| (now.dev(), now.ino()) == (locked.dev(), locked.ino())))
    }
}

/// Creates the pin directory and locks it: the data plane in it is this agent's, whatever its
/// runtime directory is.
///
/// # Errors
/// [`RunError::PinsTaken`] if another agent holds it.
pub fn pin_dir(directory: &Path) -> Result<PinLock, RunError> {
    let describe = || format!("locking the pin directory {}", directory.display());
    loop {
        create(directory, PIN_DIR_MODE).map_err(RunError::io(describe()))?;
        let file = match File::open(directory) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(RunError::io(describe())(error)),
        };
        match lock(&file) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(RunError::PinsTaken(directory.to_owned())),
            Err(error) => return Err(RunError::io(describe())(error.into())),
        }
        // An agent that was just ending may have removed it in between; then this drops the lock,
        // which touches nothing, and tries again.
        let lock = PinLock {
            directory: file,
            path: directory.to_owned(),
        };
        if lock.holds().map_err(RunError::io(describe()))? {
            return Ok(lock);
        }
    }
}

impl Drop for PinLock {
    fn drop(&mut self) {
        // Still under the lock. It stays if anything is in it, or it is a mount point; another
        // agent's, made after ours was taken away, is not ours to remove.
        if !self.holds().unwrap_or(false) {
            return;
        }
        match fs::remove_dir(&self.path) {
            Ok(()) => {}
            Err(error) if may_stay(&error) => {}
            Err(error) => {
                warn!(path = %self.path.display(), %error, "removing the pin directory");
            }
        }
    }
}

/// Whether a directory was not removed for a reason that is nobody's fault.
fn may_stay(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::DirectoryNotEmpty
            | io::ErrorKind::ResourceBusy
            | io::ErrorKind::PermissionDenied
    )
}

/// Creates a directory with this mode, and those above it, unless it is there.
fn create(directory: &Path, mode: u32) -> io::Result<()> {
    if let Some(parent) = directory.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(mode).create(directory) {
        Ok(()) => Ok(()),
        Err(_) if directory.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::pins::Pins;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn a_second_lock_names_the_process_that_holds_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let first = runtime_dir(directory.path()).unwrap();
        let error = runtime_dir(directory.path()).unwrap_err();
        assert!(
            error
                .to_string()
                .contains(&format!("pid {}", std::process::id())),
            "{error}"
        );
        drop(first);
        runtime_dir(directory.path()).unwrap();
    }

    #[test]
    fn no_other_user_can_take_the_lock() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("run");
        drop(runtime_dir(&directory).unwrap());
        assert_eq!(mode(&directory), RUNTIME_DIR_MODE);
        let lock = directory.join("lock");
        assert_eq!(mode(&lock), LOCK_MODE);
        fs::set_permissions(&lock, Permissions::from_mode(0o644)).unwrap();
        let _held = runtime_dir(&directory).unwrap();
        assert_eq!(mode(&lock), LOCK_MODE, "also one that was there before");
    }

    #[test]
    fn a_pin_directory_has_one_agent_and_goes_with_it() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("pins");
        let first = pin_dir(&directory).unwrap();
        let error = pin_dir(&directory).unwrap_err();
        assert_eq!(error.exit_code(), crate::exit::ExitCode::AlreadyRunning);
        assert!(
            error.to_string().contains(&directory.display().to_string()),
            "{error}"
        );
        drop(first);
        assert!(!directory.exists());
        fs::create_dir(&directory).unwrap();
        drop(pin_dir(&directory).unwrap());
        assert!(!directory.exists(), "also one that was there before");
        let held = pin_dir(&directory).unwrap();
        fs::write(directory.join("other"), "").unwrap();
        drop(held);
        assert!(directory.exists(), "something is in it");
    }

    #[test]
    fn replacing_the_data_plane_keeps_the_pin_directory_locked() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("pins");
        let _held = pin_dir(&directory).unwrap();
        let pins = Pins::new(&directory);
        for _ in 0..2 {
            pins.create().unwrap();
            fs::write(pins.program(), "").unwrap();
            pins.remove().unwrap();
            pin_dir(&directory).unwrap_err();
            assert_eq!(mode(&directory), PIN_DIR_MODE);
        }
    }

    #[test]
    fn a_pin_directory_made_anew_by_another_is_left_to_it() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("pins");
        let lost = pin_dir(&directory).unwrap();
        fs::rename(&directory, parent.path().join("gone")).unwrap();
        let _other = pin_dir(&directory).unwrap();
        drop(lost);
        assert!(directory.exists());
    }
}
