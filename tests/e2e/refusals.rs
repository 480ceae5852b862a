//! What the agent refuses to start with, with which words and exit code, and that it leaves nothing.

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use lab::node::agent_program;
use lab::process::output_within;
use lab::{Host, Instance, Lab, Network, Node, NodeConfig, Responder, scenario};

use crate::support::{
    PATIENCE, VIP, instance, log, on_lo, wait_for_http, wait_for_log, xdp_program,
};

/// Exit codes, as documented.
mod code {
    pub(super) const FAILURE: i32 = 1;
    pub(super) const USAGE: i32 = 2;
    pub(super) const CONFIG: i32 = 3;
    pub(super) const PRIVILEGE: i32 = 4;
    pub(super) const NO_INTERFACE: i32 = 5;
    pub(super) const XDP_BUSY: i32 = 7;
    pub(super) const ALREADY_RUNNING: i32 = 8;
    pub(super) const NO_BPFFS: i32 = 9;
    pub(super) const NO_NATIVE_XDP: i32 = 10;
    pub(super) const UNREACHABLE: i32 = 11;
}

/// A host with everything an agent needs.
struct Place {
    lan: Network,
    host: Host,
    vip: IpAddr,
}

impl Place {
    fn new(lab: &Lab) -> Result<Self> {
        let lan = lab.network("lan")?;
        let host = lab.host("node", &[&lan])?;
        let vip = lan.v4(VIP).into();
        Ok(Self { lan, host, vip })
    }

    /// A good configuration.
    fn config(&self, instance: impl FnOnce(Instance) -> Instance) -> NodeConfig {
        NodeConfig::new(&self.host)
            .cluster_line(&format!("address = \"{}\"", self.host.v4()))
            .instance(instance(Instance::new("web", 51).vip(self.vip)))
    }

    /// The agent ends by itself with this code and says all of these words; returns what it said.
    fn assert_refused(&self, config: NodeConfig, code: i32, words: &[&str]) -> Result<String> {
        let before = log(&self.host).unwrap_or_default().len();
        let mut node = Node::new(&self.host, config)?;
        node.launch()?;
        let status = node.wait_for_exit(PATIENCE)?;
        let said = log(&self.host)?.split_off(before);
        assert_eq!(status.code(), Some(code), "{said}");
        for word in words {
            assert!(said.contains(word), "{word:?} is not in: {said}");
        }
        Ok(said)
    }

    /// No VIP on `lo`, no program on the interface, no pins.
    fn assert_untouched(&self) -> Result<()> {
        assert_eq!(on_lo(&self.host, &[self.vip])?, Vec::<IpAddr>::new());
        assert_eq!(xdp_program(&self.host, "eth0")?, None);
        assert_no_pins(self.host.pin_dir());
        let manners = self
            .host
            .run("cat", &["/proc/sys/net/ipv4/conf/eth0/arp_ignore"])?;
        assert_eq!(manners.trim(), "0", "kernel settings are put back");
        Ok(())
    }
}

fn assert_no_pins(directory: &Path) {
    let pins: Vec<_> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    assert_eq!(pins, Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_second_agent_is_refused_and_the_first_goes_on() {
    scenario(|lab| {
        let place = Place::new(lab)?;
        let mut first = Node::new(&place.host, place.config(|web| web))?;
        first.start()?;
        first.wait_for_state("web", "active", PATIENCE)?;
        let pid = format!("pid {}", first.pid()?);
        let program = xdp_program(&place.host, "eth0")?;

        // With the same directories.
        let runtime = place.host.file("run");
        let words = ["another vip-agent", &pid, &runtime.display().to_string()];
        place.assert_refused(place.config(|web| web), code::ALREADY_RUNNING, &words)?;

        // With directories of its own, on the same interface: with the same port, and another.
        let apart = || place.config(|web| web).apart(&place.host, "second");
        let words = ["another vip-agent is attached to eth0", "pin_dir"];
        for config in [apart(), apart().cluster_line("port = 8113")] {
            let pins = config.pin_dir().to_owned();
            place.assert_refused(config, code::ALREADY_RUNNING, &words)?;
            assert_no_pins(&pins);
        }

        assert_eq!(xdp_program(&place.host, "eth0")?, program);
        assert_eq!(on_lo(&place.host, &[place.vip])?, [place.vip]);
        assert_eq!(instance(&first, "web")?["state"], "active");
        first.stop()?;
        place.assert_untouched()
    });
}

#[test]
fn a_foreign_xdp_program_is_left_alone_and_named() {
    for (attach, word) in [("xdpdrv", "native"), ("xdpgeneric", "generic")] {
        scenario(|lab| {
            let place = Place::new(lab)?;
            let pass = lab.pin_dir().join("pass");
            let pass = pass.to_str().context("a path in UTF-8")?;
            let attach_it = ["link", "set", "dev", "eth0", attach, "pinned", pass];
            place.host.run("ip", &attach_it)?;
            let foreign = xdp_program(&place.host, "eth0")?.context("the foreign program")?;
            let remedy = format!("ip link set dev eth0 {attach} off");
            let id = format!("id {foreign}");
            let words = [
                "another XDP program is attached to eth0",
                &id,
                word,
                &remedy,
            ];
            for mode in ["auto", "native", "generic"] {
                let config = place
                    .config(|web| web)
                    .node_line(&format!("xdp = \"{mode}\""));
                place.assert_refused(config, code::XDP_BUSY, &words)?;
                assert_eq!(xdp_program(&place.host, "eth0")?, Some(foreign.clone()));
                assert_eq!(on_lo(&place.host, &[place.vip])?, Vec::<IpAddr>::new());
                assert_no_pins(place.host.pin_dir());
            }
            // The remedy it names works.
            place
                .host
                .run("ip", &["link", "set", "dev", "eth0", attach, "off"])?;
            let mut node = Node::new(&place.host, place.config(|web| web))?;
            node.start()?;
            node.wait_for_state("web", "active", PATIENCE)
        });
    }
}

#[test]
fn an_interface_that_does_not_exist_is_named_with_those_that_do() {
    scenario(|lab| {
        let place = Place::new(lab)?;
        let config = place.config(|web| web.interface("eth7"));
        place.assert_refused(config, code::NO_INTERFACE, &["\"eth7\"", "eth0", "lo"])?;
        place.assert_untouched()
    });
}

#[test]
fn each_missing_capability_is_named() {
    scenario(|lab| {
        let place = Place::new(lab)?;
        let config = place.config(|web| web);
        config.write()?;
        let cases: [(&str, &[&str]); 3] = [
            ("-net_raw", &["CAP_NET_RAW"]),
            ("-net_admin", &["CAP_NET_ADMIN"]),
            ("-all", &["CAP_BPF", "CAP_NET_ADMIN", "CAP_NET_RAW"]),
        ];
        for (dropped, named) in cases {
            let mut command = Command::new("setpriv");
            command
                .args([&format!("--bounding-set={dropped}"), "--inh-caps=-all"])
                .arg(agent_program()?)
                .args(["run", "--config"])
                .arg(config.path());
            let output = place
                .host
                .namespace()
                .enter(|| output_within(&mut command, PATIENCE))?;
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(code::PRIVILEGE), "{said}");
            assert!(said.contains("missing privilege"), "{said}");
            for capability in ["CAP_BPF", "CAP_NET_ADMIN", "CAP_NET_RAW"] {
                assert_eq!(
                    said.contains(capability),
                    named.contains(&capability),
                    "{dropped}: {said}"
                );
            }
            place.assert_untouched()?;
        }
        Ok(())
    });
}

#[test]
fn a_pin_directory_that_is_on_no_bpf_file_system_is_refused() {
    scenario(|lab| {
        let place = Place::new(lab)?;
        let directory = lab.run_dir().join("no-bpffs/pins");
        let config = place.config(|web| web).pinned_in(&directory);
        let shown = directory.display().to_string();
        place.assert_refused(config, code::NO_BPFFS, &[&shown, "mount -t bpf"])?;
        assert!(!directory.exists());
        place.assert_untouched()
    });
}

#[test]
fn an_interface_without_native_xdp_is_refused_or_served_in_generic_mode() {
    scenario(|lab| {
        let place = Place::new(lab)?;
        let client = lab.client("client", &[&place.lan])?;
        // A bridge has no native XDP; the host's address moves to it as on a virtualization host.
        let own = place.host.namespace();
        let mac = crate::support::mac_text(place.host.mac());
        own.ip(&format!(
            "link add br9 address {mac} type bridge stp_state 0"
        ))?;
        own.ip(&format!("addr del {}/24 dev eth0", place.host.v4()))?;
        own.ip("link set eth0 master br9")?;
        own.ip("link set br9 up")?;
        own.ip(&format!("addr add {}/24 dev br9", place.host.v4()))?;

        let on_bridge = || place.config(|web| web.interface("br9"));
        let native = on_bridge().node_line("xdp = \"native\"");
        let words = [
            "br9",
            "bridge",
            "does not support native XDP",
            "xdp = \"auto\"",
        ];
        let said = place.assert_refused(native, code::NO_NATIVE_XDP, &words)?;
        assert_eq!(
            said.matches("not supported").count(),
            1,
            "said once: {said}"
        );
        assert_eq!(xdp_program(&place.host, "br9")?, None);
        place.assert_untouched()?;

        let mut node = Node::new(&place.host, on_bridge())?;
        node.start()?;
        node.wait_for_state("web", "active", PATIENCE)?;
        wait_for_log(&place.host, &["WARN", "br9", "bridge", "generic mode"])?;
        assert_eq!(node.status()?["interfaces"][0]["xdp"], "generic");
        let _http = lab::HttpServer::start(&place.host, "node", 80)?;
        let _echo = Responder::start(&place.host, "node", &[place.vip])?;
        assert_eq!(wait_for_http(&client, place.vip)?, "node");
        assert_eq!(client.arping(place.lan.v4(VIP), 1)?, [place.host.mac()]);
        assert!(node.stop()?.success());
        assert_eq!(xdp_program(&place.host, "br9")?, None);
        place.assert_untouched()
    });
}

#[test]
fn a_configuration_that_is_wrong_or_does_not_fit_the_host_is_refused() {
    scenario(|lab| {
        let place = Place::new(lab)?;
        let unknown = place.config(|web| web.line("prioritty = 7"));
        place.assert_refused(unknown, code::CONFIG, &["prioritty", "priority"])?;
        let own = place.host.v4();
        let taken = place.config(|web| web.vip(own));
        place.assert_refused(taken, code::CONFIG, &[&own.to_string(), "eth0"])?;
        place.assert_untouched()
    });
}

#[test]
fn a_start_that_fails_late_is_undone() {
    scenario(|lab| {
        let place = Place::new(lab)?;
        // The path of the control socket is too long: that shows only after everything else works.
        let config = place.config(|web| web).apart(&place.host, &"x".repeat(120));
        let pins = config.pin_dir().to_owned();
        place.assert_refused(config, code::FAILURE, &["control socket"])?;
        assert_no_pins(&pins);
        place.assert_untouched()
    });
}

#[test]
fn commands_without_a_daemon_and_bad_usage_have_codes_of_their_own() {
    scenario(|lab| {
        let place = Place::new(lab)?;
        let node = Node::new(&place.host, place.config(|web| web))?;
        let socket = node.config.socket();
        let socket = socket.to_str().context("a path in UTF-8")?;
        for command in [&["status"][..], &["switchover", "web"]] {
            let output = node.command(&[command, &["--socket", socket]].concat())?;
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(code::UNREACHABLE), "{said}");
            assert!(said.contains(socket), "{said}");
        }
        let output = node.command(&["run", "--no-such-option"])?;
        assert_eq!(output.status.code(), Some(code::USAGE));
        Ok(())
    });
}
