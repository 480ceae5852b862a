//! Another configuration, or another version of the program, without a failover.
//!
//! The program on disk is asked whether it can use the configuration, and which version of the data
//! plane it has. If it can go on with what is at work here, this process becomes that program: same
//! process, same arguments, and the data plane acts by itself meanwhile. If it cannot, everything is
//! handed over to other nodes first.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command as StdCommand, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rtnetlink::Handle;
use tokio::process::Command;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{error, info, warn};
use vip_common::abi::ABI_VERSION;
use vip_proto::election::State;

use super::ending;
use super::shared::Shared;
use super::start::{self, Running};
use crate::api::ReloadReply;
use crate::config::{self, Config, Transport};
use crate::dataplane::adopt;
use crate::error::RunError;
use crate::host::interface;
use crate::inputs::request::{Request, Snapshot};

/// How long the program on disk may take to answer a question.
const ANSWER_BOUND: Duration = Duration::from_secs(10);

/// How long examining a reload may take: two questions.
pub const EXAMINATION_BOUND: Duration = Duration::from_secs(20);
const _: () = assert!(EXAMINATION_BOUND.as_secs() == 2 * ANSWER_BOUND.as_secs());

/// Reloads that wait to be examined: one is at work, and who asks twice gets the same answer later.
const ORDERS: usize = 4;

/// Time for the answer to leave before the process is replaced.
const ANSWER_LEAVES: Duration = Duration::from_millis(10);

/// Who waits for the answer: it happens now, or why not.
pub type Reply = oneshot::Sender<Result<ReloadReply, String>>;

/// Somebody wants a reload.
#[derive(Debug)]
pub struct Order {
    /// Even if nobody can take over what cannot be kept.
    pub force: bool,
    /// Who waits for the answer.
    pub reply: Option<Reply>,
}

impl Order {
    /// SIGHUP: the log is all the answer there is.
    pub(super) const fn by_signal() -> Self {
        Self {
            force: false,
            reply: None,
        }
    }
}

/// The way from the control API to the daemon.
pub(super) fn orders() -> (mpsc::Sender<Order>, mpsc::Receiver<Order>) {
    mpsc::channel(ORDERS)
}

/// How this process was called.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// The program's file.
    pub program: PathBuf,
    /// The configuration's file.
    pub config: PathBuf,
}

impl Invocation {
    /// That of this process, which reads its configuration from `config`. To be asked at the start:
    /// later the file may have been replaced.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn of_this_process(config: &Path) -> io::Result<Self> {
        // As it was called, not where links led to: an upgrade may change a link.
        let called = std::env::args_os()
            .next()
            .map(PathBuf::from)
            .filter(|path| path.components().count() > 1)
            .and_then(|path| std::path::absolute(path).ok())
            .filter(|path| path.is_file());
        Ok(Self {
            program: match called {
                Some(program) => program,
                None => std::env::current_exe()?,
            },
            config: std::path::absolute(config)?,
        })
    }

    /// Becomes the program on disk; returns only if that fails.
    fn replace(&self) -> io::Error {
        StdCommand::new(&self.program)
            .args(std::env::args_os().skip(1))
            .exec()
    }

    async fn ask(&self, arguments: &[&OsStr]) -> Result<Output, String> {
        let program = self.program.display();
        let output = Command::new(&self.program)
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        match timeout(ANSWER_BOUND, output).await {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(error)) => Err(format!("{program} cannot be run: {error}")),
            Err(_elapsed) => Err(format!("{program} does not answer within {ANSWER_BOUND:?}")),
        }
    }
}

/// A reload that can be done.
#[derive(Debug)]
pub(super) struct Plan {
    invocation: Invocation,
    /// Why everything is handed over first; `None`: nothing is.
    handed_over: Option<String>,
}

impl Plan {
    /// What is said of it to who asked.
    pub(super) fn reply(&self) -> ReloadReply {
        ReloadReply {
            pid: std::process::id(),
            program: self.invocation.program.clone(),
            handed_over: self.handed_over.clone(),
        }
    }
}

/// Finds out whether and how a reload can be done. Nothing is changed.
///
/// # Errors
/// Why it cannot, for a person.
async fn examine(
    shared: &Shared,
    handle: &Handle,
    invocation: Invocation,
    force: bool,
) -> Result<Plan, String> {
    let abi = abi(&invocation).await?;
    check(&invocation).await?;
    let difference = if abi == ABI_VERSION {
        difference(shared, handle, &invocation.config).await?
    } else {
        let program = invocation.program.display();
        Some(format!(
            "{program} has version {abi} of the data plane, this agent has version {ABI_VERSION}"
        ))
    };
    if let Some(reason) = &difference {
        let snapshot = shared.requests.snapshot().await;
        let snapshot = snapshot.map_err(|error| error.to_string())?;
        let alone = without_successor(&shared.config, &snapshot);
        if !alone.is_empty() && !force {
            return Err(format!(
                "{reason}. So everything has to be handed over first, and no other node is ready to \
                 take {}: see the peers in status, or use --force and lose packets meanwhile",
                alone.join(", ")
            ));
        }
    }
    Ok(Plan {
        invocation,
        handed_over: difference,
    })
}

/// The reloads that were asked for. One is examined at a time, while the agent serves.
pub(super) struct Reloading<'r> {
    invocation: &'r Invocation,
    handle: &'r Handle,
    /// At most one.
    examining: JoinSet<Result<Plan, String>>,
    reply: Option<Reply>,
    /// A signal came meanwhile: what it is about may be newer than what is examined.
    again: bool,
}

impl<'r> Reloading<'r> {
    pub(super) fn new(invocation: &'r Invocation, handle: &'r Handle) -> Self {
        Self {
            invocation,
            handle,
            examining: JoinSet::new(),
            reply: None,
            again: false,
        }
    }

    /// Examines anew if a signal came meanwhile. Not needed where the last one can be done: the program
    /// that takes over reads what there is then.
    pub(super) fn begin_again(&mut self, shared: &Arc<Shared>) {
        if std::mem::take(&mut self.again) {
            self.begin(shared, Order::by_signal());
        }
    }

    /// Begins to examine. While that is being done, who waits for an answer is refused.
    pub(super) fn begin(&mut self, shared: &Arc<Shared>, order: Order) {
        if !self.examining.is_empty() && order.reply.is_none() {
            info!("SIGHUP: a reload is being examined already");
            self.again = true;
            return;
        }
        if !self.examining.is_empty() {
            refuse(order.reply, "a reload is being examined already".to_owned());
            return;
        }
        let (shared, handle) = (Arc::clone(shared), self.handle.clone());
        let invocation = self.invocation.clone();
        info!(
            program = %invocation.program.display(),
            config = %invocation.config.display(),
            "asked to reload: checking program and configuration"
        );
        self.reply = order.reply;
        self.examining
            .spawn(async move { examine(&shared, &handle, invocation, order.force).await });
    }

    /// Waits until one was examined, and tells who asked; `None`: it cannot be done. Waits for ever
    /// if none is.
    pub(super) async fn examined(&mut self) -> Option<Plan> {
        let Some(joined) = self.examining.join_next().await else {
            return std::future::pending().await;
        };
        let reply = self.reply.take();
        match joined.unwrap_or_else(|panic| Err(panic.to_string())) {
            Ok(plan) => {
                // Whoever asked may have gone away: it happens all the same.
                if reply.is_some_and(|reply| reply.send(Ok(plan.reply())).is_err()) {
                    warn!("nobody waits for the answer to the reload any more");
                }
                Some(plan)
            }
            Err(reason) => {
                refuse(reply, reason);
                None
            }
        }
    }
}

fn refuse(reply: Option<Reply>, reason: String) {
    error!(reason, "nothing is reloaded");
    if reply.is_some_and(|reply| reply.send(Err(reason)).is_err()) {
        warn!("nobody waits for the answer to the reload any more");
    }
}

/// The version of the data plane the program on disk has.
async fn abi(invocation: &Invocation) -> Result<u32, String> {
    let output = invocation.ask(&[OsStr::new("abi")]).await?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.trim().parse() {
        Ok(version) if output.status.success() => Ok(version),
        _ => Err(format!(
            "{} does not tell the version of its data plane ({}): is it a vip-agent?{}",
            invocation.program.display(),
            output.status,
            said(&output)
        )),
    }
}

/// Whether the program on disk can use the configuration on this host.
async fn check(invocation: &Invocation) -> Result<(), String> {
    let config = invocation.config.as_os_str();
    let output = invocation
        .ask(&[OsStr::new("check"), OsStr::new("--host"), config])
        .await?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "the configuration cannot be used; the agent runs on with the one it has:{}",
        said(&output)
    ))
}

/// All that a program has said, on lines of their own.
fn said(output: &Output) -> String {
    let text = [&output.stderr, &output.stdout]
        .map(|stream| String::from_utf8_lossy(stream).trim().to_owned())
        .join("\n");
    match text.trim() {
        "" => String::new(),
        text => format!("\n{text}"),
    }
}

/// Why the new configuration cannot go on with what is at work; `None`: it can.
async fn difference(
    shared: &Shared,
    handle: &Handle,
    file: &Path,
) -> Result<Option<String>, String> {
    let new = match config::load(file) {
        Ok(loaded) => loaded.config,
        Err(_newer) => {
            return Ok(Some(
                "this agent does not understand the configuration, only the program on disk does"
                    .to_owned(),
            ));
        }
    };
    let (node, now) = (&new.node, &shared.config.node);
    if (&node.pin_dir, &node.runtime_dir) != (&now.pin_dir, &now.runtime_dir) {
        return Err(
            "[node] pin_dir and runtime_dir cannot be changed by a reload: stop the agent and start \
             it again"
                .to_owned(),
        );
    }
    if let Some(reason) = other_node(&shared.config, &new) {
        return Ok(Some(reason));
    }
    let interfaces = async {
        let present = interface::list(handle).await?;
        start::needed_interfaces(&new, &present)
    };
    let interfaces = interfaces.await.map_err(|error| error.to_string())?;
    Ok(adopt::difference(&new, &interfaces))
}

/// Why the peers would take this node for another one, as a phrase.
fn other_node(now: &Config, new: &Config) -> Option<String> {
    let place = |config: &Config| {
        let cluster = &config.cluster;
        let group = match &cluster.transport {
            Transport::Unicast { .. } => None,
            Transport::Multicast { group, interface } => Some((*group, interface.clone())),
        };
        // Peers whose probes are not answered any more take the node for dead.
        let probed = config.liveness.as_ref().map(|liveness| liveness.port);
        (cluster.address, cluster.port, group, probed)
    };
    let differs = place(now) != place(new);
    differs.then(|| {
        "[cluster] address, port or multicast group, or the [liveness] port, has changed".to_owned()
    })
}

/// The instances that are Active here, and that no other node can take.
fn without_successor(config: &Config, snapshot: &Snapshot) -> Vec<String> {
    let node = &snapshot.node;
    let is_ready = |vrid| {
        node.peers.iter().any(|peer| {
            let mut instances = peer.instances.iter();
            peer.alive && instances.any(|one| one.vrid == vrid && one.priority > 0)
        })
    };
    node.instances
        .iter()
        .filter(|instance| instance.state == State::Active && !is_ready(instance.vrid))
        .map(|instance| {
            let mut instances = config.instances.iter();
            instances
                .find(|one| one.vrid == instance.vrid)
                .map_or_else(|| instance.vrid.to_string(), |one| one.name.clone())
        })
        .collect()
}

/// Ends the election in the way the plan says, and becomes the program on disk. Signals that come
/// meanwhile wait for it.
///
/// # Errors
/// If that fails: nothing has been taken away, and a supervisor that starts an agent before the lease
/// ends loses nothing.
pub(super) async fn carry_out(running: Running, plan: Plan) -> Result<(), RunError> {
    tokio::time::sleep(ANSWER_LEAVES).await;
    let shared = &running.shared;
    let request = match &plan.handed_over {
        None => Request::Restart {
            grace: shared.config.node.restart_grace,
        },
        Some(reason) => {
            warn!(reason, "handing everything over before the reload");
            Request::Shutdown
        }
    };
    let never = std::future::pending();
    if let Err(error) = ending::end(&shared.requests, running.election, request, never).await {
        warn!(%error, "the election did not end well: reloading all the same");
    }
    if plan.handed_over.is_some() {
        let slots = slots(shared);
        if let Some(slots) = slots {
            ending::drain(&slots.instances).await;
        }
    }
    let program = plan.invocation.program.clone();
    info!(program = %program.display(), "reloading: this process goes on as the program on disk");
    Err(RunError::NotReplaced {
        source: plan.invocation.replace(),
        program,
    })
}

/// The slots of the running data plane.
pub(super) fn slots(shared: &Shared) -> Option<crate::dataplane::Slots> {
    let changing = shared.changing();
    changing
        .dataplane
        .as_ref()
        .map(|dataplane| dataplane.slots())
}
