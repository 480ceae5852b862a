//! What the data plane reports: conflicts, and log lines when they are switched on.

use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use aya::Ebpf;
use aya::maps::{MapData, RingBuf};
use aya_log::EbpfLogger;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use tokio::sync::mpsc;
use tracing::{debug, error};
use vip_common::abi::{ConflictKind, Event};

use crate::error::RunError;

/// Another station claimed a VIP while this node held a valid lease for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conflict {
    /// How.
    pub kind: ConflictKind,
    /// The VIP.
    pub vip: IpAddr,
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
            vip: Ipv6Addr::from(event.address).to_canonical(),
            mac: event.mac,
            ifindex: event.ifindex,
            vlan: event.vlan,
        })
    }
}

/// The thread that reads the data plane's ring buffers; ends when dropped.
#[derive(Debug)]
pub struct EventReader {
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl EventReader {
    /// Starts reading. Conflicts that nobody takes in time are dropped: the data plane counts them.
    ///
    /// # Errors
    /// [`RunError::Io`].
    pub fn start(
        ebpf: &mut Ebpf,
        events: RingBuf<MapData>,
        conflicts: mpsc::Sender<Conflict>,
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
            .spawn(move || read(events, logger, &conflicts, &stopped))
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
            if let Some(conflict) = Conflict::parse(&record)
                && conflicts.try_send(conflict).is_err()
            {
                debug!("a conflict was not reported: too many at once");
            }
        }
    }
}
