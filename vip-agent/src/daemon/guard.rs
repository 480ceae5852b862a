//! Whether the data plane is still on its interfaces.
//!
//! The kernel tells of a program that is taken off an interface by `ip link`, but not of one whose
//! link is detached or destroyed: somebody has to look. The election thread must not, as such a
//! question waits for whoever else is changing interfaces.

use futures_util::TryStreamExt as _;
use rtnetlink::Handle;
use tracing::debug;

use super::shared::Shared;
use crate::host::interface::Interface;
use crate::inputs::request::Request;

/// Looks at each interface once, and tells the election what is in its XDP slot. Failures are left
/// to the next look: an interface that is gone is told of by others.
pub(super) async fn look(shared: &Shared, handle: &Handle) {
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
            Err(error) => debug!(index, %error, "looking at an interface's program"),
        }
    }
}
