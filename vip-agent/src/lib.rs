//! The VIP agent.
#![deny(unsafe_code)]

pub mod api;
pub mod config;
pub mod exit;
