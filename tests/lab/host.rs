//! A host: a namespace with interfaces on networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::lab::Lab;
use crate::netns::NetNs;
use crate::network::{Network, Port};
use crate::wait::wait_until;

/// A host. Cheap to clone: all clones are the same host.
#[derive(Debug, Clone)]
pub struct Host {
    /// Name given by the test.
    name: String,
    /// Where it lives.
    namespace: NetNs,
    /// In the order of the networks given.
    interfaces: Vec<Interface>,
    /// Its files: logs, captures, configuration.
    run_dir: PathBuf,
    /// Its BPF pins.
    pin_dir: PathBuf,
}

/// One interface of a host.
#[derive(Debug, Clone)]
pub struct Interface {
    /// `eth0`, `eth1` …
    pub name: String,
    /// 10.N.0.x with a prefix length of 24.
    pub v4: Ipv4Addr,
    /// fd00:N::x with a prefix length of 64.
    pub v6: Ipv6Addr,
    /// MAC address.
    pub mac: [u8; 6],
    /// The other end of the cable.
    pub port: Port,
}

impl Host {
    /// Creates the host and plugs it in.
    pub(crate) fn create(lab: &Lab, name: &str, networks: &[&Network]) -> Result<Self> {
        let namespace = NetNs::create(&format!("{}-{name}", lab.prefix()))?;
        for (setting, value) in SETTINGS {
            for scope in ["all", "default"] {
                namespace.sysctl(&setting.replace('*', scope), value)?;
            }
        }
        let interfaces = networks
            .iter()
            .enumerate()
            .map(|(index, network)| connect(&namespace, &format!("eth{index}"), network))
            .collect::<Result<Vec<_>>>()
            .with_context(|| format!("connecting host {name}"))?;
        let host = Self {
            name: name.to_owned(),
            namespace,
            interfaces,
            run_dir: lab.run_dir().to_owned(),
            pin_dir: lab.pin_dir().join(name),
        };
        host.wait_for_carrier(true)?;
        Ok(host)
    }

    /// Name given by the test.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it lives.
    #[must_use]
    pub fn namespace(&self) -> &NetNs {
        &self.namespace
    }

    /// Its interfaces, in the order of the networks given.
    #[must_use]
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// Its first interface.
    ///
    /// # Panics
    /// If it was made without a network.
    #[must_use]
    pub fn eth0(&self) -> &Interface {
        &self.interfaces[0]
    }

    /// IPv4 address of its first interface.
    #[must_use]
    pub fn v4(&self) -> Ipv4Addr {
        self.eth0().v4
    }

    /// IPv6 address of its first interface.
    #[must_use]
    pub fn v6(&self) -> Ipv6Addr {
        self.eth0().v6
    }

    /// MAC address of its first interface.
    #[must_use]
    pub fn mac(&self) -> [u8; 6] {
        self.eth0().mac
    }

    /// A file of this host, named `HOST.suffix`, in the lab's directory; `*.log` are shown on failure.
    #[must_use]
    pub fn file(&self, suffix: &str) -> PathBuf {
        self.run_dir.join(format!("{}.{suffix}", self.name))
    }

    /// Directory for its BPF pins.
    #[must_use]
    pub fn pin_dir(&self) -> &Path {
        &self.pin_dir
    }

    /// Runs a program on it and returns its standard output.
    ///
    /// # Errors
    /// As [`crate::run`].
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        self.namespace.run(program, arguments)
    }

    /// Adds an address to an interface (`/32` or `/128`, without duplicate address detection).
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn add_address(&self, address: IpAddr, interface: &str) -> Result<()> {
        let length = if address.is_ipv4() { "32" } else { "128 nodad" };
        self.namespace
            .ip(&format!("addr add {address}/{length} dev {interface}"))?;
        Ok(())
    }

    /// Pulls all its cables: carrier lost.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn unplug(&self) -> Result<()> {
        self.each_port(Port::unplug)
    }

    /// Plugs all its cables in again.
    ///
    /// # Errors
    /// If the kernel refuses, or the carrier does not come back.
    pub fn plug(&self) -> Result<()> {
        self.each_port(Port::plug)?;
        self.wait_for_carrier(true)
    }

    /// Cuts it off while all its links stay up: frames are lost silently in both directions.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn isolate(&self) -> Result<()> {
        self.each_port(Port::isolate)
    }

    /// Ends [`Self::isolate`].
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn heal(&self) -> Result<()> {
        self.each_port(Port::heal)
    }

    /// Waits until all interfaces have a carrier, or none.
    ///
    /// # Errors
    /// If that takes more than 5 s.
    pub fn wait_for_carrier(&self, wanted: bool) -> Result<()> {
        let word = if wanted { "LOWER_UP" } else { "NO-CARRIER" };
        wait_until(
            &format!("{word} on {}", self.name),
            Duration::from_secs(5),
            || {
                for interface in &self.interfaces {
                    let link = self
                        .namespace
                        .ip(&format!("-o link show {}", interface.name))
                        .map_err(|error| format!("{error:#}"))?;
                    if !link.contains(word) {
                        return Err(link);
                    }
                }
                Ok(())
            },
        )
    }

    /// Does the same to all its ports.
    fn each_port(&self, change: impl Fn(&Port) -> Result<()>) -> Result<()> {
        self.interfaces
            .iter()
            .try_for_each(|interface| change(&interface.port))
    }
}

/// Settings of all hosts, for `all` and for interfaces to come: quick and deterministic IPv6
/// addresses, no ARP with a VIP as sender, no reverse-path filter in the way of direct return.
const SETTINGS: [(&str, &str); 6] = [
    ("ipv6/conf/*/accept_dad", "0"),
    ("ipv6/conf/*/accept_ra", "0"),
    ("ipv6/conf/*/router_solicitations", "0"),
    ("ipv6/conf/*/disable_ipv6", "0"),
    ("ipv4/conf/*/arp_announce", "2"),
    ("ipv4/conf/*/rp_filter", "0"),
];

/// Gives a host an interface on a network.
fn connect(namespace: &NetNs, name: &str, network: &Network) -> Result<Interface> {
    let port = network.add_port(namespace, name)?;
    // Frames from a local socket carry a partial checksum, which XDP_TX and redirect would lose.
    namespace.run("ethtool", &["-K", name, "tx", "off"])?;
    namespace.ip(&format!("link set {name} up"))?;
    let (v4, v6) = (network.v4(port.number()), network.v6(port.number()));
    namespace.ip(&format!("addr add {v4}/24 dev {name}"))?;
    namespace.ip(&format!("addr add {v6}/64 dev {name} nodad"))?;
    let mac = mac_of(namespace, name)?;
    Ok(Interface {
        name: name.to_owned(),
        v4,
        v6,
        mac,
        port,
    })
}

/// The MAC address of an interface.
fn mac_of(namespace: &NetNs, interface: &str) -> Result<[u8; 6]> {
    let link = namespace.ip(&format!("-o link show {interface}"))?;
    let text = link
        .split_whitespace()
        .skip_while(|word| *word != "link/ether")
        .nth(1)
        .with_context(|| format!("no MAC address in: {link}"))?;
    parse_mac(text).with_context(|| format!("not a MAC address: {text}"))
}

/// Reads `02:00:00:00:01:02`.
#[must_use]
pub fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let bytes: Vec<u8> = text
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16))
        .collect::<Result<_, _>>()
        .ok()?;
    bytes.try_into().ok()
}
