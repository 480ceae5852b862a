//! The end of an election, and of what still comes for the VIPs after it.

use std::io;
use std::time::Duration;

use tokio::time::{Instant as TokioInstant, sleep};
use tracing::{info, warn};
use vip_proto::Instant;

use super::electing::Election;
use crate::clock;
use crate::dataplane::slots::InstanceSlots;
use crate::driver::SHUTDOWN_BOUND;
use crate::error::RunError;
use crate::inputs::request::{Request, Requests};

/// Time between two looks at whether the election thread has ended.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// How long the thread may take to end after the machine was given up.
const MARGIN: Duration = Duration::from_secs(1);

/// After this long without a frame that had to be forwarded, the neighbours have learned.
const QUIET: Duration = Duration::from_millis(200);

/// Time between two looks at whether frames are still forwarded.
const DRAIN_LOOK_EVERY: Duration = Duration::from_millis(10);

/// Ends the election thread, in this way; when `hurry` comes first, at once.
///
/// # Errors
/// Why the thread did not end well.
pub(super) async fn end(
    requests: &Requests,
    election: Election,
    how: Request,
    hurry: impl Future<Output = ()>,
) -> Result<(), RunError> {
    if requests.send(how).is_err() {
        warn!("the election thread has ended before");
    }
    let deadline = TokioInstant::now() + SHUTDOWN_BOUND + MARGIN;
    let in_time = tokio::select! {
        in_time = ends(&election, deadline) => in_time,
        () = hurry => {
            // If it is refused, then because the thread has ended.
            if requests.send(Request::Halt).is_ok() {
                warn!("stopping at once: nothing is handed over any more");
            }
            ends(&election, TokioInstant::now() + MARGIN).await
        }
    };
    if !in_time {
        return Err(RunError::io("stopping the election")(io::Error::new(
            io::ErrorKind::TimedOut,
            "its thread does not end; its lease runs out by itself",
        )));
    }
    let what = "running the election";
    match election.join() {
        Ok(result) => result.map_err(RunError::io(what)),
        Err(_) => Err(RunError::io(what)(io::Error::other("its thread panicked"))),
    }
}

/// Whether the thread ends by then.
async fn ends(election: &Election, deadline: TokioInstant) -> bool {
    while !election.is_finished() {
        if TokioInstant::now() > deadline {
            return false;
        }
        sleep(LOOK_EVERY).await;
    }
    true
}

/// Waits until no more frames come that have to be forwarded to the nodes that took over. How long at
/// most is in the slots.
pub(super) async fn drain(slots: &InstanceSlots) {
    let start = clock::now();
    let mut said = false;
    while let Some(until) = drained_at(slots, start) {
        let left = until.saturating_since(clock::now());
        if left.is_zero() {
            break;
        }
        if !std::mem::replace(&mut said, true) {
            info!("handed over; what neighbours still send here is forwarded");
        }
        sleep(left.min(DRAIN_LOOK_EVERY)).await;
    }
    if said {
        let took = clock::now().saturating_since(start);
        info!(took_ms = took.as_millis(), "nothing more is forwarded");
    }
}

/// When the last of the instances that still forward will have been quiet for long enough, if nothing
/// more comes; `None`: there are none.
fn drained_at(slots: &InstanceSlots, start: Instant) -> Option<Instant> {
    let now = clock::now();
    let quiet = |slot| -> io::Result<Option<Instant>> {
        let until = slots.drains_until(slot)?;
        let last = slots.drained_at(slot)?.max(start);
        Ok((until > now).then(|| until.min(last + QUIET)))
    };
    (0..slots.len())
        .filter_map(|slot| quiet(slot).ok().flatten())
        .max()
}
