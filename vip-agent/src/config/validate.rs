//! Checks what the values of a file mean together, and makes a [`Config`] of them.

mod addresses;
mod cluster;
mod instance;
mod liveness;
mod unique;

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::diagnostic::{Finding, Findings};
use super::duration::Text;
use super::field::Field;
use super::{Config, Node, OnExit, XdpMode, raw};

/// More VIPs than this per node exceed what clouds recommend.
const RECOMMENDED_VIPS: usize = 8;
/// More nodes than this exceed what clouds recommend.
const RECOMMENDED_NODES: usize = 10;
pub(crate) const RUNTIME_DIR: &str = "/run/vip-agent";
pub(crate) const PIN_DIR: &str = "/sys/fs/bpf/vip-agent";

/// Checks the file, whose relative paths start at `base`. `None`, or errors among the findings: it
/// cannot be used.
pub(super) fn validate(file: &raw::File, base: &Path, findings: &mut Findings) -> Option<Config> {
    let cluster = file
        .cluster
        .get()
        .and_then(|raw| cluster::validate(raw, base, findings));
    let liveness = liveness::validate(file.liveness.get(), file.cluster.get(), findings);
    let list = file.instance.get().map(Vec::as_slice).unwrap_or_default();
    let raws: Vec<&raw::Instance> = list.iter().filter_map(Field::get).collect();
    unique::check(&raws, findings);
    addresses::check_vips(&raws, file.cluster.get(), findings);
    recommend(&raws, file.cluster.get(), findings);
    let instances: Vec<_> = raws
        .iter()
        .filter_map(|raw| instance::validate(raw, findings))
        .collect();
    let node = node(file.node.get(), findings);
    // What is missing in either list was reported when it was left out.
    Some(Config {
        node: node?,
        cluster: cluster?,
        liveness: liveness?,
        instances,
    })
}

fn node(raw: Option<&raw::Node>, findings: &mut Findings) -> Option<Node> {
    let default = raw::Node::default();
    let raw = raw.unwrap_or(&default);
    let runtime_dir = absolute(&raw.runtime_dir, "runtime_dir", RUNTIME_DIR, findings);
    let pin_dir = absolute(&raw.pin_dir, "pin_dir", PIN_DIR, findings);
    Some(Node {
        name: raw.name.get().cloned().unwrap_or_else(host_name),
        runtime_dir: runtime_dir?,
        pin_dir: pin_dir?,
        xdp: match raw.xdp.or(raw::XdpMode::Auto) {
            raw::XdpMode::Auto => XdpMode::Auto,
            raw::XdpMode::Native => XdpMode::Native,
            raw::XdpMode::Generic => XdpMode::Generic,
        },
        on_exit: match raw.on_exit.or(raw::OnExit::Detach) {
            raw::OnExit::Detach => OnExit::Detach,
            raw::OnExit::Stay => OnExit::Stay,
            raw::OnExit::Keep => OnExit::Keep,
        },
        restart_grace: raw.restart_grace.or(Text(Duration::from_secs(2))).0,
        drain: raw.drain.or(Text(Duration::from_secs(5))).0,
        provision: raw.provision.or(true),
        xdp_log: match raw.xdp_log.or(raw::XdpLog::Off) {
            raw::XdpLog::Off => None,
            raw::XdpLog::Error => Some(log::LevelFilter::Error),
            raw::XdpLog::Warn => Some(log::LevelFilter::Warn),
            raw::XdpLog::Info => Some(log::LevelFilter::Info),
            raw::XdpLog::Debug => Some(log::LevelFilter::Debug),
            raw::XdpLog::Trace => Some(log::LevelFilter::Trace),
        },
    })
}

/// The name the host gives itself.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost".into(),
        name => name.into(),
    }
}

/// A directory that must mean the same wherever the agent is started.
fn absolute(
    field: &Field<PathBuf>,
    key: &str,
    default: &str,
    findings: &mut Findings,
) -> Option<PathBuf> {
    let path = field.get().cloned().unwrap_or_else(|| default.into());
    if path.is_absolute() {
        return Some(path);
    }
    findings.push(
        Finding::error(
            "config::relative_path",
            format!(
                "`node.{key}` must be an absolute path, not {:?}",
                path.display().to_string()
            ),
        )
        .at(field.span(), "relative")
        .help(format!("the default is {default}")),
    );
    None
}

/// Warns of numbers that the networks of clouds do not carry well.
fn recommend(raws: &[&raw::Instance], cluster: Option<&raw::Cluster>, findings: &mut Findings) {
    let vips: Vec<_> = raws
        .iter()
        .flat_map(|instance| instance.vips.elements())
        .collect();
    if let Some((_, span)) = vips.get(RECOMMENDED_VIPS) {
        findings.push(
            Finding::warning(
                "config::many_vips",
                format!(
                    "{} VIPs on one node, more than {RECOMMENDED_VIPS}",
                    vips.len()
                ),
            )
            .at(span.clone(), "the first one above the recommendation")
            .help(
                "clouds that offer VIPs as a product recommend at most 8 of them per node: each \
                 must be relearned at a failover; in your own network nothing speaks against more",
            ),
        );
    }
    let peers: Vec<_> = cluster
        .into_iter()
        .flat_map(|cluster| cluster.peers.elements())
        .collect();
    // This node is one, too.
    if let Some((_, span)) = peers.get(RECOMMENDED_NODES - 1) {
        findings.push(
            Finding::warning(
                "config::many_nodes",
                format!(
                    "{} nodes share the VIPs, more than {RECOMMENDED_NODES}",
                    peers.len() + 1
                ),
            )
            .at(span.clone(), "the first one above the recommendation")
            .help(
                "clouds that offer VIPs as a product bind at most 10 nodes to one; with unicast \
                 each node sends every advert once per peer, so consider `multicast`",
            ),
        );
    }
}
