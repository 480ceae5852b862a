//! Runs the checks of one configuration and steers each instance to its first healthy backend.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};
use vip_common::abi::{BackendEntry, MacCell, NO_BACKEND, STEER_L2, ServiceSlot};
use vip_proto::backend::select;
use vip_proto::health::{Health, Hysteresis};

use super::board::{Board, Condition};
use super::former;
use super::neighbours::{Reach, Sighting, watch};
use super::tcp;
use crate::config::{Backend, Config, Instance, Steering, TcpCheck};
use crate::dataplane::Slots;
use crate::dataplane::tables::first_backend;
use crate::error::RunError;

/// The steering of one instance.
#[derive(Debug)]
struct Pool {
    instance: String,
    service: u32,
    first_backend: u32,
    board: Board,
    slots: Slots,
}

/// The boards by instance name, for `status`.
pub type Boards = BTreeMap<String, Board>;

/// The checks and watches of a configuration; they end when this is dropped.
#[derive(Debug)]
pub struct Supervisor {
    boards: Boards,
    tasks: JoinSet<()>,
}

impl Supervisor {
    /// Writes every instance's steering, and starts to check and to watch. `l2` instances have no
    /// backend until one was found healthy: unless this agent goes on (`resumed`) with a data plane that
    /// steers to one, which then keeps its packets until its check fails. Must be called within the
    /// runtime.
    ///
    /// # Errors
    /// [`RunError::Io`] if a slot cannot be read or written.
    pub fn start(config: &Config, slots: &Slots, resumed: bool) -> Result<Self, RunError> {
        let mut supervisor = Self {
            boards: Boards::new(),
            tasks: JoinSet::new(),
        };
        let kept = former::take_over(config, slots, resumed)
            .map_err(RunError::io("writing what the instances steer to"))?;
        let mut watched: Vec<(IpAddr, Arc<Pool>, usize)> = Vec::new();
        for (number, instance) in config.instances.iter().enumerate() {
            let service = u32::try_from(number).unwrap_or(u32::MAX);
            let Steering::L2 { backends } = &instance.steering else {
                continue;
            };
            let first = first_backend(config, number);
            let kept = kept.get(number).copied().flatten();
            let pool = Arc::new(Pool {
                instance: instance.name.clone(),
                service,
                first_backend: first,
                board: Board::new(conditions(backends, kept)),
                slots: slots.clone(),
            });
            supervisor
                .boards
                .insert(instance.name.clone(), pool.board.clone());
            supervisor.check_all(instance, backends, &pool);
            watched.extend(
                backends
                    .iter()
                    .enumerate()
                    .map(|(index, backend)| (backend.address, Arc::clone(&pool), index)),
            );
        }
        supervisor.watch_neighbours(watched);
        Ok(supervisor)
    }

    /// The boards by instance name.
    #[must_use]
    pub const fn boards(&self) -> &Boards {
        &self.boards
    }

    /// Waits until a check or watch ends, which none should, and answers why it did. Waits for ever
    /// if there are none (any more).
    pub async fn ended(&mut self) -> String {
        match self.tasks.join_next().await {
            Some(Ok(())) => "it ended by itself".to_owned(),
            Some(Err(error)) => error.to_string(),
            None => std::future::pending().await,
        }
    }

    fn check_all(&mut self, instance: &Instance, backends: &[Backend], pool: &Arc<Pool>) {
        for (index, backend) in backends.iter().enumerate() {
            match backend.check {
                Some(check) => {
                    let task = check_for_ever(Arc::clone(pool), index, backend.clone(), check);
                    self.tasks.spawn(task);
                }
                None => {
                    let mut board = pool.board.lock();
                    if let Some(condition) = board.get_mut(index) {
                        condition.passes = Some(true);
                        "no check configured".clone_into(&mut condition.last_check);
                    }
                    info!(
                        instance = instance.name,
                        backend = backend.name,
                        "no check: healthy while its MAC address resolves"
                    );
                }
            }
        }
    }

    fn watch_neighbours(&mut self, watched: Vec<(IpAddr, Arc<Pool>, usize)>) {
        if watched.is_empty() {
            return;
        }
        let mut addresses: Vec<IpAddr> = watched.iter().map(|(address, ..)| *address).collect();
        addresses.sort_unstable();
        addresses.dedup();
        self.tasks.spawn(async move {
            let tell = |address: IpAddr, sighting: &Sighting| {
                for (_, pool, index) in watched.iter().filter(|(own, ..)| *own == address) {
                    pool.sighted(*index, sighting);
                }
            };
            watch(addresses, tell).await;
        });
    }
}

/// What is known at the start. The backend that is `kept` was good enough for the agent before.
fn conditions(backends: &[Backend], kept: Option<usize>) -> Vec<Condition> {
    let mut conditions: Vec<Condition> = backends.iter().map(unknown).collect();
    if let Some(condition) = kept.and_then(|kept| conditions.get_mut(kept)) {
        condition.kept = true;
        condition.active = true;
    }
    conditions
}

fn unknown(backend: &Backend) -> Condition {
    Condition {
        name: backend.name.clone(),
        address: backend.address,
        passes: None,
        last_check: "not checked yet".to_owned(),
        reach: None,
        trouble: None,
        active: false,
        kept: false,
    }
}

fn entry(reach: &Reach) -> BackendEntry {
    BackendEntry {
        destination: MacCell::new(reach.mac),
        source: MacCell::new(reach.source),
        ifindex: reach.ifindex,
        reserved: 0,
    }
}

async fn check_for_ever(pool: Arc<Pool>, index: usize, backend: Backend, check: TcpCheck) {
    let mut hysteresis = Hysteresis::new(check.rise, check.fall);
    let mut ticks = interval(check.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let result = tcp::check(backend.address, check).await;
        let change = hysteresis.sample(result.is_ok());
        pool.checked(index, result, change);
    }
}

impl Pool {
    fn checked(&self, index: usize, result: Result<(), String>, change: Option<Health>) {
        let mut board = self.board.lock();
        let Some(condition) = board.get_mut(index) else {
            return;
        };
        condition.last_check = result.err().unwrap_or_else(|| "ok".to_owned());
        if let Some(health) = change {
            let passes = health == Health::Up;
            condition.passes = Some(passes);
            let (instance, backend) = (&self.instance, &condition.name);
            if passes {
                info!(instance, backend, "backend passes its check");
            } else {
                warn!(
                    instance,
                    backend,
                    reason = condition.last_check,
                    "backend fails its check"
                );
            }
            self.steer(&mut board);
        }
    }

    fn sighted(&self, index: usize, sighting: &Sighting) {
        let mut board = self.board.lock();
        let Some(condition) = board.get_mut(index) else {
            return;
        };
        let trouble = sighting.as_ref().err().map(ToString::to_string);
        let reach = sighting.as_ref().ok().copied();
        if condition.reach == reach && condition.trouble == trouble {
            return;
        }
        let (instance, backend) = (&self.instance, &condition.name);
        match sighting {
            Ok(reach) => {
                if let Err(error) = self.slots.backends.set(self.slot(index), entry(reach)) {
                    error!(instance, backend, %error, "writing a backend's MAC address");
                    return;
                }
            }
            Err(reason) => {
                warn!(instance, backend, %reason, "backend cannot be reached at link level");
            }
        }
        condition.reach = reach;
        condition.trouble = trouble;
        self.steer(&mut board);
    }

    fn slot(&self, index: usize) -> u32 {
        self.first_backend
            .saturating_add(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// Makes the first healthy backend the active one: one store.
    fn steer(&self, board: &mut [Condition]) {
        let chosen = select(board.iter().map(Condition::candidate));
        if board.iter().position(|condition| condition.active) == chosen {
            return;
        }
        let backend = chosen.map_or(NO_BACKEND, |index| self.slot(index));
        let service = ServiceSlot {
            mode: STEER_L2,
            backend,
        };
        if let Err(error) = self.slots.services.set(self.service, service) {
            error!(instance = self.instance, %error, "writing the active backend");
            return;
        }
        for (index, condition) in board.iter_mut().enumerate() {
            condition.active = Some(index) == chosen;
        }
        match chosen.and_then(|index| board.get(index)) {
            Some(condition) => info!(
                instance = self.instance,
                backend = condition.name,
                "active backend changed"
            ),
            None => warn!(
                instance = self.instance,
                "no healthy backend: packets are dropped"
            ),
        }
    }
}
