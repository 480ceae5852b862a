//! The `[cluster]` table.

use std::net::IpAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use vip_proto::election::timing::Pace;
use vip_proto::native::DEFAULT_PORT;

use super::addresses;
use crate::config::diagnostic::{Finding, Findings};
use crate::config::duration::{Human, Text};
use crate::config::{Cluster, Key, Transport, key, raw};

/// Checks the table and reads the key files.
pub(super) fn validate(
    raw: &raw::Cluster,
    base: &Path,
    findings: &mut Findings,
) -> Option<Cluster> {
    let keys = keys(raw, base, findings);
    let transport = transport(raw, findings);
    if let Some(address) = raw.address.get()
        && let Some((why, help)) = addresses::not_a_node(*address)
    {
        findings.push(
            Finding::error(
                "config::bad_address",
                format!("`cluster.address` cannot be {address}: {why}"),
            )
            .at(raw.address.span(), why)
            .help(help),
        );
    }
    one_family(raw, findings);
    let pace = Pace {
        interval: raw.advert_interval.or(Text(Duration::from_millis(100))).0,
        factor: raw.down_factor.or(3),
    };
    tight_interval(raw, pace, findings);
    Some(Cluster {
        address: raw.address.get().copied(),
        transport: transport?,
        port: raw.port.or(DEFAULT_PORT),
        advert_interval: pace.interval,
        down_factor: pace.factor,
        startup_delay: raw.startup_delay.or(Text(Duration::ZERO)).0,
        alone_delay: raw.alone_delay.or(Text(ALONE_DELAY)).0,
        keys,
    })
}

/// A real-time thread is woken this late on a busy virtual machine, now and then.
const USUAL_LATENESS: Duration = Duration::from_millis(3);

/// Warns if the agent would lose its lease by being late as a busy host makes it.
fn tight_interval(raw: &raw::Cluster, pace: Pace, findings: &mut Findings) {
    let slack = pace.lease().saturating_sub(pace.interval);
    if slack >= USUAL_LATENESS {
        return;
    }
    let message = format!(
        "adverts every {} with a down factor of {} forgive the agent only {} of being late",
        Human(pace.interval),
        pace.factor,
        Human(slack)
    );
    findings.push(
        Finding::warning("config::tight_interval", message)
            .at(raw.advert_interval.span(), "short")
            .help(
                "on a host that is busy, or a virtual machine, leases will end without a failure: \
                 raise `down_factor` or the interval, or keep a processor free; \
                 `timer_late_max_us` in `vip-agent status` tells how late it is",
            ),
    );
}

/// Warns if a lease of its own forgives the agent less than a busy host needs. It is renewed four
/// times while it lasts.
pub(super) fn tight_lease(lease: Duration, span: Range<usize>, findings: &mut Findings) {
    let slack = lease - lease / 4;
    if slack >= USUAL_LATENESS {
        return;
    }
    let message = format!(
        "a lease of {} forgives the agent only {} of being late",
        Human(lease),
        Human(slack)
    );
    findings.push(
        Finding::warning("config::tight_lease", message)
            .at(span, "short")
            .help(
                "on a host that is busy, or a virtual machine, it will end without a failure: \
                 lengthen it, or keep a processor free; `timer_late_max_us` in `vip-agent status` \
                 tells how late the agent is",
            ),
    );
}

/// Longer than the kernel takes to make a link that came up work, and the address of a peer that was
/// unreachable resolve again; a switch with spanning tree needs more.
const ALONE_DELAY: Duration = Duration::from_secs(1);

/// Reads all key files. What cannot be read is reported and left out.
fn keys(raw: &raw::Cluster, base: &Path, findings: &mut Findings) -> Vec<Key> {
    // With both keys present, which is an error of its own, the first is the one to look into.
    let several = raw.key_files.elements().filter(|_| !raw.key_file.is_set());
    let single = raw.key_file.get().map(|path| (path, raw.key_file.span()));
    let mut keys: Vec<(Key, Range<usize>)> = Vec::new();
    for (path, span) in single.into_iter().chain(several) {
        let path: PathBuf = base.join(path);
        let key = match key::read(&path) {
            Ok(key) => key,
            Err(error) => {
                let finding = Finding::error("config::key_file", error.to_string());
                findings.push(finding.at(span, "named here").help(error.help()));
                continue;
            }
        };
        if let Some((_, first)) = keys.iter().find(|(other, _)| other.id == key.id) {
            findings.push(
                Finding::error(
                    "config::duplicate_key_id",
                    format!("two key files have the identifier {}", key.id),
                )
                .at(span, "this one")
                .at(first.clone(), "and this one")
                .help("adverts name their key by its identifier: give the new key another one (`vip-agent keygen --id 2 FILE`)"),
            );
            continue;
        }
        keys.push((key, span));
    }
    keys.into_iter().map(|(key, _)| key).collect()
}

fn transport(raw: &raw::Cluster, findings: &mut Findings) -> Option<Transport> {
    if let Some(multicast) = raw.multicast.get() {
        let group = *multicast.group.get()?;
        if !group.is_multicast() {
            findings.push(
                Finding::error(
                    "config::not_multicast",
                    format!("`cluster.multicast.group` is not a multicast address: {group}"),
                )
                .at(multicast.group.span(), "not multicast")
                .help(
                    "choose one from 239.0.0.0/8 (like 239.255.81.12) or ff02::/16 (like \
                     ff02::5112)",
                ),
            );
            return None;
        }
        return Some(Transport::Multicast {
            group,
            interface: multicast.interface.get()?.clone(),
        });
    }
    if !raw.peers.is_set() {
        return None;
    }
    if raw.peers.get().is_some_and(Vec::is_empty) {
        findings.push(
            Finding::warning(
                "config::no_peers",
                "there are no peers: nothing takes over from this node",
            )
            .at(raw.peers.span(), "empty")
            .help("name the addresses of the other nodes"),
        );
    }
    let mut peers: Vec<(IpAddr, Range<usize>)> = Vec::new();
    for (peer, span) in raw.peers.elements() {
        if let Some((why, help)) = addresses::not_a_node(*peer) {
            let message = format!("{peer} cannot be a peer: {why}");
            findings.push(
                Finding::error("config::bad_address", message)
                    .at(span, why)
                    .help(help),
            );
        } else if raw.address.get() == Some(peer) {
            findings.push(
                Finding::error(
                    "config::own_peer",
                    format!("peer {peer} is this node itself"),
                )
                .at(span, "listed as peer")
                .at(raw.address.span(), "this node's address")
                .help("list the other nodes only: each node has its own list"),
            );
        } else if let Some((_, first)) = peers.iter().find(|(other, _)| other == peer) {
            findings.push(
                Finding::error(
                    "config::duplicate_peer",
                    format!("peer {peer} is listed twice"),
                )
                .at(span, "again")
                .at(first.clone(), "first here")
                .help("remove one of the two"),
            );
        } else {
            peers.push((*peer, span));
        }
    }
    Some(Transport::Unicast {
        peers: peers.into_iter().map(|(peer, _)| peer).collect(),
    })
}

/// All addresses that adverts travel between must be of one family.
fn one_family(raw: &raw::Cluster, findings: &mut Findings) {
    let group = raw.multicast.get().map(|multicast| &multicast.group);
    let mut all: Vec<(&IpAddr, Range<usize>)> = raw.peers.elements().collect();
    for field in [Some(&raw.address), group].into_iter().flatten() {
        all.extend(field.get().map(|address| (address, field.span())));
    }
    all.sort_by_key(|(_, span)| span.start);
    let Some(((first, first_span), rest)) = all.split_first() else {
        return;
    };
    if let Some((other, span)) = rest
        .iter()
        .find(|(other, _)| other.is_ipv4() != first.is_ipv4())
    {
        findings.push(
            Finding::error(
                "config::mixed_families",
                format!("the addresses of the cluster mix IPv4 and IPv6: {first} and {other}"),
            )
            .at(span.clone(), family(other))
            .at(first_span.clone(), family(first))
            .help(
                "adverts travel over one family: give all nodes by addresses of the same; VIPs \
                 can be of both",
            ),
        );
    }
}

const fn family(address: &IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}
