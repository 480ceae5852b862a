//! What can happen to the election: adverts, link changes, requests of the control side.

pub mod adverts;
pub mod link;
pub mod request;
