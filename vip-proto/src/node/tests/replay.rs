//! What recorded adverts can do, from whatever time they are: make a node wait, and nothing else.

use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

/// The start of the only peer that is believed.
fn believes(node: &Node) -> Option<Incarnation> {
    node.peers.iter().next()?.sessions.verified()
}

fn moves(actions: &[Action]) -> bool {
    actions.iter().any(|action| {
        matches!(
            action,
            Action::Claim { .. }
                | Action::Lease { .. }
                | Action::Release { .. }
                | Action::Announce { .. }
        )
    })
}

/// Replays to `node`: nothing may come of it but that it waits.
fn replay(node: &mut Node, from: NodeAddress, recorded: &[u8], now: Instant) {
    // What is due is done before, so that all that happens below is the recording's doing.
    node.handle_timeout(now);
    drain(node);
    let status = |node: &Node| {
        let instance = node.status(now).instances[0];
        (instance.state, instance.epoch, instance.lease_until)
    };
    let before = (believes(node), status(node));
    let due = node.elections[0].timeout();
    node.handle_datagram(from, recorded, now);
    assert_eq!((believes(node), status(node)), before);
    assert!(!moves(&drain(node)));
    let later = node.elections[0].timeout();
    assert!(
        later.is_none() || later >= due,
        "{due:?} became {later:?}: sooner by a recording"
    );
}

#[test]
fn a_hundred_restarts_and_no_recording_of_them_opens_anything() {
    let mut one = node(1, 11, &[2]);
    let mut recorded = Vec::new();
    let mut last = node(2, 1000, &[1]);
    for restart in 0..100 {
        let now = at(1000 * (restart + 1));
        last = node(2, 1000 + restart, &[1]);
        // One and a half round trips: hello, answer, proof.
        let hello = advert(&mut last);
        one.handle_datagram(address(2), &hello, now);
        let answer = advert(&mut one);
        last.handle_datagram(address(1), &answer, now);
        assert_eq!(believes(&last), Some(Incarnation(11)));
        let proof = advert(&mut last);
        one.handle_datagram(address(2), &proof, now);
        assert_eq!(believes(&one), Some(Incarnation(1000 + restart)));
        recorded.extend([hello, proof, advert(&mut last)]);
    }
    // The last of all was not delivered: it is news, if late.
    recorded.pop();
    for (step, old) in (0..).zip(&recorded) {
        replay(&mut one, address(2), old, at(101_000 + step));
        assert_eq!(believes(&one), Some(Incarnation(1099)));
    }
    let now = at(102_000);
    drain(&mut one);
    one.handle_datagram(address(2), &advert(&mut last), now);
    assert_eq!(rejections(&drain(&mut one)), []);
    assert!(one.status(now).peers[0].alive);
}

#[test]
fn an_advert_that_was_withheld_until_after_a_restart_opens_nothing() {
    let (mut one, mut other) = (node(1, 11, &[2]), node(2, 22, &[1]));
    other.handle_datagram(address(1), &advert(&mut one), at(1));
    let withheld = advert(&mut other);
    let mut restarted = node(2, 23, &[1]);
    introduce(&mut one, &mut restarted, at(2));
    replay(&mut one, address(2), &withheld, at(3));
    one.handle_datagram(address(2), &advert(&mut restarted), at(4));
    assert_eq!(believes(&one), Some(Incarnation(23)));
}

#[test]
fn what_was_said_to_a_peer_since_forgotten_opens_nothing() {
    let (mut one, mut other) = (node(1, 11, &[]), node(2, 22, &[1]));
    introduce(&mut one, &mut other, at(1));
    assert_eq!(believes(&one), Some(Incarnation(22)));
    let recorded = advert(&mut other);
    one.handle_timeout(at(5000));
    // So many others come that the peer, long silent, has to make room.
    for last in 100..132 {
        let mut stranger = node(last, 1000 + u64::from(last), &[1]);
        one.handle_datagram(address(last), &advert(&mut stranger), at(5000));
    }
    assert!(!one.peers.knows(address(2)));
    let later = at(9000);
    one.handle_timeout(later);
    one.handle_datagram(address(2), &recorded, later);
    let peer = one.peers.get_mut(address(2)).unwrap();
    assert_eq!(peer.sessions.verified(), None);
    introduce(&mut one, &mut other, later);
    let peer = one.peers.get_mut(address(2)).unwrap();
    assert_eq!(peer.sessions.verified(), Some(Incarnation(22)));
}

#[test]
fn an_agent_whose_address_a_second_one_used_for_a_while_is_heard_again() {
    let (mut one, mut other) = (node(1, 11, &[2]), node(2, 22, &[1]));
    introduce(&mut one, &mut other, at(1));
    introduce(&mut one, &mut node(2, 23, &[1]), at(2));
    assert_eq!(believes(&one), Some(Incarnation(23)));
    introduce(&mut one, &mut other, at(1000));
    assert_eq!(believes(&one), Some(Incarnation(22)));
}

#[test]
fn a_recording_neither_ends_the_doubt_of_being_alone_nor_sets_a_faster_pace() {
    let mut fast = patient(2, 22, &[1], Duration::ZERO);
    fast.pace.interval = Duration::from_millis(1);
    while fast.status(at(0)).instances[0].state != State::Active {
        let due = fast.poll_timeout().unwrap();
        fast.handle_timeout(due);
    }
    let recorded = advert(&mut fast);
    let mut alone = patient(1, 12, &[2], Duration::from_secs(1));
    replay(&mut alone, address(2), &recorded, at(10));
    assert_eq!(claims_at(&mut alone, 5000), Some(1000));

    let (mut one, mut slow) = (node(1, 13, &[2, 3]), node(3, 33, &[1]));
    introduce(&mut one, &mut slow, at(1));
    while slow.status(at(0)).instances[0].state != State::Active {
        let due = slow.poll_timeout().unwrap();
        slow.handle_timeout(due);
    }
    one.handle_datagram(address(3), &advert(&mut slow), at(300));
    replay(&mut one, address(2), &recorded, at(301));
    assert!(claims_at(&mut one, 661).is_none());
}

#[test]
fn a_recording_does_not_end_the_doubt_for_what_comes_later_either() {
    let recorded = advert(&mut node(2, 22, &[1]));
    let mut alone = patient(1, 12, &[2], Duration::from_secs(10));
    replay(&mut alone, address(2), &recorded, at(10));
    alone.handle_dataplane_failure(VRID, at(20));
    assert_eq!(claims_at(&mut alone, 20_000), Some(10_000));
}

#[test]
fn what_is_not_authentic_is_not_even_a_reason_to_look_at_the_clock() {
    let (mut one, mut other) = (node(1, 11, &[2]), node(2, 22, &[1]));
    introduce(&mut one, &mut other, at(1));
    assert!(claims_at(&mut one, 5000).is_some());
    let lease_until = one.status(at(0)).instances[0].lease_until.unwrap();
    let mut forged = advert(&mut other);
    forged[60] ^= 1;
    one.handle_datagram(address(2), &forged, lease_until);
    assert!(!moves(&drain(&mut one)));
    // But before anything that is authentic is acted on, the lease that is over is given up.
    one.handle_datagram(address(2), &advert(&mut other), lease_until);
    let actions = drain(&mut one);
    let release = Action::Release {
        vrid: VRID,
        drain: None,
    };
    assert_eq!(actions[0], release);
}

/// What happens between two nodes and somebody who records all they send.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Time passes, and each hears the other; its adverts are recorded.
    Talk { milliseconds: u64 },
    /// The agent of this node starts anew.
    Restart { node: usize },
    /// Something recorded is sent again to whom it was meant for.
    Replay { which: prop::sample::Index },
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u64..150).prop_map(|milliseconds| Step::Talk { milliseconds }),
        2 => (0usize..2).prop_map(|node| Step::Restart { node }),
        6 => any::<prop::sample::Index>().prop_map(|which| Step::Replay { which }),
    ]
}

/// Lets the node do what is due, and hands its advert to the other one; answers the advert.
fn says(nodes: &mut [Node; 2], from: usize, now: Instant) -> Vec<u8> {
    nodes[from].handle_timeout(now);
    drain(&mut nodes[from]);
    let said = advert(&mut nodes[from]);
    let source = nodes[from].address;
    nodes[1 - from].handle_datagram(source, &said, now);
    drain(&mut nodes[1 - from]);
    said
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_recording_of_any_time_moves_anything(steps in prop::collection::vec(any_step(), 1..200)) {
        let mut nodes = [node(1, 1, &[2]), node(2, 2, &[1])];
        let (mut now, mut starts) = (0, 2);
        let mut recorded: Vec<(usize, Vec<u8>)> = vec![];
        for step in steps {
            match step {
                Step::Talk { milliseconds } => {
                    now += milliseconds;
                    for from in [0, 1, 0] {
                        recorded.push((from, says(&mut nodes, from, at(now))));
                    }
                }
                Step::Restart { node: which } => {
                    starts += 1;
                    let (own, peer) = if which == 0 { (1, 2) } else { (2, 1) };
                    nodes[which] = node(own, starts, &[peer]);
                    nodes[which].handle_timeout(at(now));
                    drain(&mut nodes[which]);
                }
                Step::Replay { which } if !recorded.is_empty() => {
                    let (from, datagram) = &recorded[which.index(recorded.len())];
                    let source = nodes[*from].address;
                    replay(&mut nodes[1 - from], source, datagram, at(now));
                }
                Step::Replay { .. } => {}
            }
        }
        // And afterwards the nodes still find each other, within one and a half round trips.
        for from in [0, 1, 0] {
            says(&mut nodes, from, at(now + 1));
        }
        for which in [0, 1] {
            prop_assert_eq!(believes(&nodes[which]), Some(nodes[1 - which].incarnation));
        }
    }
}
