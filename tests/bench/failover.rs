//! What a client sees when things go wrong: VIP, and keepalived beside it.
//!
//! The client asks every 100 µs; its kernel resolves and keeps the VIP's MAC address as ever. An outage
//! is the longest time without an answer, less the time between two questions.

mod chart;
mod load;
mod measure;
mod owners;
mod rival;
mod schedule;
mod summary;
mod vip;

use anyhow::{Result, ensure};

pub(crate) use chart::chart;
pub(crate) use load::{BUSY, be_busy};
pub(crate) use summary::tables;

use crate::failover::measure::Series;
use crate::options::Options;
use crate::rows::Rows;

/// What goes wrong, or is done on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The machine dies: its link is cut, its programs are killed.
    Crash,
    /// The agent is killed; its host, with whatever it still answers, stays.
    Kill,
    /// The agent hangs.
    Hang,
    /// The agent is stopped in an orderly way.
    Stop,
    /// The VIP is handed over; nothing fails.
    Switchover,
    /// The agent is killed and started again at once.
    Restart,
    /// The agent replaces itself, as after an upgrade.
    Reload,
    /// The backend that gets the packets dies.
    Backend,
}

impl Fault {
    /// As it is called in tables.
    fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Kill => "kill -9",
            Self::Hang => "SIGSTOP",
            Self::Stop => "SIGTERM",
            Self::Switchover => "switchover",
            Self::Restart => "restart",
            Self::Reload => "reload",
            Self::Backend => "backend dies",
        }
    }

    /// Whether somebody else serves the VIP afterwards.
    fn moves(self) -> bool {
        !matches!(self, Self::Restart | Self::Reload)
    }
}

/// Measures everything in turn. What fails is told at once, and does not keep the rest from being
/// measured.
pub(crate) fn run(options: &Options, rows: &mut Rows) -> Result<()> {
    let mut failures = Vec::new();
    for series in schedule::all(options) {
        failures.extend(series.run(rows));
    }
    if let Err(error) = load::run(options, rows) {
        eprintln!("failover: load: {error:#}");
        failures.push("load".to_owned());
    }
    ensure!(failures.is_empty(), "{}", failures.join(", "));
    Ok(())
}
