//! Adverts under way.

use std::sync::Arc;

use vip_proto::native::{self, AdvertView, InstanceRecord};

/// One advert to one host.
#[derive(Debug, Clone)]
pub(crate) struct Advert {
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// Quanta until it arrives.
    pub(crate) due: u16,
    /// The network has done something to it already.
    pub(crate) touched: bool,
    pub(crate) content: Arc<Content>,
}

/// What it says.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) datagram: Vec<u8>,
    pub(crate) sequence: u64,
    pub(crate) record: InstanceRecord,
    /// As `Debug` prints it.
    pub(crate) text: String,
}

impl Content {
    pub(crate) fn of(datagram: &[u8]) -> Self {
        let view = AdvertView::new_checked(datagram).expect("a node's own advert");
        let advert = native::Advert::parse(&view);
        Self {
            datagram: datagram.to_vec(),
            sequence: advert.header.sequence,
            record: advert.records[0],
            text: format!("{advert:?}"),
        }
    }
}
