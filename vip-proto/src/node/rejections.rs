//! Which rejections the operator has been told of.

use alloc::vec::Vec;

use crate::NodeAddress;
use crate::native::RejectReason;

/// Most pairs of sender and reason that are reported; later ones are only counted, so that forged
/// senders can fill neither the memory nor the log.
const MAX_REPORTED: usize = 64;

/// The pairs reported so far.
#[derive(Debug, Default)]
pub(crate) struct Rejections {
    reported: Vec<(NodeAddress, RejectReason)>,
}

impl Rejections {
    /// Whether this is to be reported; true once per pair.
    pub(crate) fn is_news(&mut self, from: NodeAddress, reason: RejectReason) -> bool {
        let pair = (from, reason);
        let news = self.reported.len() < MAX_REPORTED && !self.reported.contains(&pair);
        if news {
            self.reported.push(pair);
        }
        news
    }
}
