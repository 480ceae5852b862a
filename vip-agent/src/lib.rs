//! The VIP agent.
#![deny(unsafe_code)]

pub mod api;
pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
pub mod exit;
