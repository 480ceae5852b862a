//! What the data plane reports: conflicts, and log lines when they are switched on.

use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use aya::Ebpf;
use aya::maps::{MapData, RingBuf};
use aya_log::EbpfLogger;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use tokio::sync::mpsc;
use tracing::{debug, error};
use vip_common::abi::{ConflictKind, Event};

use crate::error::RunError;

/// Another station claimed a VIP, or the identifier of an instance, while this node was Active for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conflict {
    /// How.
    pub kind: ConflictKind,
    /// Number of the instance in the order of the configuration.
    pub instance: usize,
    /// The VIP; for [`ConflictKind::Vrrp`] the address of the other router.
    pub address: IpAddr,
    /// The other station's MAC address.
    pub mac: [u8; 6],
    /// The interface it was seen on.
    pub ifindex: u32,
    /// Outer VLAN, 0 when untagged.
    pub vlan: u16,
}

impl Conflict {
    fn parse(record: &[u8]) -> Option<Self> {
        let event: Event = bytemuck::try_pod_read_unaligned(record).ok()?;
        Some(Self {
            kind: ConflictKind::from_u32(event.kind)?,
            instance: usize::try_from(event.instance).ok()?,
            address: Ipv6Addr::from(event.address).to_canonical(),
            mac: event.mac,
            ifindex: event.ifindex,
            vlan: event.vlan,
        })
    }
}

/// How many conflicts of each instance were read: also those that nobody took in time.
#[derive(Debug)]
pub struct ConflictTally(Box<[AtomicU64]>);

impl ConflictTally {
    /// None yet, of this many instances.
    #[must_use]
    pub fn new(instances: usize) -> Self {
        Self((0..instances).map(|_| AtomicU64::new(0)).collect())
    }

    /// How many there were of this instance, by its number in the order of the configuration.
    #[must_use]
    pub fn of(&self, instance: usize) -> u64 {
        self.0
            .get(instance)
            .map_or(0, |count| count.load(Ordering::Relaxed))
    }

    fn count(&self, instance: usize) {
        if let Some(count) = self.0.get(instance) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The thread that reads the data plane's ring buffers; ends when dropped.
#[derive(Debug)]
pub struct EventReader {
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl EventReader {
    /// Starts reading. Conflicts that nobody takes in time are counted and dropped.
    ///
    /// # Errors
    /// [`RunError::Io`].
    pub fn start(
        ebpf: &mut Ebpf,
        events: RingBuf<MapData>,
        conflicts: mpsc::Sender<Conflict>,
        tally: Arc<ConflictTally>,
    ) -> Result<Self, RunError> {
        let what = "starting the reader of data-plane events";
        let logger = match EbpfLogger::init(ebpf) {
            Ok(logger) => Some(logger),
            Err(error) => {
                debug!(%error, "the data plane has no log statements");
                None
            }
        };
        let stop =
            eventfd(0, EventfdFlags::CLOEXEC).map_err(|error| RunError::io(what)(error.into()))?;
        let stop = Arc::new(stop);
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("vip-events".to_owned())
            .spawn(move || read(events, logger, &conflicts, &tally, &stopped))
            .map_err(RunError::io(what))?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for EventReader {
    fn drop(&mut self) {
        if let Err(error) = rustix::io::write(&*self.stop, &1_u64.to_ne_bytes()) {
            error!(%error, "stopping the reader of data-plane events");
            return;
        }
        if self
            .thread
            .take()
            .is_some_and(|thread| thread.join().is_err())
        {
            error!("the reader of data-plane events panicked");
        }
    }
}

fn read(
    mut events: RingBuf<MapData>,
    mut logger: Option<EbpfLogger<&'static dyn log::Log>>,
    conflicts: &mpsc::Sender<Conflict>,
    tally: &ConflictTally,
    stop: &OwnedFd,
) {
    loop {
        {
            let log_fd = logger.as_ref().map_or_else(|| stop.as_fd(), AsFd::as_fd);
            let mut sources = [
                PollFd::new(&events, PollFlags::IN),
                PollFd::from_borrowed_fd(log_fd, PollFlags::IN),
                PollFd::new(stop, PollFlags::IN),
            ];
            match poll(&mut sources, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    error!(%error, "waiting for data-plane events");
                    return;
                }
            }
            if !sources[2].revents().is_empty() {
                return;
            }
        }
        if let Some(logger) = &mut logger {
            logger.flush();
        }
        while let Some(record) = events.next() {
            let Some(conflict) = Conflict::parse(&record) else {
                continue;
            };
            tally.count(conflict.instance);
            if conflicts.try_send(conflict).is_err() {
                debug!("a conflict was not reported: too many at once");
            }
        }
    }
}
