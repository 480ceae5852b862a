//! A client that asks all the time, and what it saw: losses, the longest gap, who answered.

use std::collections::BTreeMap;
use std::fmt;
use std::io::IoSliceMut;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::num::NonZeroU64;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::setpriority_process;
use rustix::thread::set_current_timer_slack;

use crate::clock::{now_ns, realtime_offset_ns};
use crate::host::Host;
use crate::responder::{NICE, PORT, with_room};

/// How long after the end of an interval an answer may still come before it counts as lost.
const GRACE_NS: u64 = 100_000_000;

/// Asks the echo service of one address at a fixed rate until it is dropped. Addresses are resolved
/// by the client's own kernel.
#[derive(Debug)]
pub struct Probe {
    /// Tells the thread to end.
    stop: Arc<AtomicBool>,
    /// What has been seen so far.
    record: Arc<Mutex<Record>>,
    /// Sends and receives.
    thread: Option<JoinHandle<()>>,
}

/// Everything a probe has seen.
#[derive(Debug, Default)]
struct Record {
    /// The questions, by number.
    sent: Vec<Sent>,
    /// The answers in the order of arrival.
    answers: Vec<Answer>,
    /// Names of those who have answered.
    names: Vec<String>,
}

/// One question.
#[derive(Debug, Clone, Copy)]
struct Sent {
    /// When it was sent.
    at_ns: u64,
    /// How late, compared with the fixed rate: the probe's own stall.
    late_ns: u64,
    /// Whether the kernel refused to send it.
    refused: bool,
    /// Whether it was answered.
    answered: bool,
}

/// One answer.
#[derive(Debug, Clone, Copy)]
struct Answer {
    /// Number of the question.
    question: usize,
    /// When it arrived, by the kernel.
    at_ns: u64,
    /// Index of the name of who sent it.
    by: usize,
    /// Whether the question had an answer already.
    duplicate: bool,
}

/// What a probe saw in an interval. All times in nanoseconds of [`now_ns`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Questions sent.
    pub sent: u64,
    /// Questions without an answer.
    pub lost: u64,
    /// Questions the client's kernel could not send (no neighbour, no carrier); also in `lost`.
    pub refused: u64,
    /// Second and further answers to one question.
    pub duplicates: u64,
    /// Longest time without an answer.
    pub gap_ns: u64,
    /// The last answer before that gap (or the beginning of the interval, if there was none).
    pub gap_start_ns: u64,
    /// The first answer after that gap (or the end of the interval, if there was none).
    pub gap_end_ns: u64,
    /// How long nobody would have been answered: the longest time without an answer, less the time
    /// there was no question. Never more than [`Self::gap_ns`]; next to nothing when all went well.
    pub outage_ns: u64,
    /// Who sent the last answer before the gap.
    pub before: Option<String>,
    /// Who sent the first answer after the gap.
    pub after: Option<String>,
    /// Who sent the last answer of all.
    pub last: Option<String>,
    /// Answers by name.
    pub answers: BTreeMap<String, u64>,
    /// Times at which a different one began to answer, with its name; the first answer included.
    pub changes: Vec<(u64, String)>,
    /// The longest the probe itself was late to send: gaps of this size mean nothing.
    pub stall_ns: u64,
}

impl Probe {
    /// Starts asking `target` from `host`, each `interval` (1 ms is a good one).
    ///
    /// # Errors
    /// If the host cannot open a socket.
    pub fn start(host: &Host, target: IpAddr, interval: Duration) -> Result<Self> {
        let unspecified: SocketAddr = match target {
            IpAddr::V4(_) => ([0; 4], 0).into(),
            IpAddr::V6(_) => ([0_u16; 8], 0).into(),
        };
        let socket = host
            .namespace()
            .enter(|| Ok(UdpSocket::bind(unspecified)?))?;
        socket
            .set_nonblocking(true)
            .context("making the probe's socket nonblocking")?;
        with_room(&socket)?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)
            .context("asking for the times of arrival")?;
        let stop = Arc::new(AtomicBool::new(false));
        let record = Arc::new(Mutex::new(Record::default()));
        let mut worker = Worker {
            socket,
            target: SocketAddr::new(target, PORT),
            interval_ns: u64::try_from(interval.as_nanos())
                .context("an interval")?
                .max(1),
            stop: stop.clone(),
            record: record.clone(),
        };
        let thread = std::thread::spawn(move || worker.run());
        Ok(Self {
            stop,
            record,
            thread: Some(thread),
        })
    }

    /// What was seen from `from_ns` to `to_ns`; waits until answers to the last question had their time.
    #[must_use]
    pub fn report(&self, from_ns: u64, to_ns: u64) -> Report {
        let ready = to_ns + GRACE_NS;
        std::thread::sleep(Duration::from_nanos(ready.saturating_sub(now_ns())));
        self.record
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .report(from_ns, to_ns)
    }

    /// Number of answers so far.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.record
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .answers
            .len()
    }

    /// Who sent the last answer so far.
    #[must_use]
    pub fn answered_by(&self) -> Option<String> {
        let record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        let last = record.answers.last()?;
        Some(record.names[last.by].clone())
    }

    /// Waits until someone answers.
    ///
    /// # Errors
    /// If nobody does within `timeout`.
    pub fn wait_for_answer(&self, timeout: Duration) -> Result<()> {
        let already = self.answered();
        crate::wait_until("an answer to the probe", timeout, || {
            if self.answered() > already {
                Ok(())
            } else {
                Err("none".to_owned())
            }
        })
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in it has been printed already.
            drop(thread.join());
        }
    }
}

/// The probe's thread.
struct Worker {
    /// Nonblocking.
    socket: UdpSocket,
    /// Whom to ask.
    target: SocketAddr,
    /// Time between questions.
    interval_ns: u64,
    /// Set when it is to end.
    stop: Arc<AtomicBool>,
    /// Where it writes.
    record: Arc<Mutex<Record>>,
}

impl Worker {
    /// Sends when it is time, sleeps in poll(2) in between, so that answers are stamped as they come.
    fn run(&mut self) {
        // Without the privilege it is only less exact.
        setpriority_process(None, NICE).ok();
        // Timers are late by 50 µs otherwise.
        set_current_timer_slack(NonZeroU64::new(1)).ok();
        let mut due_ns = now_ns();
        while !self.stop.load(Ordering::Relaxed) {
            let now = now_ns();
            if now >= due_ns {
                self.ask(now, now - due_ns);
                // After a stall go on from now: a burst of late questions would say nothing.
                due_ns = (due_ns + self.interval_ns).max(now);
            }
            let left = due_ns.saturating_sub(now_ns());
            let timeout = Timespec {
                tv_sec: i64::try_from(left / 1_000_000_000).unwrap_or(0),
                tv_nsec: i64::try_from(left % 1_000_000_000).unwrap_or(0),
            };
            let mut wanted = [PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::IN)];
            match poll(&mut wanted, Some(&timeout)) {
                Ok(0) | Err(_) => {}
                Ok(_) => self.collect(),
            }
        }
    }

    /// Sends one question.
    fn ask(&self, now: u64, late_ns: u64) {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        let number = u64::try_from(record.sent.len()).unwrap_or(u64::MAX);
        let refused = self
            .socket
            .send_to(&number.to_be_bytes(), self.target)
            .is_err();
        record.sent.push(Sent {
            at_ns: now,
            late_ns,
            refused,
            answered: false,
        });
    }

    /// Takes all answers that are there. They bear the time at which the kernel got them: this thread
    /// may be late.
    fn collect(&self) {
        let mut buffer = [0; 1024];
        let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
        let offset_ns = realtime_offset_ns();
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let mut parts = [IoSliceMut::new(&mut buffer)];
            let descriptor = self.socket.as_raw_fd();
            let received = recvmsg::<SockaddrStorage>(
                descriptor,
                &mut parts,
                Some(&mut control),
                MsgFlags::empty(),
            );
            // Nothing more, or an ICMP error, which is no answer.
            let Ok(message) = received else { return };
            let from = message.address.as_ref().and_then(socket_address);
            let stamp_ns = message.cmsgs().ok().and_then(|mut all| all.find_map(stamp));
            let length = message.bytes;
            if from == Some(self.target) {
                let at_ns = stamp_ns.map_or_else(now_ns, |stamp| stamp.saturating_sub(offset_ns));
                record.note(at_ns, &buffer[..length]);
            }
        }
    }
}

/// An IP address and port.
fn socket_address(from: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = from
        .as_sockaddr_in()
        .map(|v4| SocketAddr::from((v4.ip(), v4.port())));
    v4.or_else(|| {
        from.as_sockaddr_in6()
            .map(|v6| SocketAddr::from((v6.ip(), v6.port())))
    })
}

/// The time of arrival on the wall clock.
fn stamp(message: ControlMessageOwned) -> Option<u64> {
    let ControlMessageOwned::ScmTimestampns(time) = message else {
        return None;
    };
    let seconds = u64::try_from(time.tv_sec()).ok()?;
    Some(seconds * 1_000_000_000 + u64::try_from(time.tv_nsec()).ok()?)
}

impl Record {
    /// Notes an answer: the number of the question and the answerer's name.
    fn note(&mut self, at_ns: u64, datagram: &[u8]) {
        let Some((number, name)) = datagram.split_first_chunk::<8>() else {
            return;
        };
        let Ok(number) = usize::try_from(u64::from_be_bytes(*number)) else {
            return;
        };
        let Some(question) = self.sent.get_mut(number) else {
            return;
        };
        let duplicate = std::mem::replace(&mut question.answered, true);
        let name = String::from_utf8_lossy(name);
        let by = self
            .names
            .iter()
            .position(|known| *known == name)
            .unwrap_or_else(|| {
                self.names.push(name.into_owned());
                self.names.len() - 1
            });
        // The wall clock may have been set back a little.
        let at_ns = self
            .answers
            .last()
            .map_or(at_ns, |last| at_ns.max(last.at_ns));
        self.answers.push(Answer {
            question: number,
            at_ns,
            by,
            duplicate,
        });
    }

    /// See [`Probe::report`].
    fn report(&self, from_ns: u64, to_ns: u64) -> Report {
        let first = self
            .answers
            .partition_point(|answer| answer.at_ns < from_ns);
        let end = self.answers.partition_point(|answer| answer.at_ns < to_ns);
        let within = &self.answers[first..end];
        let name = |answer: &Answer| self.names[answer.by].clone();
        let mut report = Report {
            sent: 0,
            lost: 0,
            refused: 0,
            duplicates: 0,
            gap_ns: 0,
            gap_start_ns: from_ns,
            gap_end_ns: from_ns,
            outage_ns: 0,
            before: None,
            after: None,
            last: within.last().map(name),
            answers: BTreeMap::new(),
            changes: Vec::new(),
            stall_ns: 0,
        };
        let first_sent = self.sent.partition_point(|sent| sent.at_ns < from_ns);
        let end_sent = self.sent.partition_point(|sent| sent.at_ns < to_ns);
        for question in &self.sent[first_sent..end_sent] {
            report.sent += 1;
            report.lost += u64::from(!question.answered);
            report.refused += u64::from(question.refused);
            report.stall_ns = report.stall_ns.max(question.late_ns);
        }
        // A gap may have begun before the interval.
        let mut previous = first.checked_sub(1).map(|index| &self.answers[index]);
        for answer in within {
            *report.answers.entry(name(answer)).or_default() += 1;
            report.duplicates += u64::from(answer.duplicate);
            if report
                .changes
                .last()
                .is_none_or(|(_, by)| *by != self.names[answer.by])
            {
                report.changes.push((answer.at_ns, name(answer)));
            }
            let start = previous.map_or(from_ns, |answer| answer.at_ns);
            report.widen(start, answer.at_ns, previous.map(name), Some(name(answer)));
            let unasked = previous.map_or(0, |previous| self.pause_after(previous.question));
            let outage = answer.at_ns.saturating_sub(start).saturating_sub(unasked);
            report.outage_ns = report.outage_ns.max(outage);
            previous = Some(answer);
        }
        let start = previous.map_or(from_ns, |answer| answer.at_ns);
        report.widen(start, to_ns, previous.map(name), None);
        // Until the next question there was nothing to be answered.
        let asked = previous.map_or(start, |previous| {
            start + self.pause_after(previous.question)
        });
        report.outage_ns = report.outage_ns.max(to_ns.saturating_sub(asked));
        report
    }

    /// Time from a question to the next one; the probe may have been late with it.
    fn pause_after(&self, question: usize) -> u64 {
        let at = |number: usize| self.sent.get(number).map(|sent| sent.at_ns);
        match (at(question), at(question + 1)) {
            (Some(this), Some(next)) => next.saturating_sub(this),
            _ => 0,
        }
    }
}

impl Report {
    /// Takes this gap if it is longer than the longest so far.
    fn widen(&mut self, start: u64, end: u64, before: Option<String>, after: Option<String>) {
        let gap = end.saturating_sub(start);
        if gap > self.gap_ns {
            (self.gap_ns, self.gap_start_ns, self.gap_end_ns) = (gap, start, end);
            (self.before, self.after) = (before, after);
        }
    }
}

impl fmt::Display for Report {
    /// One line for a person.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nobody = || "nobody".to_owned();
        write!(
            f,
            "{} sent, {} lost, longest gap {} ms ({} → {}), answers {:?}, probe late by at most {} ms",
            self.sent,
            self.lost,
            milliseconds(self.gap_ns),
            self.before.clone().unwrap_or_else(nobody),
            self.after.clone().unwrap_or_else(nobody),
            self.answers,
            milliseconds(self.stall_ns),
        )
    }
}

/// Nanoseconds as milliseconds with three digits, e.g. `12.345`.
#[must_use]
pub fn milliseconds(nanoseconds: u64) -> String {
    let microseconds = nanoseconds / 1_000;
    format!("{}.{:03}", microseconds / 1_000, microseconds % 1_000)
}

#[cfg(test)]
mod tests;
