//! Liveness probes of peers, answered in place; and the echoes to ours, stamped.
//!
//! Only a datagram from a known peer, to this node's own address on that link, is ours; and an answer
//! is the question with some bytes changed, sent back to where it came from. So nothing is ever sent
//! towards a host that is not a peer, and never more than was received.

use core::ops::ControlFlow::{self, Break, Continue};

use vip_common::abi::{Counter, PeerKey};
use vip_common::net::ethernet::{self, EthernetHeader};
use vip_common::net::liveness::{self, Liveness, PacketV4, PacketV6};

use super::classify::Frame;
use crate::lease;
use crate::maps::{self, Link, Probed};
use crate::packet::Packet;
use crate::verdict::Verdict;

/// Answers probes and takes echoes.
#[inline(always)]
pub fn answer(packet: &mut Packet<'_>, frame: &Frame) -> ControlFlow<Verdict> {
    let port = maps::liveness_port();
    if port == 0 {
        return Continue(());
    }
    let Some(datagram) = datagram(packet, frame, port) else {
        return Continue(());
    };
    let Some(link) = maps::link(&datagram.source) else {
        return Continue(());
    };
    if link.local() != u128::from_ne_bytes(datagram.destination) {
        return Continue(());
    }
    let Some(payload) = packet.network_at::<Liveness>(datagram.payload) else {
        return Continue(());
    };
    let key = match payload.kind {
        liveness::PROBE => link.probe_key(),
        liveness::ECHO => link.echo_key(),
        _ => return Continue(()),
    };
    let mac = u64::from_ne_bytes(payload.authentication_code(key));
    if key[0] | key[1] == 0 || mac != u64::from_ne_bytes(payload.mac) {
        return Break(Verdict::Drop(Counter::LivenessRejected));
    }
    if payload.kind == liveness::ECHO {
        return Break(take(link, payload));
    }
    if let Err(reason) = echo(link, payload, key) {
        return Break(Verdict::Drop(reason));
    }
    Break(send_back(packet, frame))
}

/// Where the payload is, and between whom.
struct Datagram {
    source: PeerKey,
    destination: PeerKey,
    payload: usize,
}

/// The datagram in the frame, if it looks like a probe or an echo and came in a frame to one station:
/// a group's address must not become the source of an answer.
#[inline(always)]
fn datagram(packet: &mut Packet<'_>, frame: &Frame, port: u16) -> Option<Datagram> {
    if ethernet::is_group(packet.at::<EthernetHeader>(0)?.destination) {
        return None;
    }
    let available = packet.network_len();
    match frame.ether_type {
        ethernet::IPV4 => {
            let whole = packet.network_at::<PacketV4>(0)?;
            whole.is_liveness(port, available).then(|| Datagram {
                source: whole.source(),
                destination: whole.destination(),
                payload: core::mem::offset_of!(PacketV4, payload),
            })
        }
        ethernet::IPV6 => {
            let whole = packet.network_at::<PacketV6>(0)?;
            whole.is_liveness(port, available).then(|| Datagram {
                source: whole.source(),
                destination: whole.destination(),
                payload: core::mem::offset_of!(PacketV6, payload),
            })
        }
        _ => None,
    }
}

/// Stamps the echo to one of our probes. Its nonce is the time at which we sent the probe, so an echo
/// to an earlier one, or from the future, is none.
#[inline(always)]
fn take(link: Link, payload: &Liveness) -> Verdict {
    let now = lease::now();
    let nonce = u64::from_be_bytes(payload.nonce);
    if nonce <= link.stamped_nonce() || nonce > now {
        return Verdict::Drop(Counter::LivenessReplayed);
    }
    link.stamp(nonce, now, payload);
    Verdict::Drop(Counter::EchoTaken)
}

/// Makes the probe its echo: what this node is for the instances asked about, and for how long.
#[inline(always)]
fn echo(link: Link, payload: &mut Liveness, key: [u64; 2]) -> Result<(), Counter> {
    let agent = maps::agent().ok_or(Counter::DropInternal)?;
    let now = lease::now();
    admit(link, u64::from_be_bytes(payload.nonce), key[0], now)?;
    let left = lease::left_for_good(agent, now);
    payload.answer(agent.incarnation(), left);
    for instance in &mut payload.instances {
        let [vrid, ..] = *instance;
        *instance = standing(vrid, left != 0);
    }
    payload.mac = payload.authentication_code(key);
    Ok(())
}

/// Lets a probe in that is later than the last one by enough, if the link has time saved up for it.
/// The first bounds what can be done with old probes, the second what the peer itself can have.
#[inline(always)]
fn admit(link: Link, nonce: u64, key: u64, now: u64) -> Result<(), Counter> {
    let last = link.probed();
    if last.key == key {
        let step = nonce.saturating_sub(last.nonce);
        if step < liveness::MIN_NONCE_STEP_NS {
            return Err(Counter::LivenessReplayed);
        }
    }
    let saved = last
        .credit_ns
        .saturating_add(now.saturating_sub(last.at_ns))
        .min(liveness::MAX_CREDIT_NS);
    if saved < liveness::MIN_NONCE_STEP_NS {
        return Err(Counter::LivenessReplayed);
    }
    link.set_probed(Probed {
        nonce,
        key,
        at_ns: now,
        credit_ns: saved - liveness::MIN_NONCE_STEP_NS,
    });
    Ok(())
}

/// What this node is for the instance with this identifier (0: none asked about).
#[inline(always)]
fn standing(vrid: u8, is_lease_valid: bool) -> [u8; 8] {
    let unknown = liveness::entry(vrid, liveness::UNKNOWN, 0);
    if vrid == 0 {
        return unknown;
    }
    let Some(instance) = maps::index_of(vrid).and_then(maps::instance) else {
        return unknown;
    };
    let claim = instance.claim();
    let state = if claim != 0 && is_lease_valid {
        liveness::ACTIVE
    } else {
        liveness::NOT_ACTIVE
    };
    #[expect(clippy::cast_possible_truncation, reason = "the epoch is the low half")]
    let epoch = claim as u32;
    liveness::entry(vrid, state, epoch)
}

#[inline(always)]
fn send_back(packet: &mut Packet<'_>, frame: &Frame) -> Verdict {
    if frame.ether_type == ethernet::IPV4 {
        if let Some(whole) = packet.network_at::<PacketV4>(0) {
            whole.send_back();
        }
    } else if let Some(whole) = packet.network_at::<PacketV6>(0) {
        whole.send_back();
    }
    let Some(header) = packet.at::<EthernetHeader>(0) else {
        return Verdict::Drop(Counter::DropInternal);
    };
    header.send_back();
    Verdict::Transmit(Counter::ProbeAnswered)
}
