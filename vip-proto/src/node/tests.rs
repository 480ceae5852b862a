//! A node from outside: sessions, replays, the order of actions.

use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::Epoch;
use crate::Priority;
use crate::election::State;
use crate::native::{AdvertView, Key, MAX_DATAGRAM, RejectReason};

mod liveness;
mod replay;
mod restart;

const VRID: Vrid = match Vrid::new(1) {
    Some(vrid) => vrid,
    None => panic!("1 is a VRID"),
};

const fn address(last: u8) -> NodeAddress {
    NodeAddress(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)))
}

const fn at(milliseconds: u64) -> Instant {
    Instant::from_nanos(milliseconds * 1_000_000)
}

fn node(last: u8, incarnation: u64, peers: &[u8]) -> Node {
    patient(last, incarnation, peers, Duration::ZERO)
}

/// A node that takes its time until it believes to be alone.
fn patient(last: u8, incarnation: u64, peers: &[u8], alone_delay: Duration) -> Node {
    started(last, incarnation, peers, alone_delay, at(0))
}

/// A node that starts at some time.
fn started(
    last: u8,
    incarnation: u64,
    peers: &[u8],
    alone_delay: Duration,
    start: Instant,
) -> Node {
    let config = NodeConfig {
        address: address(last),
        incarnation: Incarnation(incarnation),
        advert_interval: Duration::from_millis(100),
        down_factor: 3,
        startup_delay: Duration::ZERO,
        alone_delay,
        liveness: None,
        lease: None,
        drain: Duration::from_secs(1),
        peers: peers.iter().map(|peer| address(*peer)).collect(),
        keys: Keyring::new(&[Key {
            id: 1,
            secret: &[7; 32],
        }])
        .unwrap(),
    };
    let instance = InstanceConfig {
        vrid: VRID,
        priority: Priority::new(100).unwrap(),
        preempt: true,
        preempt_delay: Duration::ZERO,
        vips_digest: u32::from(last),
    };
    let mut node = Node::new(config, &[instance]);
    node.handle_startup(start);
    node.handle_timeout(start);
    node
}

fn advert(node: &mut Node) -> Vec<u8> {
    node.encode_advert(&mut [0; MAX_DATAGRAM]).to_vec()
}

fn drain(node: &mut Node) -> Vec<Action> {
    core::iter::from_fn(|| node.poll_action()).collect()
}

/// Both nodes hear each other until their sessions are verified.
fn introduce(one: &mut Node, other: &mut Node, now: Instant) {
    for _ in 0..2 {
        other.handle_datagram(one.address, &advert(one), now);
        one.handle_datagram(other.address, &advert(other), now);
    }
}

fn rejections(actions: &[Action]) -> Vec<RejectReason> {
    let reason = |action: &Action| {
        let Action::Report(Report::Rejected { reason, .. }) = action else {
            return None;
        };
        Some(*reason)
    };
    actions.iter().filter_map(reason).collect()
}

#[test]
fn a_lonely_node_becomes_active_by_claim_transmit_announce() {
    let mut node = node(1, 11, &[2]);
    drain(&mut node);
    for tick in 1..=3 {
        node.handle_timeout(at(tick * 100));
    }
    drain(&mut node);
    node.handle_timeout(node.poll_timeout().unwrap());
    let actions = drain(&mut node);
    assert!(
        matches!(
            actions[..],
            [
                Action::Claim { .. },
                Action::Transmit,
                Action::Announce { .. },
                Action::Report(_)
            ]
        ),
        "{actions:?}"
    );
}

/// Feeds timeouts until the node claims; answers when, in milliseconds.
fn claims_at(node: &mut Node, end: u64) -> Option<u64> {
    loop {
        let due = node.poll_timeout().filter(|due| *due < at(end))?;
        node.handle_timeout(due);
        let claims = |action: &Action| matches!(action, Action::Claim { .. });
        if drain(node).iter().any(claims) {
            return Some(due.as_nanos() / 1_000_000);
        }
    }
}

#[test]
fn a_node_that_hears_nobody_is_alone_only_after_a_while() {
    let mut alone = patient(1, 11, &[2], Duration::from_secs(1));
    assert_eq!(claims_at(&mut alone, 5000), Some(1000));
}

#[test]
fn a_node_whose_link_came_up_is_alone_only_after_a_while() {
    let mut node = patient(1, 11, &[2], Duration::from_secs(1));
    node.handle_link(VRID, LinkState::Down, at(100));
    node.handle_link(VRID, LinkState::Up, at(3000));
    assert_eq!(claims_at(&mut node, 9000), Some(4000));
}

#[test]
fn hearing_a_peer_ends_the_doubt_at_once() {
    let mut doubtful = patient(1, 11, &[2], Duration::from_secs(60));
    let mut backup = node(2, 22, &[1]);
    introduce(&mut doubtful, &mut backup, at(10));
    let claimed = claims_at(&mut doubtful, 9000);
    assert!(claimed.is_some_and(|at| at < 3000), "{claimed:?}");
}

#[test]
fn a_lease_claimed_in_the_first_interval_is_renewed_at_its_end() {
    let mut active = node(2, 22, &[1]);
    let claimed = claims_at(&mut active, 5000).unwrap();
    let mut heir = started(1, 11, &[2], Duration::ZERO, at(claimed + 1));
    introduce(&mut heir, &mut active, at(claimed + 2));
    // The Active node leaves and names this one, which has not seen a tick yet.
    active.handle_shutdown(at(claimed + 3));
    let farewell = advert(&mut active);
    heir.handle_datagram(address(2), &farewell, at(claimed + 3));
    let claims = |action: &Action| matches!(action, Action::Claim { .. });
    assert!(drain(&mut heir).iter().any(claims));
    heir.handle_timeout(at(claimed + 101));
    let renewed = Action::Lease {
        until: at(claimed + 101 + 175),
        anew: false,
    };
    let actions = drain(&mut heir);
    assert!(actions.contains(&renewed), "{actions:?}");
}

#[test]
fn two_nodes_verify_each_other_within_one_and_a_half_round_trips() {
    let (mut one, mut other) = (node(1, 11, &[2]), node(2, 22, &[1]));
    drain(&mut one);
    drain(&mut other);
    other.handle_datagram(address(1), &advert(&mut one), at(1));
    assert_eq!(
        drain(&mut other),
        [Action::Transmit],
        "a stranger is answered, not believed"
    );
    one.handle_datagram(address(2), &advert(&mut other), at(1));
    let actions = drain(&mut one);
    assert_eq!(actions[0], Action::Transmit);
    assert!(actions.contains(&Action::Report(Report::PeerUp { peer: address(2) })));
    other.handle_datagram(address(1), &advert(&mut one), at(1));
    assert!(drain(&mut other).contains(&Action::Report(Report::PeerUp { peer: address(1) })));
}

#[test]
fn differing_vips_are_reported_once() {
    let (mut one, mut other) = (node(1, 11, &[2]), node(2, 22, &[1]));
    introduce(&mut one, &mut other, at(1));
    introduce(&mut one, &mut other, at(2));
    let differ = Action::Report(Report::VipsDiffer {
        vrid: VRID,
        peer: address(2),
    });
    assert_eq!(
        drain(&mut one)
            .iter()
            .filter(|action| **action == differ)
            .count(),
        1
    );
}

#[test]
fn an_advert_counts_once_and_its_replay_is_reported_once() {
    let (mut one, mut other) = (node(1, 11, &[2]), node(2, 22, &[1]));
    introduce(&mut one, &mut other, at(1));
    let recorded = advert(&mut other);
    drain(&mut one);
    for _ in 0..3 {
        one.handle_datagram(address(2), &recorded, at(2));
    }
    assert_eq!(rejections(&drain(&mut one)), [RejectReason::Replayed]);
    assert_eq!(one.status(at(2)).counters.rejected, 2);
}

#[test]
fn recordings_of_the_sender_s_earlier_start_are_stale() {
    let (mut one, mut other) = (node(1, 11, &[2]), node(2, 22, &[1]));
    introduce(&mut one, &mut other, at(1));
    let recorded = advert(&mut other);
    let mut restarted = node(2, 23, &[1]);
    introduce(&mut one, &mut restarted, at(2));
    drain(&mut one);
    one.handle_datagram(address(2), &recorded, at(3));
    assert_eq!(rejections(&drain(&mut one)), [RejectReason::StaleSession]);
}

#[test]
fn recordings_from_before_this_start_suppress_but_move_nothing() {
    let (mut one, mut other) = (node(1, 11, &[2]), node(2, 22, &[1]));
    introduce(&mut one, &mut other, at(1));
    let hand_over = {
        while other.status(at(0)).instances[0].state != State::Active {
            let due = other.poll_timeout().unwrap();
            other.handle_timeout(due);
        }
        let active = advert(&mut other);
        other.handle_shutdown(at(1000));
        [active, advert(&mut other)]
    };
    let mut restarted = node(1, 12, &[2]);
    drain(&mut restarted);
    for (recorded, now) in hand_over.iter().zip([10, 20]) {
        restarted.handle_datagram(address(2), recorded, at(now));
    }
    let status = &restarted.status(at(20)).instances[0];
    assert_eq!((status.state, status.epoch), (State::Backup, Epoch(0)));
    let moved = |action: &Action| matches!(action, Action::Claim { .. } | Action::Release { .. });
    assert!(!drain(&mut restarted).iter().any(moved));
}

#[test]
fn who_hears_of_a_later_claim_stops_naming_a_successor() {
    let (mut one, mut other) = (node(1, 11, &[2]), node(2, 22, &[1]));
    assert!(claims_at(&mut one, 5000).is_some());
    for tick in 1..=3 {
        other.handle_timeout(at(tick * 100));
    }
    let names = |node: &mut Node| {
        let bytes = advert(node);
        let records = AdvertView::new_checked(&bytes).unwrap().records();
        records.last().unwrap().successor
    };
    let now = one.status(at(0)).instances[0].since;
    introduce(&mut one, &mut other, now);
    let order = Command::Switchover { to: None };
    assert_eq!(one.handle_command(VRID, order, now), Ok(()));
    assert_eq!(names(&mut one), Some(Incarnation(22)));
    other.handle_datagram(address(1), &advert(&mut one), now);
    assert_eq!(other.status(now).instances[0].state, State::Active);
    // Its advert as Active is lost; the next one says that it has left already.
    let later = other.status(now).instances[0].lease_until.unwrap();
    other.handle_timeout(later);
    assert_eq!(names(&mut one), Some(Incarnation(22)));
    one.handle_datagram(address(2), &advert(&mut other), later);
    assert_eq!(names(&mut one), None);
}

#[test]
fn strangers_and_forgers_are_rejected_for_what_they_are() {
    let mut one = node(1, 11, &[2]);
    drain(&mut one);
    let mut stranger = node(3, 33, &[1]);
    one.handle_datagram(address(3), &advert(&mut stranger), at(1));
    one.handle_datagram(address(2), &advert(&mut stranger), at(1));
    let own = advert(&mut one);
    one.handle_datagram(address(1), &own, at(1));
    let mut forged = advert(&mut node(2, 22, &[1]));
    forged[60] ^= 1;
    one.handle_datagram(address(2), &forged, at(1));
    let expected = [
        RejectReason::UnknownPeer,
        RejectReason::SenderMismatch,
        RejectReason::OwnPacket,
        RejectReason::BadMac,
    ];
    assert_eq!(rejections(&drain(&mut one)), expected);
}

#[test]
fn handlers_called_without_draining_lose_and_reorder_nothing() {
    let run = |drains: bool| {
        let (mut one, mut other) = (node(1, 11, &[2]), node(2, 22, &[1]));
        let mut actions = vec![];
        for step in 1..60 {
            let now = at(step * 50);
            if step % 7 < 4 {
                one.handle_datagram(address(2), &advert(&mut other), now);
                other.handle_datagram(address(1), &advert(&mut one), now);
            }
            if step == 30 {
                one.handle_link(VRID, LinkState::Down, now);
            }
            if step == 40 {
                one.handle_link(VRID, LinkState::Up, now);
            }
            one.handle_timeout(now);
            if drains {
                actions.extend(drain(&mut one));
            }
        }
        actions.extend(drain(&mut one));
        actions
    };
    assert_eq!(run(true), run(false));
    assert!(
        run(true)
            .iter()
            .any(|action| matches!(action, Action::Claim { .. }))
    );
}

#[test]
fn after_a_shutdown_nothing_happens_any_more() {
    let mut node = node(1, 11, &[2]);
    node.handle_shutdown(at(10));
    assert!(drain(&mut node).contains(&Action::Transmit));
    node.handle_timeout(at(10_000));
    node.handle_link(VRID, LinkState::Down, at(10_000));
    assert_eq!((drain(&mut node), node.poll_timeout()), (vec![], None));
}

#[test]
fn ticks_keep_their_grid_and_are_not_made_up_for() {
    let mut node = node(1, 11, &[2]);
    drain(&mut node);
    node.handle_timeout(at(250));
    let transmits = |action: &&Action| **action == Action::Transmit;
    assert_eq!(drain(&mut node).iter().filter(transmits).count(), 1);
    assert_eq!(node.poll_timeout(), Some(at(300)));
}
