//! Probes, echoes and the verdicts: what makes a Backup claim before its down timer ends.

use super::*;
use crate::election::TransitionReason;
use crate::node::{EchoInstance, EchoSeen, PROBED_INSTANCES};

const PROBES: Liveness = Liveness {
    interval: Duration::from_millis(10),
    misses: 3,
};

/// A Backup, 192.0.2.1, that has just heard the Active node, 192.0.2.2, and when that was.
fn following() -> (Node, Node, u64) {
    let mut active = node(2, 22, &[1]);
    let now = claims_at(&mut active, 5000).unwrap();
    let mut backup = started(1, 11, &[2], Duration::ZERO, at(now));
    backup.liveness = Some(PROBES);
    introduce(&mut backup, &mut active, at(now + 2));
    backup.handle_datagram(address(2), &advert(&mut active), at(now + 2));
    drain(&mut backup);
    (backup, active, now + 2)
}

fn echo(sent: u64, active: bool, lease_left: u64) -> EchoSeen {
    let mut instances = [None; PROBED_INSTANCES];
    instances[0] = Some(EchoInstance {
        vrid: VRID,
        active,
        epoch: Epoch(1),
    });
    EchoSeen {
        sent: at(sent),
        arrived: at(sent + 1),
        incarnation: Incarnation(22),
        lease_left: Duration::from_millis(lease_left),
        instances,
    }
}

/// Goes from timeout to timeout, answering the probes before `answered`; answers when it claimed, and
/// all that was done until then.
fn goes_on(node: &mut Node, answered: u64, end: u64) -> (Option<u64>, Vec<Action>) {
    let mut all = vec![];
    while let Some(due) = node.poll_timeout().filter(|due| *due < at(end)) {
        let now = due.as_nanos() / 1_000_000;
        node.handle_timeout(due);
        let actions = drain(node);
        let probed = actions
            .iter()
            .any(|action| matches!(action, Action::Probe { .. }));
        let claimed = actions
            .iter()
            .any(|action| matches!(action, Action::Claim { .. }));
        all.extend(actions);
        if claimed {
            return (Some(now), all);
        }
        if probed && now < answered {
            node.handle_echo(address(2), &echo(now, true, 100), at(now + 2));
            all.extend(drain(node));
        }
    }
    (None, all)
}

fn reports(actions: &[Action]) -> impl Iterator<Item = &Report> {
    actions.iter().filter_map(|action| {
        let Action::Report(report) = action else {
            return None;
        };
        Some(report)
    })
}

fn became_active(actions: &[Action]) -> Option<TransitionReason> {
    reports(actions).find_map(|report| {
        let Report::Transition { to, reason, .. } = report else {
            return None;
        };
        (*to == State::Active).then_some(*reason)
    })
}

fn count(actions: &[Action], counts: impl Fn(&Report) -> bool) -> usize {
    reports(actions).filter(|report| counts(report)).count()
}

#[test]
fn a_node_that_stops_answering_is_dead_after_as_many_misses() {
    let (mut backup, _, now) = following();
    let (claimed, actions) = goes_on(&mut backup, now + 45, now + 2000);
    // The probes at +0 … +40 are answered; those at +50, +60 and +70 are not.
    assert_eq!(claimed, Some(now + 80));
    assert_eq!(became_active(&actions), Some(TransitionReason::NodeDead));
    let unanswered = |wanted: u32| {
        count(
            &actions,
            |report| matches!(report, Report::ProbesUnanswered { count, .. } if *count == wanted),
        )
    };
    assert_eq!([unanswered(1), unanswered(2), unanswered(3)], [1, 0, 1]);
}

#[test]
fn a_node_that_never_answered_is_not_dead_for_not_answering() {
    let (mut backup, _, now) = following();
    let (claimed, actions) = goes_on(&mut backup, 0, now + 2000);
    assert_eq!(became_active(&actions), Some(TransitionReason::ActiveDown));
    assert!(claimed.is_some_and(|at| at >= now + 360), "{claimed:?}");
}

#[test]
fn who_was_late_itself_begins_to_count_anew() {
    let (mut backup, _, now) = following();
    let (claimed, _) = goes_on(&mut backup, now + 25, now + 45);
    assert_eq!(claimed, None, "two are unanswered");
    // Due at +50, seen at +75: by then the answers may have been there.
    backup.handle_timeout(at(now + 75));
    let late = Report::OwnStall {
        late: Duration::from_millis(25),
    };
    let actions = drain(&mut backup);
    assert!(actions.contains(&Action::Report(late)), "{actions:?}");
    let (claimed, _) = goes_on(&mut backup, 0, now + 300);
    assert_eq!(claimed, Some(now + 110), "probes at +75, +90 and +100");
}

#[test]
fn a_data_plane_that_says_its_lease_is_over_is_believed_at_once() {
    let (mut backup, _, now) = following();
    assert_eq!(goes_on(&mut backup, now + 45, now + 45).0, None);
    let other_start = EchoSeen {
        incarnation: Incarnation(21),
        ..echo(now + 41, false, 0)
    };
    backup.handle_echo(address(2), &other_start, at(now + 43));
    // Asked before this node had heard of the claim.
    backup.handle_echo(address(2), &echo(now - 5, false, 0), at(now + 44));
    // Not Active, with a lease: the adverts will tell.
    backup.handle_echo(address(2), &echo(now + 42, false, 50), at(now + 44));
    assert_eq!(became_active(&drain(&mut backup)), None);
    backup.handle_echo(address(2), &echo(now + 43, false, 0), at(now + 45));
    assert_eq!(
        became_active(&drain(&mut backup)),
        Some(TransitionReason::AgentDead)
    );
}

#[test]
fn an_old_echo_decides_nothing() {
    let (mut backup, mut active, now) = following();
    assert_eq!(goes_on(&mut backup, now + 45, now + 45).0, None);
    backup.handle_datagram(address(2), &advert(&mut active), at(now + 50));
    backup.handle_echo(address(2), &echo(now + 44, false, 0), at(now + 145));
    assert_eq!(became_active(&drain(&mut backup)), None);
}

#[test]
fn while_the_data_plane_is_active_missing_adverts_are_only_reported() {
    let (mut backup, _, now) = following();
    let (claimed, actions) = goes_on(&mut backup, now + 5000, now + 5000);
    assert_eq!(claimed, None);
    let late = count(&actions, |report| {
        matches!(report, Report::AgentLate { .. })
    });
    let missed = count(&actions, |report| {
        matches!(report, Report::AdvertMissed { .. })
    });
    assert_eq!((late, missed), (1, 1));
}

#[test]
fn after_a_wrong_verdict_a_node_has_to_answer_for_a_while_before_the_next() {
    let (mut backup, mut active, now) = following();
    let (claimed, _) = goes_on(&mut backup, now + 45, now + 2000);
    let now = claimed.unwrap();
    // It was alive, and has the better address: this node steps down and follows it again.
    active.handle_datagram(address(1), &advert(&mut backup), at(now + 1));
    backup.handle_datagram(address(2), &advert(&mut active), at(now + 2));
    assert_eq!(backup.status(at(now)).instances[0].state, State::Backup);
    drain(&mut backup);
    let armed = |node: &Node| node.status(at(now)).peers[0].armed;
    goes_on(&mut backup, now + 150, now + 150);
    assert!(!armed(&backup));
    goes_on(&mut backup, now + 400, now + 400);
    assert!(armed(&backup));
}

#[test]
fn an_active_node_probes_nobody_and_a_session_is_told_before_the_first_probe() {
    let (mut one, mut other) = (node(1, 11, &[2]), node(2, 22, &[1]));
    one.liveness = Some(PROBES);
    other.liveness = Some(PROBES);
    let now = claims_at(&mut other, 5000).unwrap();
    one = {
        let mut fresh = started(1, 12, &[2], Duration::ZERO, at(now));
        fresh.liveness = one.liveness;
        fresh
    };
    introduce(&mut one, &mut other, at(now + 1));
    one.handle_datagram(address(2), &advert(&mut other), at(now + 1));
    one.handle_timeout(at(now + 1));
    let asks = |node: &mut Node| {
        let asks =
            |action: &Action| matches!(action, Action::Probe { .. } | Action::Session { .. });
        drain(node).into_iter().filter(asks).collect::<Vec<_>>()
    };
    let session = Action::Session {
        peer: address(2),
        incarnation: Incarnation(22),
        key_id: 1,
    };
    let mut vrids = [0; PROBED_INSTANCES];
    vrids[0] = 1;
    let probe = Action::Probe {
        peer: address(2),
        vrids,
    };
    assert_eq!(asks(&mut one), [session, probe]);
    goes_on(&mut other, 0, now + 90);
    let probes = |action: &Action| matches!(action, Action::Probe { .. });
    assert!(!asks(&mut other).iter().any(probes));
}

#[test]
fn more_instances_than_fit_a_probe_take_turns() {
    let vrid = |number| Vrid::new(number).unwrap();
    let many = |last, incarnation| {
        let keys = Keyring::new(&[Key {
            id: 1,
            secret: &[7; 32],
        }]);
        let instances: Vec<InstanceConfig> = (1..=11)
            .map(|number| InstanceConfig {
                vrid: vrid(number),
                priority: Priority::DEFAULT,
                preempt: false,
                preempt_delay: Duration::ZERO,
                vips_digest: 0,
            })
            .collect();
        let config = NodeConfig {
            address: address(last),
            incarnation: Incarnation(incarnation),
            advert_interval: Duration::from_millis(100),
            down_factor: 3,
            startup_delay: Duration::ZERO,
            alone_delay: Duration::ZERO,
            liveness: Some(PROBES),
            lease: None,
            drain: Duration::ZERO,
            peers: vec![address(3 - last)],
            keys: keys.unwrap(),
        };
        Node::new(config, &instances)
    };
    let mut active = many(2, 22);
    active.handle_startup(at(0));
    let now = claims_at(&mut active, 5000).unwrap();
    let mut backup = many(1, 11);
    backup.handle_startup(at(now));
    backup.handle_timeout(at(now));
    introduce(&mut backup, &mut active, at(now + 1));
    backup.handle_datagram(address(2), &advert(&mut active), at(now + 1));
    let mut asked = vec![];
    for time in [1, 11] {
        backup.handle_timeout(at(now + time));
        for action in drain(&mut backup) {
            if let Action::Probe { vrids, .. } = action {
                asked.extend(vrids.into_iter().filter(|vrid| *vrid != 0));
            }
        }
    }
    assert_eq!(asked, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 1, 2, 3, 4, 5]);
}

#[test]
fn a_node_whose_agent_is_being_restarted_may_leave_more_unanswered() {
    let (mut backup, mut active, now) = following();
    active.handle_restart(at(now + 5), Duration::from_millis(100));
    backup.handle_datagram(address(2), &advert(&mut active), at(now + 5));
    drain(&mut backup);
    let (claimed, actions) = goes_on(&mut backup, now + 45, now + 2000);
    // Nine instead of three, from +50 on.
    assert_eq!(claimed, Some(now + 140));
    assert_eq!(became_active(&actions), Some(TransitionReason::NodeDead));
}
