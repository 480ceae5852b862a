//! What the control side asks of the election thread, and how it wakes it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use tokio::sync::oneshot;
use vip_proto::election::{Command, Refusal};
use vip_proto::node::NodeStatus;
use vip_proto::{Instant, NodeAddress, Vrid};

use crate::flight::Event;
use crate::host::interface::Interface;

/// A request to the election thread.
#[derive(Debug)]
pub enum Request {
    /// What is known now?
    Status(oneshot::Sender<Snapshot>),
    /// An operator's command.
    Command {
        /// Which instance.
        vrid: Vrid,
        /// What to do.
        command: Command,
        /// Whether it was accepted, and when.
        reply: oneshot::Sender<Result<Instant, Refusal>>,
    },
    /// Remember something that happened elsewhere in the agent.
    Record {
        /// What.
        event: Event,
        /// When.
        at: Instant,
    },
    /// An interface that was gone, or had lost the data plane, is there with the data plane attached.
    Attached(Interface),
    /// Another station claims a VIP or the identifier of this instance, and it is to be given up.
    ForeignClaim(Vrid),
    /// What an interface has in its XDP slot; nothing else in it counts.
    Guarded(Interface),
    /// From now on this is the data plane's program, too: it is about to replace the one on the
    /// interfaces.
    Replacing {
        /// Kernel's number of the program.
        program: u32,
        /// Answered once it is known.
        reply: oneshot::Sender<()>,
    },
    /// Hand everything over to the peers, and end.
    Shutdown,
    /// Tell the peers that another agent goes on with the data plane within this time, and end: it
    /// stays as it is.
    Restart {
        /// How long the data plane goes on by itself.
        grace: Duration,
    },
    /// Release everything and end, now.
    Halt,
}

/// The state of the election thread at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// The moment.
    pub now: Instant,
    /// This node's address.
    pub address: NodeAddress,
    /// The elections and peers.
    pub node: NodeStatus,
    /// What the thread counts itself.
    pub loop_counters: LoopCounters,
}

/// How the election thread is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoopCounters {
    /// Times the thread woke up.
    pub wakeups: u64,
    /// The latest a timer was ever handled, in nanoseconds after its time.
    pub timer_late_max_ns: u64,
    /// Reports that were dropped because nobody took them in time.
    pub reports_lost: u64,
    /// Writes to the data plane that failed.
    pub dataplane_failures: u64,
    /// Liveness probes sent.
    pub probes_sent: u64,
    /// Liveness probes that could not be sent by any link.
    pub probes_failed: u64,
}

/// The asking end.
#[derive(Debug, Clone)]
pub struct Requests {
    sender: Sender<Request>,
    wake: Arc<OwnedFd>,
}

/// The election thread's end.
#[derive(Debug)]
pub struct RequestQueue {
    receiver: Receiver<Request>,
    wake: Arc<OwnedFd>,
}

/// The election thread has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the election thread has ended")]
pub struct Ended;

/// Makes both ends. Unbounded: requests come from operators and interface changes, not from packets.
///
/// # Errors
/// What the kernel answers when asked for an eventfd.
pub fn requests() -> io::Result<(Requests, RequestQueue)> {
    let wake = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
    let (sender, receiver) = channel();
    Ok((
        Requests {
            sender,
            wake: Arc::clone(&wake),
        },
        RequestQueue { receiver, wake },
    ))
}

impl Requests {
    /// Queues the request and wakes the thread.
    ///
    /// # Errors
    /// [`Ended`].
    pub fn send(&self, request: Request) -> Result<(), Ended> {
        self.sender.send(request).map_err(|_| Ended)?;
        wake(&self.wake).map_err(|_| Ended)
    }

    /// What is known now.
    ///
    /// # Errors
    /// [`Ended`].
    pub async fn snapshot(&self) -> Result<Snapshot, Ended> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::Status(reply))?;
        answer.await.map_err(|_| Ended)
    }
}

fn wake(event: &OwnedFd) -> io::Result<()> {
    match rustix::io::write(event, &1_u64.to_ne_bytes()) {
        // A counter that is full wakes just as well.
        Ok(_) | Err(rustix::io::Errno::AGAIN) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

impl RequestQueue {
    /// The next request, if one waits.
    pub fn next(&self) -> Option<Request> {
        self.receiver.try_recv().ok()
    }

    /// Wakes this end once more, for requests that were left.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn remind(&self) -> io::Result<()> {
        wake(&self.wake)
    }

    /// Takes notice of having been woken; call before draining.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn acknowledge(&self) -> io::Result<()> {
        match rustix::io::read(&*self.wake, &mut [0_u8; 8]) {
            Ok(_) | Err(rustix::io::Errno::AGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for RequestQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
