//! A network: a bridge in a namespace of its own, the "switch".

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::{Context, Result};

use crate::host::Host;
use crate::lab::Lab;
use crate::netns::NetNs;
use crate::pass_program;

/// The bridge all ports start on.
const MAIN: &str = "br0";
/// The bridge of those who have been split off.
const OTHER: &str = "br1";

/// A network segment. Cheap to clone: all clones are the same segment.
#[derive(Debug, Clone)]
pub struct Network {
    /// Name given by the test.
    name: String,
    /// The N of its subnets.
    number: u8,
    /// Where the bridges are.
    switch: NetNs,
    /// The pinned do-nothing XDP program.
    pass: PathBuf,
    /// Ports so far; the number of a port is also the last byte of its host's addresses.
    ports: Arc<AtomicU8>,
}

/// A place to plug in: the switch side of a host's cable.
#[derive(Debug, Clone)]
pub struct Port {
    /// Where it is.
    switch: NetNs,
    /// Its interface there.
    name: String,
    /// Its number on the network: 1, 2 …
    number: u8,
}

impl Network {
    /// Creates the switch.
    pub(crate) fn create(lab: &Lab, name: &str, number: u8) -> Result<Self> {
        let switch = NetNs::create(&format!("{}-net-{name}", lab.prefix()))?;
        // The switch is no station: it must not take part in neighbour discovery.
        switch.sysctl("ipv6/conf/all/disable_ipv6", "1")?;
        switch.sysctl("ipv6/conf/default/disable_ipv6", "1")?;
        // Nor a firewall, whatever the machine's bridges are.
        for tables in ["iptables", "ip6tables", "arptables"] {
            let setting = format!("bridge/bridge-nf-call-{tables}");
            if Path::new("/proc/sys/net").join(&setting).exists() {
                switch.sysctl(&setting, "0")?;
            }
        }
        for bridge in [MAIN, OTHER] {
            switch.ip(&format!(
                "link add {bridge} type bridge forward_delay 0 stp_state 0 mcast_snooping 0"
            ))?;
            switch.ip(&format!("link set {bridge} up"))?;
        }
        let pass = lab.pin_dir().join("pass");
        pass_program::pin(&pass)?;
        Ok(Self {
            name: name.to_owned(),
            number,
            switch,
            pass,
            ports: Arc::new(AtomicU8::new(1)),
        })
    }

    /// Name given by the test.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address 10.N.0.`host`. Hosts count from 1; take VIPs from 100.
    #[must_use]
    pub fn v4(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, self.number, 0, host)
    }

    /// Its address fd00:N::`host`, with the same host number as in [`Self::v4`].
    #[must_use]
    pub fn v6(&self, host: u8) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, self.number.into(), 0, 0, 0, 0, 0, host.into())
    }

    /// The namespace of the bridge, to capture on its ports.
    #[must_use]
    pub fn switch(&self) -> &NetNs {
        &self.switch
    }

    /// Makes a cable from a new port to the interface `interface` in `host`. Both ends are down.
    pub(crate) fn add_port(&self, host: &NetNs, interface: &str) -> Result<Port> {
        let number = self.ports.fetch_add(1, Ordering::Relaxed);
        let name = format!("port{number}");
        let switch = &self.switch;
        let mac = format!("02:00:00:00:{:02x}:{number:02x}", self.number);
        switch.ip(&format!(
            "link add {name} type veth peer name {interface} address {mac} netns {}",
            host.name()
        ))?;
        switch.run("ethtool", &["-K", &name, "tx", "off"])?;
        let pass = self.pass.to_str().context("a path in UTF-8")?;
        switch.run(
            "ip",
            &["link", "set", "dev", &name, "xdpdrv", "pinned", pass],
        )?;
        switch.ip(&format!("link set {name} master {MAIN} up"))?;
        Ok(Port {
            switch: switch.clone(),
            name,
            number,
        })
    }

    /// Splits these hosts off: they reach each other, but not the others. All links stay up.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn split(&self, hosts: &[&Host]) -> Result<()> {
        self.move_ports(hosts, OTHER)
    }

    /// Joins hosts that have been split off with the others again.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn join(&self, hosts: &[&Host]) -> Result<()> {
        self.move_ports(hosts, MAIN)
    }

    /// Moves the ports of these hosts on this network to another bridge.
    fn move_ports(&self, hosts: &[&Host], bridge: &str) -> Result<()> {
        hosts
            .iter()
            .flat_map(|host| host.interfaces())
            .filter(|interface| interface.port.switch.name() == self.switch.name())
            .try_for_each(|interface| interface.port.set(&format!("master {bridge}")))
    }
}

impl Port {
    /// Its number on the network: 1, 2 …
    #[must_use]
    pub fn number(&self) -> u8 {
        self.number
    }

    /// Namespace of the switch.
    #[must_use]
    pub fn switch(&self) -> &NetNs {
        &self.switch
    }

    /// Name of its interface in the switch: what the host sends arrives there.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Pulls the cable: the host's interface loses its carrier.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn unplug(&self) -> Result<()> {
        self.set("down")
    }

    /// Plugs the cable in again.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn plug(&self) -> Result<()> {
        self.set("up")
    }

    /// Loses all frames in both directions; the carrier stays.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn isolate(&self) -> Result<()> {
        self.set("nomaster")
    }

    /// Carries frames again.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn heal(&self) -> Result<()> {
        self.set(&format!("master {MAIN}"))
    }

    /// Changes its interface.
    fn set(&self, change: &str) -> Result<()> {
        self.switch
            .ip(&format!("link set {} {change}", self.name))
            .map(drop)
    }
}
