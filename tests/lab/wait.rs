//! Waiting for something to become true, with a bound and a message.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Time between two looks at a condition.
const POLL: Duration = Duration::from_millis(2);

/// Asks `condition` every 2 ms until it holds.
///
/// # Errors
/// After `timeout`: names `what` was waited for and the last reason given by `condition`, which
/// returns `Err(why not yet)`.
pub fn wait_until<T>(
    what: &str,
    timeout: Duration,
    mut condition: impl FnMut() -> Result<T, String>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        let reason = match condition() {
            Ok(value) => return Ok(value),
            Err(reason) => reason,
        };
        if start.elapsed() >= timeout {
            bail!("waited {timeout:?} in vain for: {what}; last seen: {reason}");
        }
        std::thread::sleep(POLL);
    }
}
