//! The signals of the daemon. They are held back from the first moment on and read one by one, so that
//! none is lost and none strikes at the wrong time: also not while the program replaces itself, which
//! keeps both what is held back and what waits.

use std::io;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tokio::io::unix::AsyncFd;
use tracing::{error, info};

use crate::error::RunError;

/// Those that are read instead of delivered.
const HEEDED: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// SIGTERM or SIGINT: stop.
    Stop,
    /// SIGHUP: reload.
    Reload,
}

/// Holds the daemon's signals back until it listens to them. To be called before any thread is
/// started: threads inherit it.
///
/// # Errors
/// What the kernel answers.
pub fn hold_back() -> io::Result<()> {
    Ok(heeded().thread_block()?)
}

fn heeded() -> SigSet {
    HEEDED.into_iter().collect()
}

/// Has the runtime wait for them.
#[expect(
    unsafe_code,
    reason = "tokio has no safe way to wait for a descriptor of ours"
)]
fn register(signals: SignalFd) -> io::Result<AsyncFd<SignalFd>> {
    // SAFETY: a `SignalFd` owns its descriptor and never changes it; it is closed with the value,
    // which the `AsyncFd` owns from here on.
    let registered = unsafe { AsyncFd::register(signals) };
    registered.map_err(|refused| refused.into_parts().1)
}

/// The signals, one after the other.
#[derive(Debug)]
pub(super) struct Signals {
    source: AsyncFd<SignalFd>,
    /// A reload was asked for before the agent ran.
    reload_waits: bool,
}

impl Signals {
    /// Reads them from now on; what came since they are held back comes first.
    pub(super) fn listen() -> Result<Self, RunError> {
        let what = "listening for signals";
        hold_back().map_err(RunError::io(what))?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let signals = SignalFd::with_flags(&heeded(), flags)
            .map_err(|error| RunError::io(what)(error.into()))?;
        Ok(Self {
            source: register(signals).map_err(RunError::io(what))?,
            reload_waits: false,
        })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) -> Asked {
        if std::mem::take(&mut self.reload_waits) {
            return Asked::Reload;
        }
        self.heed().await
    }

    async fn heed(&mut self) -> Asked {
        match self.read().await {
            Ok(asked) => asked,
            Err(error) => {
                // Nobody could stop the agent any more.
                error!(%error, "signals cannot be read: stopping");
                Asked::Stop
            }
        }
    }

    /// Waits until one of those that stop comes. A reload is for an agent that runs on.
    pub(super) async fn stop(&mut self) {
        while self.next().await != Asked::Stop {
            info!("SIGHUP: nothing is reloaded while the agent stops");
        }
    }

    /// The same while the agent starts: its configuration may have been read too early, so it is
    /// reloaded as soon as it runs.
    pub(super) async fn stop_of_start(&mut self) {
        while self.heed().await != Asked::Stop {
            info!("SIGHUP: to be reloaded once the agent has started");
            // Not held here: whoever waits may give up at any time.
            self.reload_waits = true;
        }
    }

    async fn read(&mut self) -> io::Result<Asked> {
        loop {
            let mut ready = self.source.readable().await?;
            match ready.get_inner().read_signal()? {
                None => ready.clear_ready(),
                Some(signal) if signal.ssi_signo == Signal::SIGHUP as u32 => {
                    return Ok(Asked::Reload);
                }
                Some(_) => return Ok(Asked::Stop),
            }
        }
    }
}
