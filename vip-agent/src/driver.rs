//! The loop of the election thread: wait for one input, feed it, carry out what follows.
//!
//! Nothing here blocks, waits for anyone, or allocates per tick. Order matters and is the
//! machine's: flips are carried out where they stand between the adverts.

mod interfaces;
mod probes;
mod transmit;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tokio::sync::{mpsc, oneshot};
use vip_proto::native::MAX_DATAGRAM;
use vip_proto::node::{Action, Node, Report};
use vip_proto::{Incarnation, Instant, Vrid};

use self::interfaces::Pending;
use crate::clock;
use crate::config::MacMode;
use crate::dataplane::slots::InstanceSlots;
use crate::flight::{Event, Recorder};
use crate::host::interface::Interface;
use crate::inputs::adverts::AdvertSocket;
use crate::inputs::link::{LinkEvent, LinkWatch};
use crate::inputs::request::{LoopCounters, Request, RequestQueue, Snapshot};
use crate::liveness::Prober;
use crate::outputs::announce::Announcer;

/// Datagrams handled before timers are looked at again: bounds the time a flood of them can take.
const DATAGRAMS_PER_TURN: usize = 64;

/// Requests handled before adverts and timers are looked at again.
const REQUESTS_PER_TURN: usize = 16;

/// Where an instance is: its slot in the data plane and its interface.
#[derive(Debug, Clone)]
pub struct Placement {
    /// Index into `INSTANCES`.
    pub slot: u32,
    /// Name of its interface.
    pub interface: String,
    /// Present index of the interface; `None` while it is gone.
    pub ifindex: Option<u32>,
    /// Which MAC address its VIPs have.
    pub mac: MacMode,
}

/// What the election thread tells the rest of the agent.
#[derive(Debug, Clone)]
pub enum Notice {
    /// Something for the log.
    Report {
        /// When it happened.
        at: Instant,
        /// What happened.
        report: Report,
    },
    /// An interface that instances need has appeared, or has lost the data plane: it must be attached.
    /// Said again until [`Request::Attached`] comes.
    InterfaceAppeared(Interface),
    /// An interface changed its state or address.
    InterfaceChanged(Interface),
    /// An interface that instances need is gone.
    InterfaceGone {
        /// Its name.
        name: String,
    },
    /// A write to the data plane failed.
    DataplaneFailed {
        /// Which instance.
        vrid: Vrid,
        /// What the failure was.
        error: String,
    },
    /// Somebody took the data plane off an interface: its instances wait until it is attached again.
    Detached(Interface),
    /// Liveness probes cannot be sent; told once until they can be again.
    ProbeFailed {
        /// To whom, and what the kernel answered.
        error: String,
    },
    /// Adverts cannot be sent; told once until they can be again.
    TransmitFailed {
        /// What the kernel answered.
        error: String,
    },
}

/// How late a wake-up may be for what the kernel said with it to be taken for the present state.
const IN_TIME: Duration = Duration::from_micros(300);

/// What can be read.
#[derive(Debug, Clone, Copy)]
struct News {
    /// As of when.
    looked_at: Instant,
    adverts: bool,
    links: bool,
    requests: bool,
}

/// Everything the loop needs.
#[derive(Debug)]
pub struct Driver {
    node: Node,
    placements: BTreeMap<Vrid, Placement>,
    instances: Arc<InstanceSlots>,
    adverts: AdvertSocket,
    links: LinkWatch,
    requests: RequestQueue,
    announcer: Announcer,
    flight: Recorder,
    prober: Option<Prober>,
    notices: mpsc::Sender<Notice>,
    programs: Vec<u32>,
    incarnation: Incarnation,
    pending: Pending,
    counters: LoopCounters,
    buffer: Box<[u8; MAX_DATAGRAM]>,
    transmit_failing: bool,
    probes_failing: bool,
    ending: Option<Ending>,
}

/// How the loop is to end.
#[derive(Debug, Clone, Copy)]
struct Ending {
    /// When at the latest.
    deadline: Instant,
    /// Whether the data plane stays as it is, for another agent.
    restarts: bool,
}

/// What [`Driver::new`] is made of.
#[derive(Debug)]
pub struct Parts {
    /// The machine.
    pub node: Node,
    /// Where each instance is.
    pub placements: BTreeMap<Vrid, Placement>,
    /// Kernel's numbers of the programs that are the data plane's.
    pub programs: Vec<u32>,
    /// This node's incarnation, for an agent that goes on with the data plane later.
    pub incarnation: Incarnation,
    /// The leases.
    pub instances: Arc<InstanceSlots>,
    /// The advert socket.
    pub adverts: AdvertSocket,
    /// Interface changes.
    pub links: LinkWatch,
    /// What the control side asks.
    pub requests: RequestQueue,
    /// Who tells the neighbours.
    pub announcer: Announcer,
    /// Where reports go.
    pub notices: mpsc::Sender<Notice>,
    /// Remembers what happened.
    pub flight: Recorder,
    /// Asks the data planes of peers; `None`: adverts alone tell.
    pub prober: Option<Prober>,
}

impl Driver {
    /// A driver that has not started yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self {
            node: parts.node,
            placements: parts.placements,
            instances: parts.instances,
            adverts: parts.adverts,
            links: parts.links,
            requests: parts.requests,
            announcer: parts.announcer,
            flight: parts.flight,
            prober: parts.prober,
            notices: parts.notices,
            programs: parts.programs,
            incarnation: parts.incarnation,
            pending: Pending::default(),
            counters: LoopCounters::default(),
            buffer: Box::new([0; MAX_DATAGRAM]),
            transmit_failing: false,
            probes_failing: false,
            ending: None,
        }
    }

    /// Runs until one of the requests to end was carried out. Whatever ends it, nothing is claimed
    /// by this node afterwards: unless it was [`Request::Restart`], after which everything is as it
    /// was, until its lease ends.
    ///
    /// # Errors
    /// If the sockets or the poll fail for good.
    pub fn run(mut self) -> io::Result<()> {
        self.node.handle_startup(clock::now());
        self.drain();
        let result = self.turns();
        if result.is_ok() && !self.node.is_stopped() {
            // Nobody took over in time: told again, the machine releases at once, and says so.
            self.node.handle_shutdown(clock::now());
            self.drain();
        }
        let restarts = self.ending.is_some_and(|ending| ending.restarts);
        if result.is_ok() && restarts && self.node.is_stopped() {
            return Ok(());
        }
        for placement in self.placements.values() {
            // What was handed over goes on draining.
            if self.instances.claimed(placement.slot)?.is_some() {
                self.instances.release(placement.slot, None)?;
            }
        }
        result
    }

    fn turns(&mut self) -> io::Result<()> {
        while !self.has_ended() {
            let news = self.wait()?;
            // News first: an advert that waits in the queue may make a timeout moot. Timeouts are
            // judged as of before: were this thread held up in between, news would have come that
            // it has not looked at.
            let woken = news.looked_at;
            if news.links {
                self.feed_links()?;
            }
            if news.adverts {
                self.feed_adverts()?;
            }
            if news.requests {
                self.feed_requests()?;
            }
            self.feed_dataplane();
            self.feed_timeout(woken);
            self.look_after_interfaces();
            self.flight.transmit_failing(self.transmit_failing);
        }
        Ok(())
    }

    fn has_ended(&self) -> bool {
        self.ending
            .is_some_and(|ending| self.node.is_stopped() || clock::now() >= ending.deadline)
    }

    /// The loop ends when the machine is done, or after `bound`.
    fn end_within(&mut self, bound: Duration, restarts: bool) {
        self.ending = Some(Ending {
            deadline: clock::now() + bound,
            restarts,
        });
    }

    /// Sleeps until something can be read or the machine's next timeout. Answers what can be read: if
    /// it was woken in time, what the kernel says; else all, as things may have changed since.
    fn wait(&mut self) -> io::Result<News> {
        let end = self.ending.map(|ending| ending.deadline);
        let deadline = [self.node.poll_timeout(), self.pending.due(), end];
        let deadline = deadline.into_iter().flatten().min();
        let timeout = deadline.map(|deadline| {
            let left = deadline.saturating_since(clock::now());
            Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(left.subsec_nanos()),
            }
        });
        let mut sources = [
            PollFd::new(&self.adverts, PollFlags::IN),
            PollFd::new(&self.links, PollFlags::IN),
            PollFd::new(&self.requests, PollFlags::IN),
        ];
        match poll(&mut sources, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        self.counters.wakeups += 1;
        let looked_at = clock::now();
        let late = deadline.is_some_and(|deadline| looked_at > deadline + IN_TIME);
        let [adverts, links, requests] = sources.map(|source| late || !source.revents().is_empty());
        Ok(News {
            looked_at,
            adverts,
            links,
            requests,
        })
    }

    fn feed_adverts(&mut self) -> io::Result<()> {
        for _ in 0..DATAGRAMS_PER_TURN {
            let Some((from, datagram)) = self.adverts.receive(&mut self.buffer)? else {
                break;
            };
            self.node.handle_datagram(from, datagram, clock::now());
            self.drain();
        }
        Ok(())
    }

    fn feed_links(&mut self) -> io::Result<()> {
        let mut events = Vec::new();
        self.links.receive(|event| events.push(event))?;
        for event in events {
            match event {
                LinkEvent::Is(interface) => self.interface_is(&interface),
                LinkEvent::Deleted { index } => self.interface_deleted(index),
                LinkEvent::Listed { present } => self.interfaces_listed(&present),
            }
            self.drain();
        }
        Ok(())
    }

    fn feed_requests(&mut self) -> io::Result<()> {
        self.requests.acknowledge()?;
        for _ in 0..REQUESTS_PER_TURN {
            let Some(request) = self.requests.next() else {
                return Ok(());
            };
            self.handle_request(request);
            self.drain();
        }
        // There may be more: the next turn looks.
        self.requests.remind()
    }

    fn feed_timeout(&mut self, now: Instant) {
        let Some(deadline) = self.node.poll_timeout().filter(|deadline| *deadline <= now) else {
            return;
        };
        let late = u64::try_from(now.saturating_since(deadline).as_nanos()).unwrap_or(u64::MAX);
        self.counters.timer_late_max_ns = self.counters.timer_late_max_ns.max(late);
        self.node.handle_timeout(now);
        self.drain();
    }

    fn handle_request(&mut self, request: Request) {
        let now = clock::now();
        match request {
            Request::Status(reply) => {
                let snapshot = Snapshot {
                    now,
                    address: self.adverts.address(),
                    node: self.node.status(now),
                    loop_counters: self.counters,
                };
                answer(reply, snapshot);
            }
            Request::Command {
                vrid,
                command,
                reply,
            } => {
                let result = self.node.handle_command(vrid, command, now).map(|()| now);
                if result.is_ok() {
                    self.flight.command(vrid, command);
                }
                answer(reply, result);
            }
            Request::Attached(interface) => self.interface_attached(&interface),
            Request::ForeignClaim(vrid) => self.node.handle_foreign_claim(vrid, now),
            Request::Guarded(interface) => self.interface_guarded(&interface),
            Request::Record { event, at } => self.flight.note_at(event, at),
            Request::Shutdown => {
                let pid = std::process::id();
                self.flight.note(Event::AgentStopping { pid });
                self.node.handle_shutdown(now);
                self.end_within(SHUTDOWN_BOUND, false);
            }
            Request::Restart { grace } => {
                let pid = std::process::id();
                self.flight.note(Event::AgentRestarting { pid, grace });
                self.node.handle_restart(now, grace);
                self.end_within(SHUTDOWN_BOUND, true);
            }
            Request::Halt => {
                // Said again, the machine does not wait for a successor any more.
                self.node.handle_shutdown(now);
                // What was left at work by a restart stays so.
                let restarts = self.ending.is_some_and(|ending| ending.restarts);
                self.end_within(Duration::ZERO, restarts);
            }
            Request::Replacing { program, reply } => {
                self.programs.push(program);
                answer(reply, ());
            }
        }
    }

    fn drain(&mut self) {
        while let Some(action) = self.node.poll_action() {
            // Before it is done: what fails then is recorded after it.
            self.flight.action(&action);
            self.apply(action);
        }
    }

    fn apply(&mut self, action: Action) {
        match action {
            Action::Lease { until, anew } => self.renew_lease(until, anew),
            Action::Claim {
                vrid,
                epoch,
                answering,
            } => {
                let now = clock::now();
                self.write(vrid, |slots, slot| slots.claim(slot, epoch, answering, now));
            }
            Action::Release { vrid, drain } => {
                self.write(vrid, |slots, slot| slots.release(slot, drain));
                self.announcer.withdraw(vrid);
            }
            Action::Probe { peer, vrids } => self.probe(peer, vrids),
            Action::Session {
                peer,
                incarnation,
                key_id,
            } => self.session(peer, incarnation, key_id),
            Action::Transmit => self.transmit(),
            Action::Announce { vrid } => self.announcer.announce(vrid),
            Action::Report(report) => self.notify(Notice::Report {
                at: clock::now(),
                report,
            }),
        }
    }

    /// Writes to the instance's slot; a failure is the machine's next input.
    fn write(&mut self, vrid: Vrid, write: impl FnOnce(&InstanceSlots, u32) -> io::Result<()>) {
        let Some(placement) = self.placements.get(&vrid) else {
            return;
        };
        if let Err(error) = write(&self.instances, placement.slot) {
            self.counters.dataplane_failures += 1;
            self.flight.note(Event::DataplaneFailed { vrid });
            self.notify(Notice::DataplaneFailed {
                vrid,
                error: error.to_string(),
            });
            self.node.handle_dataplane_failure(vrid, clock::now());
        }
    }

    /// Renews the lease; a failure is the next input of every instance.
    fn renew_lease(&mut self, until: Instant, anew: bool) {
        let vrids: Vec<Vrid> = match self.instances.renew(until, anew) {
            Ok(()) => return,
            Err(_) => self.placements.keys().copied().collect(),
        };
        for vrid in vrids {
            self.write(vrid, |slots, _| slots.renew(until, anew));
        }
    }

    /// Tells the rest of the agent, if it listens; the election never waits for a log line.
    fn notify(&mut self, notice: Notice) {
        if self.notices.try_send(notice).is_err() {
            self.counters.reports_lost += 1;
        }
    }
}

/// Answers a request; whoever asked may have gone away meanwhile.
fn answer<T>(reply: oneshot::Sender<T>, value: T) {
    if reply.send(value).is_err() {
        tracing::debug!("nobody waits for the answer any more");
    }
}

/// Time the machine may take to hand over before it is given up.
pub const SHUTDOWN_BOUND: Duration = Duration::from_secs(2);
