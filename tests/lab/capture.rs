//! What was really on the wire: a tcpdump and a reader of its file.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;

use crate::clock::realtime_offset_ns;
use crate::host::Host;
use crate::netns::NetNs;
use crate::process::Process;
use crate::sweep;
use crate::wait::wait_until;

/// Numbers the captures of this process.
static CAPTURES: AtomicU32 = AtomicU32::new(1);
/// First field of a capture file with nanoseconds, in this machine's byte order.
const MAGIC: u32 = 0xa1b2_3c4d;
/// Length of the header of a capture file.
const FILE_HEADER: usize = 24;
/// Length of the header of each frame in it.
const RECORD_HEADER: usize = 16;

/// A running capture on one interface.
#[derive(Debug)]
pub struct Capture {
    /// tcpdump.
    process: Process,
    /// The file it writes.
    file: PathBuf,
    /// Wall clock minus monotonic clock.
    offset_ns: u64,
}

/// A captured frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// When it was seen, on the clock of [`crate::clock::now_ns`].
    pub at_ns: u64,
    /// All of it (at most 2048 bytes), from the destination MAC address on.
    pub bytes: Vec<u8>,
}

impl Capture {
    /// Captures on an interface what matches `filter` (pcap-filter(7); empty: all). On return it is
    /// running. On a host's port in the switch one sees what that host sends and gets; on a client's
    /// interface what reaches the client.
    ///
    /// # Errors
    /// If tcpdump does not start.
    pub fn start(namespace: &NetNs, interface: &str, filter: &str) -> Result<Self> {
        let prefix = namespace
            .name()
            .splitn(6, '-')
            .take(5)
            .collect::<Vec<_>>()
            .join("-");
        let number = CAPTURES.fetch_add(1, Ordering::Relaxed);
        let file = sweep::run_dir(&prefix).join(format!("capture-{number}.pcap"));
        let log = file.with_extension("txt");
        let path = file.to_str().context("a path in UTF-8")?;
        // The buffer has a place of the greatest length for each frame: without a bound on that, a
        // burst of a few dozen would not fit.
        let options = "-s 2048 --immediate-mode -n -U -Z root -B 16384 --time-stamp-precision=nano";
        let mut command = Command::new("tcpdump");
        command
            .args(options.split(' '))
            .args(["-i", interface, "-w", path]);
        command.args(filter.split_whitespace());
        let mut process = namespace.enter(|| Process::spawn("tcpdump", &mut command, &log))?;
        wait_until(
            "tcpdump to listen",
            Duration::from_secs(10),
            || match process.exited() {
                Ok(None) if process.log_tail().contains("listening on") => Ok(Ok(())),
                Ok(None) => Err(process.log_tail()),
                ended => Ok(Err(format!(
                    "tcpdump ended: {ended:?}: {}",
                    process.log_tail()
                ))),
            },
        )?
        .map_err(anyhow::Error::msg)?;
        Ok(Self {
            process,
            file,
            offset_ns: realtime_offset_ns(),
        })
    }

    /// Captures on the switch side of a host's first interface: what the host itself sends and gets.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn at_port_of(host: &Host, filter: &str) -> Result<Self> {
        Self::start(host.eth0().port.switch(), host.eth0().port.name(), filter)
    }

    /// Captures on a host's first interface.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn at(host: &Host, filter: &str) -> Result<Self> {
        Self::start(host.namespace(), &host.eth0().name, filter)
    }

    /// Ends the capture and returns the frames in their order.
    ///
    /// # Errors
    /// If frames were lost by the capture itself, or its file is not understood.
    pub fn stop(mut self) -> Result<Vec<Frame>> {
        // tcpdump reads frames as they come; a moment for those on their way.
        std::thread::sleep(Duration::from_millis(50));
        self.process.signal(Signal::INT)?;
        self.process.wait(Duration::from_secs(10))?;
        let text = self.process.log_tail();
        let complete = text
            .lines()
            .any(|line| line == "0 packets dropped by kernel");
        ensure!(complete, "the capture is not complete: {text}");
        let bytes =
            fs::read(&self.file).with_context(|| format!("reading {}", self.file.display()))?;
        parse(&bytes, self.offset_ns)
    }
}

impl Frame {
    /// Destination MAC address; zero if the frame is too short.
    #[must_use]
    pub fn destination(&self) -> [u8; 6] {
        self.field(0).unwrap_or_default()
    }

    /// Source MAC address; zero if the frame is too short.
    #[must_use]
    pub fn source(&self) -> [u8; 6] {
        self.field(6).unwrap_or_default()
    }

    /// `EtherType`, of the VLAN tag if there is one; 0 if the frame is too short.
    #[must_use]
    pub fn ether_type(&self) -> u16 {
        u16::from_be_bytes(self.field(12).unwrap_or_default())
    }

    /// N bytes at an offset.
    fn field<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.bytes.get(offset..offset + N)?.try_into().ok()
    }
}

/// How many of these frames were sent by this MAC address in the time from `from_ns` to `to_ns`.
#[must_use]
pub fn count_from(frames: &[Frame], mac: [u8; 6], from_ns: u64, to_ns: u64) -> usize {
    frames
        .iter()
        .filter(|frame| frame.source() == mac && (from_ns..to_ns).contains(&frame.at_ns))
        .count()
}

/// Reads a capture file (pcap-savefile(5), nanoseconds).
fn parse(bytes: &[u8], offset_ns: u64) -> Result<Vec<Frame>> {
    let number = |at: usize| -> Result<u32> {
        let field = bytes
            .get(at..at + 4)
            .context("a capture file that ends early")?;
        Ok(u32::from_ne_bytes(field.try_into()?))
    };
    if number(0)? != MAGIC {
        bail!("not a capture file with nanoseconds");
    }
    let mut frames = Vec::new();
    let mut at = FILE_HEADER;
    while at < bytes.len() {
        let wall_ns = u64::from(number(at)?) * 1_000_000_000 + u64::from(number(at + 4)?);
        let length = usize::try_from(number(at + 8)?)?;
        let start = at + RECORD_HEADER;
        let data = bytes
            .get(start..start + length)
            .context("a frame that ends early")?;
        frames.push(Frame {
            at_ns: wall_ns.saturating_sub(offset_ns),
            bytes: data.to_vec(),
        });
        at = start + length;
    }
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_a_capture_file_are_read_with_their_times() {
        let mut file = vec![0; FILE_HEADER];
        file[..4].copy_from_slice(&MAGIC.to_ne_bytes());
        for (second, nano, length) in [(5_u32, 7_u32, 14_u32), (6, 0, 3)] {
            for field in [second, nano, length, length] {
                file.extend_from_slice(&field.to_ne_bytes());
            }
            file.extend((0..length).map(|byte| u8::try_from(byte).unwrap()));
        }
        let frames = parse(&file, 1_000_000_000).unwrap();
        assert_eq!(frames.len(), 2);
        assert_eq!(frames[0].at_ns, 4_000_000_007);
        assert_eq!(frames[0].source(), [6, 7, 8, 9, 10, 11]);
        assert_eq!(frames[0].ether_type(), 0x0c0d);
        assert_eq!(frames[1].source(), [0; 6]);
        assert_eq!(
            count_from(&frames, [6, 7, 8, 9, 10, 11], 4_000_000_007, 4_000_000_008),
            1
        );
        assert!(parse(&file[..file.len() - 1], 0).is_err());
        assert!(parse(&[0; FILE_HEADER], 0).is_err());
    }
}
