//! The `[liveness]` table.

use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use vip_proto::election::timing::Pace;
use vip_proto::native::DEFAULT_PORT;

use super::addresses;
use crate::config::diagnostic::{Finding, Findings};
use crate::config::duration::{Human, Text};
use crate::config::{Liveness, LivenessLink, raw};

/// Checks the table against what `[cluster]` says. The outer `None`: it cannot be used; the inner:
/// probes are switched off.
pub(super) fn validate(
    raw: Option<&raw::Liveness>,
    cluster: Option<&raw::Cluster>,
    findings: &mut Findings,
) -> Option<Option<Liveness>> {
    let default = raw::Liveness::default();
    let raw = raw.unwrap_or(&default);
    if !raw.enabled.or(true) {
        return Some(None);
    }
    let none = raw::Cluster::default();
    let cluster = cluster.unwrap_or(&none);
    let adverts = cluster.port.or(DEFAULT_PORT);
    let port = raw.port.or(adverts.checked_add(1).unwrap_or(adverts - 1));
    if port == adverts {
        let message = format!("probes and adverts cannot both use UDP port {port}");
        findings.push(
            Finding::error("config::same_port", message)
                .at(raw.port.span(), "port of probes")
                .help("leave it out: probes use the port above that of adverts"),
        );
        return None;
    }
    let pace = Pace {
        interval: cluster
            .advert_interval
            .or(Text(Duration::from_millis(100)))
            .0,
        factor: cluster.down_factor.or(3),
    };
    check_lease(raw, pace, findings)?;
    Some(Some(Liveness {
        interval: raw.interval.or(Text(Duration::from_millis(1))).0,
        misses: raw.misses.or(3),
        port,
        lease: raw.lease.get().map(|lease| lease.0),
        links: links(raw, cluster, findings)?,
    }))
}

/// A lease of its own may only be shorter than what adverts warrant: who hears no echoes counts on
/// that.
fn check_lease(raw: &raw::Liveness, pace: Pace, findings: &mut Findings) -> Option<()> {
    let (Some(lease), most) = (raw.lease.get(), pace.lease()) else {
        return Some(());
    };
    if lease.0 <= most {
        super::cluster::tight_lease(lease.0, raw.lease.span(), findings);
        return Some(());
    }
    let message = format!(
        "a lease of {} is longer than adverts every {} warrant: {}",
        Human(lease.0),
        Human(pace.interval),
        Human(most)
    );
    findings.push(
        Finding::error("config::lease_too_long", message)
            .at(raw.lease.span(), "too long")
            .help("shorten it, or raise `cluster.advert_interval` or `cluster.down_factor`"),
    );
    None
}

fn links(
    raw: &raw::Liveness,
    cluster: &raw::Cluster,
    findings: &mut Findings,
) -> Option<Vec<LivenessLink>> {
    let mut links: Vec<(LivenessLink, Range<usize>)> = Vec::new();
    let mut sound = true;
    for (link, span) in raw.link.elements() {
        for field in [&link.peer, &link.local, &link.remote] {
            if let Some((why, help)) = field
                .get()
                .and_then(|address| addresses::not_a_node(*address))
            {
                sound = false;
                let message = format!("a link cannot have this address: {why}");
                findings.push(
                    Finding::error("config::bad_address", message)
                        .at(field.span(), why)
                        .help(help),
                );
            }
        }
        let link = LivenessLink {
            peer: *link.peer.get()?,
            local: *link.local.get()?,
            remote: *link.remote.get()?,
        };
        sound &= check_link(&link, &span, cluster, findings);
        if let Some((_, first)) = links.iter().find(|(other, _)| other.remote == link.remote) {
            sound = false;
            let message = format!("two links lead to {}", link.remote);
            findings.push(
                Finding::error("config::duplicate_link", message)
                    .at(span.clone(), "again")
                    .at(first.clone(), "first here")
                    .help("each link needs an address of its own at the peer"),
            );
        }
        links.push((link, span));
    }
    sound.then(|| links.into_iter().map(|(link, _)| link).collect())
}

fn check_link(
    link: &LivenessLink,
    span: &Range<usize>,
    cluster: &raw::Cluster,
    findings: &mut Findings,
) -> bool {
    let peers: Vec<&IpAddr> = cluster.peers.elements().map(|(peer, _)| peer).collect();
    let (message, help) = if link.local.is_ipv4() != link.remote.is_ipv4() {
        (
            format!("{} and {} are not on one link", link.local, link.remote),
            "give both ends by addresses of one family",
        )
    } else if !peers.is_empty() && !peers.contains(&&link.peer) {
        (
            format!("{} is no peer", link.peer),
            "`peer` names one of `cluster.peers`",
        )
    } else if link.remote == link.peer {
        (
            format!("{} is probed anyway", link.remote),
            "peers are always probed at the address their adverts come from; name further links here",
        )
    } else if peers.contains(&&link.remote) {
        (
            format!("{} is another peer, not {}", link.remote, link.peer),
            "the keys of a link depend on whose it is: give an address that only this peer has",
        )
    } else {
        return true;
    };
    findings.push(
        Finding::error("config::bad_link", message)
            .at(span.clone(), "this link")
            .help(help),
    );
    false
}
