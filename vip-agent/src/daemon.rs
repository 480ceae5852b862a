//! `vip-agent run`: puts the parts together, keeps them running, and takes them apart again.
//!
//! Order matters. Up: the data plane is attached before VIPs are put on `lo`, and both before the
//! election starts, so that at no moment the kernel answers for a VIP by itself. Down: the other
//! way round.

mod digest;
mod report;
pub mod shared;
mod start;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rtnetlink::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use self::shared::Shared;
use self::start::{Election, Running};
use crate::clock;
use crate::config::{Config, OnExit, Steering};
use crate::control::server;
use crate::dataplane::events::Conflict;
use crate::driver::{Notice, SHUTDOWN_BOUND};
use crate::error::RunError;
use crate::host::interface::Interface;
use crate::host::{membership, preflight, provision};
use crate::inputs::request::Request;

/// Runs the agent until SIGTERM or SIGINT.
///
/// # Errors
/// Why it could not start, or had to stop; nothing is left half-applied.
pub fn run(config: Config) -> Result<(), RunError> {
    preflight::privileges()?;
    preflight::kernel()?;
    preflight::bpffs(&config.node.pin_dir)?;
    let _lock = preflight::lock(&config.node.runtime_dir)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(RunError::io("starting the runtime"))?;
    runtime.block_on(daemon(config))
}

async fn daemon(config: Config) -> Result<(), RunError> {
    let (connection, handle, _) =
        rtnetlink::new_connection().map_err(RunError::io("opening a netlink socket"))?;
    tokio::spawn(connection);
    let mut running = start::start(config, &handle).await?;
    let result = serve(&mut running, &handle).await;
    let stopped = stop(running, &handle).await;
    result.and(stopped)
}

/// Serves until a signal comes or the election thread ends.
async fn serve(running: &mut Running, handle: &Handle) -> Result<(), RunError> {
    let what = "listening for signals";
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::io(what))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::io(what))?;
    let socket = running.shared.config.node.runtime_dir.join("control.sock");
    let listener = server::listen(&socket).map_err(RunError::io(format!(
        "opening the control socket {}",
        socket.display()
    )))?;
    let mut control = tokio::spawn(server::serve(listener, Arc::clone(&running.shared)));
    info!(node = running.shared.config.node.name, control = %socket.display(), "ready");
    let mut conflicts = report::ConflictLog::default();
    let result = loop {
        tokio::select! {
            _ = terminate.recv() => break Ok(()),
            _ = interrupt.recv() => break Ok(()),
            result = &mut control => break Err(control_ended(result)),
            notice = running.notices.recv() => match notice {
                Some(notice) => handle_notice(running, handle, notice).await,
                None => break Err(RunError::io("running the election")(io::Error::other(
                    "its thread has ended",
                ))),
            },
            Some(conflict) = running.conflicts.recv() => conflicts.note(&conflict, clock::now()),
        }
    };
    control.abort();
    if let Err(error) = std::fs::remove_file(&socket) {
        warn!(socket = %socket.display(), %error, "removing the control socket");
    }
    result
}

fn control_ended(result: Result<io::Result<()>, tokio::task::JoinError>) -> RunError {
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
        }
        Notice::InterfaceChanged(interface) => interface_changed(running, interface),
        Notice::InterfaceAppeared(interface) => {
            let name = interface.name.clone();
            if let Err(error) = interface_appeared(running, handle, interface).await {
                error!(interface = name, %error, "interface is back but cannot be used");
            }
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

/// An interface was made anew: attach, join, and only then let its instances take part again.
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
        dataplane.attach(&interface, shared.config.node.xdp)?;
    }
    running
        .manners
        .push(provision::teach_manners(&interface.name));
    running
        .memberships
        .insert(interface.name.clone(), membership::join(&interface, &vips)?);
    let present = crate::host::interface::list(handle).await?;
    let interface = present
        .into_iter()
        .find(|now| now.index == interface.index)
        .unwrap_or(interface);
    info!(
        interface = interface.name,
        "interface is back: data plane attached"
    );
    shared
        .changing()
        .interfaces
        .insert(interface.name.clone(), Some(interface.clone()));
    shared
        .requests
        .send(Request::Attached(interface))
        .map_err(|error| RunError::io("telling the election")(io::Error::other(error)))
}

/// Releases everything and takes the data plane away, unless it is to stay.
async fn stop(running: Running, handle: &Handle) -> Result<(), RunError> {
    let Running {
        shared,
        election,
        events,
        supervisor,
        addresses,
        manners,
        memberships,
        ..
    } = running;
    let ended = end(&shared, election).await;
    drop(supervisor);
    drop(addresses);
    drop(events);
    if shared.config.node.on_exit == OnExit::Stay {
        info!("stopped; the data plane stays, silent, until an agent adopts it");
        manners.into_iter().for_each(provision::Manners::keep);
        return ended;
    }
    if shared.config.node.provision {
        provision::remove_vips(handle, &local_vips(&shared.config)).await?;
    }
    let dataplane = shared.changing().dataplane.take();
    if let Some(dataplane) = dataplane {
        dataplane.remove()?;
    }
    drop(memberships);
    info!("stopped; the data plane is detached");
    ended
}

/// Ends the election thread; it releases all leases and says so to the peers.
async fn end(shared: &Shared, election: Election) -> Result<(), RunError> {
    if shared.requests.send(Request::Shutdown).is_err() {
        warn!("the election thread has ended before");
    }
    let deadline = tokio::time::Instant::now() + SHUTDOWN_BOUND;
    while !election.is_finished() {
        if tokio::time::Instant::now() > deadline {
            return Err(RunError::io("stopping the election")(io::Error::new(
                io::ErrorKind::TimedOut,
                "its thread does not end; its leases run out by themselves",
            )));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let what = "running the election";
    match election.join() {
        Ok(result) => result.map_err(RunError::io(what)),
        Err(_) => Err(RunError::io(what)(io::Error::other("its thread panicked"))),
    }
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
