//! The VIP agent: the daemon that runs the election and flips the data plane, and its command line.
//!
//! Threads and tasks of `vip-agent run`:
//!
//! ```text
//!  vip-election (SCHED_FIFO)       driver: adverts, links, requests, timers → Node → flips, adverts
//!    │ mpsc            ▲ queue + eventfd
//!    ▼                 │
//!  vip-announcer       │           gratuitous ARP, unsolicited NA
//!                      │
//!  main (tokio)  ──────┘           control API, health checks, neighbour watch, notices → log
//!  vip-events                      ring buffers of the data plane → conflicts, log
//! ```
#![deny(unsafe_code)]

pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod daemon;
pub mod dataplane;
pub mod driver;
pub mod error;
pub mod exit;
pub mod flight;
pub mod health;
pub mod host;
pub mod inputs;
pub mod liveness;
pub mod outputs;
pub mod realtime;
