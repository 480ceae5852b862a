//! What the parts of the running daemon share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use vip_proto::Instant;

use super::reload::Order;
use crate::api::Status;
use crate::config::Config;
use crate::control::view::{self, Facts};
use crate::dataplane::Dataplane;
use crate::dataplane::events::ConflictTally;
use crate::error::RunError;
use crate::health::supervisor::Boards;
use crate::host::interface::Interface;
use crate::inputs::request::{Requests, Snapshot};
use crate::outputs::announce::Announcer;
use crate::outputs::announce::takeover::Takeovers;

/// The running daemon, as the control API and the notice handler see it.
#[derive(Debug)]
pub struct Shared {
    /// The configuration.
    pub config: Config,
    /// The way to the election thread.
    pub requests: Requests,
    /// The way to the daemon itself.
    pub reloads: mpsc::Sender<Order>,
    /// The backends.
    pub boards: Boards,
    /// Random number of this start, as text.
    pub incarnation: String,
    /// When the agent started.
    pub started: Instant,
    /// Whether the election thread has real-time priority.
    pub realtime: bool,
    /// Whether this agent went on with the data plane of the one before it.
    pub resumed: bool,
    /// The way to the announcer.
    pub announcer: Announcer,
    /// What became of the last claims.
    pub takeovers: Arc<Takeovers>,
    /// What other stations have claimed.
    pub conflicts: Arc<ConflictTally>,
    changing: Mutex<Changing>,
}

/// What changes with the interfaces.
#[derive(Debug)]
pub struct Changing {
    /// The data plane; `None` once it was removed.
    pub dataplane: Option<Dataplane>,
    /// The interfaces of the configuration; `None` where one is gone.
    pub interfaces: BTreeMap<String, Option<Interface>>,
}

impl Shared {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: Parts, changing: Changing) -> Self {
        Self {
            config: parts.config,
            requests: parts.requests,
            reloads: parts.reloads,
            boards: parts.boards,
            incarnation: parts.incarnation,
            started: parts.started,
            realtime: parts.realtime,
            resumed: parts.resumed,
            announcer: parts.announcer,
            takeovers: parts.takeovers,
            conflicts: parts.conflicts,
            changing: Mutex::new(changing),
        }
    }

    /// Exclusive access to what changes; never held across an await.
    pub fn changing(&self) -> MutexGuard<'_, Changing> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The whole status.
    ///
    /// # Errors
    /// [`RunError::Dataplane`] if the counters cannot be read.
    pub fn status(&self, snapshot: &Snapshot) -> Result<Status, RunError> {
        let changing = self.changing();
        let dataplane = changing
            .dataplane
            .as_ref()
            .ok_or_else(|| RunError::dataplane("reading the counters")("the agent is stopping"))?;
        let facts = Facts {
            config: &self.config,
            dataplane,
            boards: &self.boards,
            interfaces: &changing.interfaces,
            incarnation: &self.incarnation,
            started: self.started,
            realtime: self.realtime,
            resumed: self.resumed,
            takeovers: &self.takeovers,
            conflicts: &self.conflicts,
        };
        view::status(&facts, snapshot)
    }

    /// What the flight recorder holds.
    ///
    /// # Errors
    /// [`RunError::Dataplane`] if the agent is stopping.
    pub fn recording(&self) -> Result<crate::api::Recording, RunError> {
        let what = "reading the flight recorder";
        let changing = self.changing();
        let dataplane = changing
            .dataplane
            .as_ref()
            .ok_or_else(|| RunError::dataplane(what)("the agent is stopping"))?;
        let ring = dataplane.slots().flight;
        Ok(crate::api::Recording::of(&self.config, &ring))
    }
}

/// What [`Shared::new`] is made of; see the fields of [`Shared`].
#[derive(Debug)]
pub struct Parts {
    /// The configuration.
    pub config: Config,
    /// The way to the election thread.
    pub requests: Requests,
    /// The way to the daemon itself.
    pub reloads: mpsc::Sender<Order>,
    /// The backends.
    pub boards: Boards,
    /// Random number of this start, as text.
    pub incarnation: String,
    /// When the agent started.
    pub started: Instant,
    /// Whether the election thread has real-time priority.
    pub realtime: bool,
    /// Whether this agent went on with the data plane of the one before it.
    pub resumed: bool,
    /// The way to the announcer.
    pub announcer: Announcer,
    /// What became of the last claims.
    pub takeovers: Arc<Takeovers>,
    /// What other stations have claimed.
    pub conflicts: Arc<ConflictTally>,
}
