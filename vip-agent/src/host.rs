//! The host the agent runs on: what it must offer, what it has, and how it is prepared.

pub mod addresses;
pub mod interface;
pub mod lock;
pub mod membership;
pub mod neighbour_table;
pub mod nic_filter;
pub mod preflight;
pub mod provision;
pub mod settings;
pub mod talkers;
