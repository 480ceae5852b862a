//! Whether the data plane is still on its interfaces.
//!
//! The kernel tells of a program that is taken off an interface by `ip link`, but not of one whose
//! link is detached or destroyed: somebody has to look. The election thread must not, as such a
//! question waits for whoever else is changing interfaces.

use futures_util::TryStreamExt as _;
use rtnetlink::Handle;
use tracing::{info, warn};

use super::shared::Shared;
use crate::host::interface::Interface;
use crate::inputs::request::Request;

/// What the last look failed with, so that it is said once and not each second.
#[derive(Debug, Default)]
pub(super) struct Trouble(Option<String>);

impl Trouble {
    /// Takes notice of a look; says what has changed.
    fn note(&mut self, now: Option<String>) {
        match &now {
            Some(error) if now != self.0 => {
                warn!(error, "cannot see whether the data plane is still attached");
            }
            None if self.0.is_some() => info!("the data plane can be seen again"),
            Some(_) | None => {}
        }
        self.0 = now;
    }
}

/// Looks at each interface once, and tells the election what is in its XDP slot. An interface that
/// is gone is told of by others; any other failure is said once and left to the next look.
pub(super) async fn look(shared: &Shared, handle: &Handle, trouble: &mut Trouble) {
    let mut failure = None;
    let indices: Vec<u32> = shared
        .changing()
        .interfaces
        .values()
        .flatten()
        .map(|interface| interface.index)
        .collect();
    for index in indices {
        let answer = handle.link().get().match_index(index).execute();
        match answer.try_collect::<Vec<_>>().await {
            Ok(links) => {
                for interface in links.iter().filter_map(Interface::from_link) {
                    // An election that has ended is noticed by whoever waits for it.
                    if shared.requests.send(Request::Guarded(interface)).is_err() {
                        return;
                    }
                }
            }
            Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -libc::ENODEV => {}
            Err(error) => failure = Some(error.to_string()),
        }
    }
    trouble.note(failure);
}
