//! A host that uses the VIPs, with the tools a person would use.

use std::net::IpAddr;
use std::ops::Deref;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::host::{Host, parse_mac};
use crate::process::{HELPER_LIMIT, output_within};

/// A host without an agent.
#[derive(Debug, Clone)]
pub struct Client {
    /// Where it lives.
    host: Host,
}

impl Deref for Client {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

impl Client {
    /// Gives a host the client's tools.
    #[must_use]
    pub fn new(host: Host) -> Self {
        Self { host }
    }

    /// Sends `count` echo requests, 20 ms apart; returns how many were answered within a second.
    ///
    /// # Errors
    /// If `ping` cannot be run or understood.
    pub fn ping(&self, target: IpAddr, count: u32) -> Result<u32> {
        let (count, target) = (count.to_string(), target.to_string());
        let output = self.tolerant(
            "ping",
            &["-n", "-i", "0.02", "-W", "1", "-c", &count, &target],
        )?;
        let (text, errors) = (lossy(&output.stdout), lossy(&output.stderr));
        if errors.contains("unreachable") {
            // No route: nothing was sent.
            return Ok(0);
        }
        let received = text.lines().find_map(|line| {
            line.split(", ")
                .find_map(|part| part.strip_suffix(" received")?.trim().parse().ok())
        });
        received.with_context(|| format!("what ping said: {text}{errors}"))
    }

    /// Fetches `http://TARGET/` within 2 s; returns the body without surrounding blanks.
    ///
    /// # Errors
    /// If there is no good answer in time.
    pub fn curl(&self, target: IpAddr) -> Result<String> {
        let url = match target {
            IpAddr::V4(address) => format!("http://{address}/"),
            IpAddr::V6(address) => format!("http://[{address}]/"),
        };
        let arguments = [
            "--silent",
            "--show-error",
            "--fail",
            "--globoff",
            "--max-time",
            "2",
            &url,
        ];
        Ok(self.run("curl", &arguments)?.trim().to_owned())
    }

    /// Asks by ARP, `count` times a second apart, who has an IPv4 address: first by broadcast, once
    /// answered by unicast. Returns the MAC address of each answer.
    ///
    /// # Errors
    /// If `arping` cannot be run.
    pub fn arping(&self, target: std::net::Ipv4Addr, count: u32) -> Result<Vec<[u8; 6]>> {
        let (count, target) = (count.to_string(), target.to_string());
        let interface = &self.eth0().name;
        let output = self.tolerant(
            "arping",
            &["-c", &count, "-w", &count, "-I", interface, &target],
        )?;
        let (text, errors) = (lossy(&output.stdout), lossy(&output.stderr));
        ensure!(text.contains("Sent "), "what arping said: {text}{errors}");
        let mac = |line: &str| parse_mac(line.split_once('[')?.1.split_once(']')?.0);
        Ok(text.lines().filter_map(mac).collect())
    }

    /// The MAC address its neighbour table holds for an address, if any.
    ///
    /// # Errors
    /// If the table cannot be read.
    pub fn neighbour(&self, address: IpAddr) -> Result<Option<[u8; 6]>> {
        let text = self.namespace().ip(&format!("neigh show {address}"))?;
        Ok(text
            .split_whitespace()
            .skip_while(|word| *word != "lladdr")
            .nth(1)
            .and_then(parse_mac))
    }

    /// Empties its neighbour tables.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn forget_neighbours(&self) -> Result<()> {
        self.namespace().ip("neigh flush all").map(drop)
    }

    /// Runs a program that may well fail, for what it prints.
    fn tolerant(&self, program: &str, arguments: &[&str]) -> Result<Output> {
        let limit = HELPER_LIMIT + Duration::from_secs(40);
        self.namespace()
            .enter(|| output_within(Command::new(program).args(arguments), limit))
    }
}

/// A program's output as text.
fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
