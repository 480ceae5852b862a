//! The agent's configuration file, built by tests.

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::host::Host;

/// One node's configuration. Paths are unique to the host.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Name of the node.
    name: String,
    /// The file.
    path: PathBuf,
    /// The key files' common name; they differ in their number.
    key: PathBuf,
    /// The keys: identifier and the byte their secret is made of. The first signs.
    keys: Vec<(u8, u8)>,
    /// `node.runtime_dir`.
    runtime_dir: PathBuf,
    /// `node.pin_dir`.
    pin_dir: PathBuf,
    /// `cluster.peers` or `cluster.multicast`.
    transport: Transport,
    /// `cluster.advert_interval`.
    interval: Duration,
    /// Further lines of `[node]`.
    node_lines: String,
    /// Further lines of `[cluster]`.
    cluster_lines: String,
    /// Lines of `[liveness]`.
    liveness_lines: String,
    /// The instances.
    instances: Vec<Instance>,
}

/// How adverts travel.
#[derive(Debug, Clone)]
enum Transport {
    /// To each of these.
    Unicast(Vec<IpAddr>),
    /// To a group, by an interface.
    Multicast(IpAddr, String),
}

/// One instance.
#[derive(Debug, Clone)]
pub struct Instance {
    /// Its name.
    name: String,
    /// Its identifier.
    vrid: u8,
    /// Where its VIPs live.
    interface: String,
    /// This node's priority.
    priority: u8,
    /// Its VIPs.
    vips: Vec<IpAddr>,
    /// Its backends; none: `local`.
    backends: Vec<BackendConfig>,
    /// Further lines.
    lines: String,
}

/// One backend.
#[derive(Debug, Clone)]
pub struct BackendConfig {
    /// Its name.
    pub name: String,
    /// Its own address.
    pub address: IpAddr,
    /// TOML of its check, e.g. `{ tcp = 80, interval = "50ms" }`; empty: none.
    pub check: String,
}

impl NodeConfig {
    /// For an agent on this host: adverts each 100 ms, no peers, no instances yet.
    #[must_use]
    pub fn new(host: &Host) -> Self {
        Self {
            name: host.name().to_owned(),
            path: host.file("toml"),
            key: host.file("key"),
            // No secret: all labs have it.
            keys: vec![(1, 0x4b)],
            runtime_dir: host.file("run"),
            pin_dir: host.pin_dir().to_owned(),
            transport: Transport::Unicast(Vec::new()),
            interval: Duration::from_millis(100),
            node_lines: String::new(),
            cluster_lines: String::new(),
            liveness_lines: String::new(),
            instances: Vec::new(),
        }
    }

    /// The other nodes, by the IPv4 address of their first interfaces.
    #[must_use]
    pub fn peers(mut self, hosts: &[&Host]) -> Self {
        self.transport = Transport::Unicast(hosts.iter().map(|host| host.v4().into()).collect());
        self
    }

    /// The other nodes, by the IPv6 address of their first interfaces.
    #[must_use]
    pub fn peers_v6(mut self, hosts: &[&Host]) -> Self {
        self.transport = Transport::Unicast(hosts.iter().map(|host| host.v6().into()).collect());
        self
    }

    /// Adverts to a multicast group by an interface, instead of to peers.
    #[must_use]
    pub fn multicast(mut self, group: IpAddr, interface: &str) -> Self {
        self.transport = Transport::Multicast(group, interface.to_owned());
        self
    }

    /// Other keys than the one all nodes have: identifier and the byte the secret is made of. The
    /// first signs, all are accepted.
    #[must_use]
    pub fn keys(mut self, keys: &[(u8, u8)]) -> Self {
        keys.clone_into(&mut self.keys);
        self
    }

    /// Files and pins of its own, for a second agent on the same host.
    #[must_use]
    pub fn apart(mut self, host: &Host, suffix: &str) -> Self {
        self.path = host.file(&format!("{suffix}.toml"));
        self.key = host.file(&format!("{suffix}.key"));
        self.runtime_dir = host.file(&format!("{suffix}.run"));
        // A BPF file system reserves names with a dot.
        self.pin_dir = host
            .pin_dir()
            .with_file_name(format!("{}-{suffix}", host.name()));
        self
    }

    /// Pins in another directory.
    #[must_use]
    pub fn pinned_in(mut self, directory: &Path) -> Self {
        directory.clone_into(&mut self.pin_dir);
        self
    }

    /// Time between adverts.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// One more instance.
    #[must_use]
    pub fn instance(mut self, instance: Instance) -> Self {
        self.instances.push(instance);
        self
    }

    /// A further line of `[node]`, e.g. `xdp = "generic"`.
    #[must_use]
    pub fn node_line(mut self, line: &str) -> Self {
        self.node_lines += &format!("{line}\n");
        self
    }

    /// A further line of `[cluster]`, e.g. `startup_delay = "0s"`.
    #[must_use]
    pub fn cluster_line(mut self, line: &str) -> Self {
        self.cluster_lines += &format!("{line}\n");
        self
    }

    /// A line of `[liveness]`, e.g. `interval = "250us"`.
    #[must_use]
    pub fn liveness_line(mut self, line: &str) -> Self {
        self.liveness_lines += &format!("{line}\n");
        self
    }

    /// The configuration file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The agent's control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.runtime_dir.join("control.sock")
    }

    /// The agent's pin directory.
    #[must_use]
    pub fn pin_dir(&self) -> &Path {
        &self.pin_dir
    }

    /// Writes the file and the key, which is the same on all hosts.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn write(&self) -> Result<()> {
        let write = || -> std::io::Result<()> {
            for (path, (id, byte)) in self.key_files().iter().zip(&self.keys) {
                let mut key = File::create(path)?;
                key.set_permissions(Permissions::from_mode(0o600))?;
                // 32 bytes in hexadecimal.
                writeln!(key, "{id}:{}", format!("{byte:02x}").repeat(32))?;
            }
            fs::create_dir_all(&self.runtime_dir)?;
            fs::write(&self.path, self.text())
        };
        write().with_context(|| format!("writing the configuration of {}", self.name))
    }

    /// One file for each key.
    fn key_files(&self) -> Vec<PathBuf> {
        (1..=self.keys.len())
            .map(|number| self.key.with_extension(format!("key{number}")))
            .collect()
    }

    /// The file's text.
    #[must_use]
    pub fn text(&self) -> String {
        let Self {
            name,
            node_lines,
            cluster_lines,
            liveness_lines,
            ..
        } = self;
        let (runtime, pins) = (self.runtime_dir.display(), self.pin_dir.display());
        let (keys, interval) = (
            quoted(
                self.key_files()
                    .iter()
                    .map(|file| file.display().to_string()),
            ),
            self.interval.as_micros(),
        );
        let transport = match &self.transport {
            Transport::Unicast(peers) => {
                format!("peers = {}", quoted(peers.iter().map(ToString::to_string)))
            }
            Transport::Multicast(group, interface) => {
                format!("multicast = {{ group = \"{group}\", interface = \"{interface}\" }}")
            }
        };
        let head = format!(
            "[node]\nname = \"{name}\"\nruntime_dir = \"{runtime}\"\npin_dir = \"{pins}\"\n{node_lines}\n\
             [cluster]\n{transport}\nkey_files = {keys}\nadvert_interval = \"{interval}us\"\n\
             {cluster_lines}\n[liveness]\n{liveness_lines}"
        );
        self.instances
            .iter()
            .fold(head, |text, instance| text + &instance.text())
    }
}

impl Instance {
    /// An instance on `eth0` with priority 100, `local`, without VIPs yet.
    #[must_use]
    pub fn new(name: &str, vrid: u8) -> Self {
        Self {
            name: name.to_owned(),
            vrid,
            interface: "eth0".to_owned(),
            priority: 100,
            vips: Vec::new(),
            backends: Vec::new(),
            lines: String::new(),
        }
    }

    /// The interface its VIPs live on.
    #[must_use]
    pub fn interface(mut self, name: &str) -> Self {
        name.clone_into(&mut self.interface);
        self
    }

    /// This node's priority.
    #[must_use]
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = priority;
        self
    }

    /// One more VIP.
    #[must_use]
    pub fn vip(mut self, address: impl Into<IpAddr>) -> Self {
        self.vips.push(address.into());
        self
    }

    /// One more backend; the instance is steered by `l2` then.
    #[must_use]
    pub fn backend(mut self, backend: BackendConfig) -> Self {
        self.backends.push(backend);
        self
    }

    /// A further line, e.g. `preempt = false`.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.lines += &format!("{line}\n");
        self
    }

    /// Its section of the file.
    fn text(&self) -> String {
        let Self {
            name,
            vrid,
            interface,
            priority,
            lines,
            ..
        } = self;
        let vips = quoted(self.vips.iter().map(ToString::to_string));
        let mut text = format!(
            "\n[[instance]]\nname = \"{name}\"\nvrid = {vrid}\ninterface = \"{interface}\"\n\
             priority = {priority}\nvips = {vips}\n"
        );
        if !self.backends.is_empty() {
            text += "steering = \"l2\"\n";
        }
        text += lines;
        for BackendConfig {
            name,
            address,
            check,
        } in &self.backends
        {
            text += "\n[[instance.backend]]\n";
            text += &format!("name = \"{name}\"\naddress = \"{address}\"\n");
            if !check.is_empty() {
                text += &format!("check = {check}\n");
            }
        }
        text
    }
}

/// A TOML array of strings.
fn quoted(values: impl IntoIterator<Item = String>) -> String {
    let quoted: Vec<String> = values
        .into_iter()
        .map(|value| format!("\"{value}\""))
        .collect();
    format!("[{}]", quoted.join(", "))
}
