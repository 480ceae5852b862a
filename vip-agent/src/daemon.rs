//! The daemon.

use crate::config::Loaded;
use crate::exit::ExitCode;

/// Why the daemon ended.
#[derive(Debug, thiserror::Error)]
#[error("this build has no daemon")]
pub struct RunError;

impl RunError {
    /// The code the process ends with.
    #[must_use]
    pub const fn exit_code(&self) -> ExitCode {
        ExitCode::Failure
    }
}

/// Runs until it is told to stop.
///
/// # Errors
/// Always, in this build.
pub fn run(_loaded: Loaded) -> Result<(), RunError> {
    Err(RunError)
}
