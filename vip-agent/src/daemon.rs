//! `vip-agent run`: puts the parts together, keeps them running, and takes them apart again.
//!
//! Order matters. Up: the data plane is attached before VIPs are put on `lo`, and both before the
//! election starts, so that at no moment the kernel answers for a VIP by itself. Down: the other
//! way round.

mod arrivals;
mod conflict;
mod digest;
mod earlier;
mod electing;
mod ending;
mod guard;
mod probed;
pub mod reload;
mod report;
pub mod shared;
mod signals;
mod start;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rtnetlink::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinError;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

use self::conflict::ConflictDesk;
pub use self::reload::Invocation;
use self::reload::{Order, Plan, Reloading};
pub use self::signals::hold_back;
use self::signals::{Asked, Signals};
use self::start::{Progress, Running};
use crate::clock;
use crate::config::{Config, OnExit, Steering};
use crate::control::server;
use crate::dataplane::attach;
use crate::dataplane::events::Conflict;
use crate::driver::Notice;
use crate::error::RunError;
use crate::host::interface::{self, Interface};
use crate::host::{lock, membership, preflight, talkers};
use crate::inputs::request::Request;

/// Runs the agent until SIGTERM or SIGINT. [`hold_back`] is to be called before.
///
/// # Errors
/// Why it could not start, or had to stop; nothing is left half-applied.
pub fn run(config: Config, invocation: &Invocation) -> Result<(), RunError> {
    preflight::privileges()?;
    preflight::kernel()?;
    preflight::clock()?;
    preflight::bpffs(&config.node.pin_dir)?;
    let _runtime_dir = lock::runtime_dir(&config.node.runtime_dir)?;
    let _pin_dir = lock::pin_dir(&config.node.pin_dir)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(RunError::io("starting the runtime"))?;
    runtime.block_on(daemon(config, invocation))
}

async fn daemon(config: Config, invocation: &Invocation) -> Result<(), RunError> {
    // Before anything is changed: a signal then must not leave it half-done.
    let mut signals = Signals::listen()?;
    let (connection, handle, _) =
        rtnetlink::new_connection().map_err(RunError::io("opening a netlink socket"))?;
    tokio::spawn(connection);
    let mut progress = Progress::default();
    let started = tokio::select! {
        result = start::start(config, &handle, &mut progress) => result.map(Some),
        () = signals.stop_of_start() => Ok(None),
    };
    let mut running = match started {
        Ok(Some(unfinished)) => unfinished.with(progress)?,
        Ok(None) => {
            info!("stopped while starting");
            progress.undo(&handle).await;
            return Ok(());
        }
        Err(error) => {
            progress.undo(&handle).await;
            return Err(error);
        }
    };
    match serve(&mut running, &handle, &mut signals, invocation).await {
        Ok(Some(plan)) => reload::carry_out(running, plan).await,
        Ok(None) => stop(running, &handle, &mut signals).await,
        Err(error) => both(Err(error), stop(running, &handle, &mut signals).await),
    }
}

/// The first error. Only one can be returned: a second one is said in the log.
fn both(first: Result<(), RunError>, second: Result<(), RunError>) -> Result<(), RunError> {
    match (first, second) {
        (Err(first), Err(second)) => {
            error!(error = %second, "another error besides the one the agent ends with");
            Err(first)
        }
        (first, second) => first.and(second),
    }
}

/// Time between looks at what may need another try.
const TICK: Duration = Duration::from_secs(1);

/// Serves until a signal to stop comes, or the election thread ends, or a reload can be done: then its
/// plan is answered.
async fn serve(
    running: &mut Running,
    handle: &Handle,
    signals: &mut Signals,
    invocation: &Invocation,
) -> Result<Option<Plan>, RunError> {
    let socket = running.shared.config.node.runtime_dir.join("control.sock");
    let listener = server::listen(&socket).map_err(RunError::io(format!(
        "opening the control socket {}",
        socket.display()
    )))?;
    let mut control = tokio::spawn(server::serve(listener, Arc::clone(&running.shared)));
    info!(node = running.shared.config.node.name, control = %socket.display(), "ready");
    let talkers = tokio::spawn(talkers::watch(
        running.shared.config.instances.clone(),
        handle.clone(),
        running.shared.announcer.clone(),
    ));
    let mut conflicts = ConflictDesk::default();
    let mut arrivals = arrivals::Arrivals::default();
    let mut conflicts_are_read = true;
    let mut reloading = Reloading::new(invocation, handle);
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let result = loop {
        tokio::select! {
            asked = signals.next() => match asked {
                Asked::Stop => break Ok(None),
                Asked::Reload => reloading.begin(&running.shared, Order::by_signal()),
            },
            Some(order) = running.orders.recv() => reloading.begin(&running.shared, order),
            plan = reloading.examined() => match plan {
                Some(plan) => break Ok(Some(plan)),
                None => reloading.begin_again(&running.shared),
            },
            result = &mut control => break Err(control_ended(result)),
            notice = running.notices.recv() => match notice {
                Some(notice) => handle_notice(running, handle, notice).await,
                None => break Err(RunError::io("running the election")(io::Error::other(
                    "its thread has ended",
                ))),
            },
            conflict = running.conflicts.recv(), if conflicts_are_read => match conflict {
                Some(conflict) => conflicts.handle(&running.shared, conflict, clock::now()),
                None => {
                    error!("conflicts are no longer reported: the reader of events has ended");
                    conflicts_are_read = false;
                }
            },
            Some(result) = running.addresses.join_next() => addresses_ended(result),
            // Without its checks the daemon would steer to backends that are dead.
            reason = running.supervisor.ended() => break Err(RunError::io(
                "checking the backends",
            )(io::Error::other(reason))),
            _ = tick.tick() => {
                arrivals.look(&running.shared);
                look_after(running, handle).await;
            }
        }
    };
    if matches!(result, Ok(Some(_))) {
        // The answer is still to leave; the next agent replaces the socket.
        return result;
    }
    control.abort();
    talkers.abort();
    if let Err(error) = std::fs::remove_file(&socket) {
        warn!(socket = %socket.display(), %error, "removing the control socket");
    }
    result
}

fn addresses_ended(result: Result<Result<(), RunError>, JoinError>) {
    let error: &dyn std::fmt::Display = match &result {
        Ok(Ok(())) => &"it ended",
        Ok(Err(error)) => error,
        Err(error) => error,
    };
    error!(%error, "the VIPs on lo are not looked after: trying again");
}

/// Tries again what has failed, and puts right what others have changed.
async fn look_after(running: &mut Running, handle: &Handle) {
    running.settings.enforce();
    running.filters.enforce(handle).await;
    if running.addresses.is_empty() {
        let config = &running.shared.config;
        let provisioned = provisioned_vips(config);
        running.addresses = start::watch_addresses(config, &provisioned);
    }
    attach_waiting(running, handle).await;
    guard::look(&running.shared, handle, &mut running.guard).await;
    probed::look(&running.shared, handle, &mut running.probed).await;
}

fn control_ended(result: Result<io::Result<()>, JoinError>) -> RunError {
    let source = match result {
        Ok(Ok(())) => io::Error::other("it ended"),
        Ok(Err(error)) => error,
        Err(error) => io::Error::other(error),
    };
    RunError::io("serving the control API")(source)
}

async fn handle_notice(running: &mut Running, handle: &Handle, notice: Notice) {
    match notice {
        Notice::Report { at: _, report } => report::log(&running.shared.config, &report),
        Notice::DataplaneFailed { vrid, error } => {
            error!(%vrid, error, "the data plane did not take a write: stepping down");
        }
        Notice::ProbeFailed { error } => warn!(error, "liveness probes cannot be sent"),
        Notice::TransmitFailed { error } => warn!(error, "adverts cannot be sent"),
        Notice::InterfaceGone { name } => {
            error!(
                interface = name,
                "interface is gone: its instances wait for it to come back"
            );
            running
                .shared
                .changing()
                .interfaces
                .insert(name.clone(), None);
            running.memberships.remove(&name);
            if let Some(dataplane) = running.shared.changing().dataplane.as_mut() {
                dataplane.forget(&name);
            }
            running.waiting.entry(name).or_default();
        }
        Notice::InterfaceChanged(interface) => interface_changed(running, interface),
        Notice::Detached(interface) => {
            error!(
                interface = interface.name,
                program = interface.xdp.map(|other| other.id),
                "the data plane was taken off the interface: its instances wait until it is back"
            );
            interface_changed(running, interface);
        }
        Notice::InterfaceAppeared(interface) => {
            running.waiting.entry(interface.name).or_default();
            attach_waiting(running, handle).await;
        }
    }
}

/// Tries to put the interfaces that are waited for to use, as far as they are there.
async fn attach_waiting(running: &mut Running, handle: &Handle) {
    if running.waiting.is_empty() {
        return;
    }
    let present = match interface::list(handle).await {
        Ok(present) => present,
        Err(error) => return warn!(%error, "looking for interfaces that have come back"),
    };
    for (name, said) in std::mem::take(&mut running.waiting) {
        let Some(interface) = present.iter().find(|interface| interface.name == name) else {
            running.waiting.insert(name, said);
            continue;
        };
        if let Err(error) = interface_appeared(running, handle, interface.clone()).await {
            let error = error.to_string();
            if said.as_ref() != Some(&error) {
                error!(
                    interface = name,
                    error, "interface is back but cannot be used: trying again every second"
                );
            }
            running.waiting.insert(name, Some(error));
        }
    }
}

fn interface_changed(running: &Running, interface: Interface) {
    let mut changing = running.shared.changing();
    let Some(known) = changing.interfaces.get_mut(&interface.name) else {
        return;
    };
    if known.as_ref().is_some_and(|known| known.up != interface.up) {
        let link = if interface.up { "up" } else { "down" };
        warn!(interface = interface.name, link, "interface changed");
    }
    *known = Some(interface);
}

/// An interface was made anew: attach, join, and only then let its instances take part again. Does
/// no harm where it was done before: the election may ask more than once.
async fn interface_appeared(
    running: &mut Running,
    handle: &Handle,
    interface: Interface,
) -> Result<(), RunError> {
    let shared = Arc::clone(&running.shared);
    let vips: Vec<_> = shared
        .config
        .instances
        .iter()
        .filter(|instance| instance.interface == interface.name)
        .flat_map(|instance| instance.vips.iter().copied())
        .collect();
    if vips.is_empty() {
        return Ok(());
    }
    {
        let mut changing = shared.changing();
        let Some(dataplane) = changing.dataplane.as_mut() else {
            return Ok(());
        };
        dataplane.attach(&interface, attach::mode(&shared.config, &interface))?;
    }
    running
        .memberships
        .insert(interface.name.clone(), membership::join(&interface, &vips)?);
    let present = interface::list(handle).await?;
    running
        .filters
        .apply(handle, &shared.config, &present)
        .await;
    let interface = present
        .into_iter()
        .find(|now| now.index == interface.index)
        .unwrap_or(interface);
    let known = shared
        .changing()
        .interfaces
        .insert(interface.name.clone(), Some(interface.clone()))
        .flatten();
    let is_same = |known: Interface| known.index == interface.index && known.xdp == interface.xdp;
    if !known.is_some_and(is_same) {
        info!(
            interface = interface.name,
            "interface is back: data plane attached"
        );
    }
    shared
        .requests
        .send(Request::Attached(interface))
        .map_err(|error| RunError::io("telling the election")(io::Error::other(error)))
}

/// Hands everything over and takes the data plane away, unless it is to stay. Another signal to stop
/// ends the waiting.
async fn stop(running: Running, handle: &Handle, signals: &mut Signals) -> Result<(), RunError> {
    let Running {
        shared,
        election,
        events,
        supervisor,
        addresses,
        settings,
        filters,
        memberships,
        ..
    } = running;
    let node = &shared.config.node;
    let how = match node.on_exit {
        OnExit::Keep => Request::Restart {
            grace: node.restart_grace,
        },
        OnExit::Detach | OnExit::Stay => Request::Shutdown,
    };
    let ended = ending::end(&shared.requests, election, how, signals.stop()).await;
    if node.on_exit == OnExit::Keep {
        let grace = node.restart_grace;
        info!(
            grace_ms = grace.as_millis(),
            "stopped; the data plane stays at work until its lease ends or an agent goes on with it"
        );
        return ended;
    }
    if let Some(slots) = reload::slots(&shared) {
        tokio::select! {
            () = ending::drain(&slots.instances) => {}
            () = signals.stop() => warn!("stopping at once: nothing is forwarded any more"),
        }
    }
    drop(supervisor);
    drop(addresses);
    drop(events);
    if node.on_exit == OnExit::Stay {
        info!("stopped; the data plane stays, silent, until an agent adopts it");
        return ended;
    }
    let dataplane = shared.changing().dataplane.take();
    let vips = provisioned_vips(&shared.config);
    let removed = start::take_away(handle, &vips, dataplane, Some(settings)).await;
    filters.restore(handle).await;
    drop(memberships);
    if removed.is_ok() {
        info!("stopped; the data plane is detached");
    }
    both(ended, removed)
}

/// The VIPs that belong on `lo`: those whose packets this host's own stack takes.
fn local_vips(config: &Config) -> Vec<std::net::IpAddr> {
    config
        .instances
        .iter()
        .filter(|instance| matches!(instance.steering, Steering::Local))
        .flat_map(|instance| instance.vips.iter().copied())
        .collect()
}

/// The VIPs this agent puts on `lo`.
fn provisioned_vips(config: &Config) -> Vec<std::net::IpAddr> {
    if config.node.provision {
        local_vips(config)
    } else {
        Vec::new()
    }
}

/// Conflicts wait here until they are logged; more than this at once say nothing new.
const CONFLICTS: usize = 64;

/// Notices wait here until they are handled: a full status change of every instance several times
/// over. The election drops and counts what does not fit.
const NOTICES: usize = 1024;

fn conflict_channel() -> (mpsc::Sender<Conflict>, mpsc::Receiver<Conflict>) {
    mpsc::channel(CONFLICTS)
}

fn notice_channel() -> (mpsc::Sender<Notice>, mpsc::Receiver<Notice>) {
    mpsc::channel(NOTICES)
}
