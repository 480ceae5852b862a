//! Leases, and agents that end: in order, with grace, or replaced by one that goes on.

use super::*;

/// A Backup, 192.0.2.1, and the Active node, 192.0.2.2, that know each other, and when that was.
fn pair() -> (Node, Node, u64) {
    let mut active = node(2, 22, &[1]);
    let now = claims_at(&mut active, 5000).unwrap();
    let mut backup = started(1, 11, &[2], Duration::ZERO, at(now));
    introduce(&mut backup, &mut active, at(now + 1));
    backup.handle_datagram(address(2), &advert(&mut active), at(now + 2));
    drain(&mut backup);
    drain(&mut active);
    (backup, active, now + 2)
}

fn config(last: u8, incarnation: u64) -> NodeConfig {
    NodeConfig {
        address: address(last),
        incarnation: Incarnation(incarnation),
        advert_interval: Duration::from_millis(100),
        down_factor: 3,
        startup_delay: Duration::ZERO,
        alone_delay: Duration::ZERO,
        liveness: None,
        lease: None,
        drain: Duration::from_secs(1),
        peers: vec![address(3 - last)],
        keys: Keyring::new(&[Key {
            id: 1,
            secret: &[7; 32],
        }])
        .unwrap(),
    }
}

fn instance() -> InstanceConfig {
    InstanceConfig {
        vrid: VRID,
        priority: Priority::DEFAULT,
        preempt: true,
        preempt_delay: Duration::ZERO,
        vips_digest: 0,
    }
}

fn leases(actions: &[Action]) -> Vec<(Instant, bool)> {
    let lease = |action: &Action| {
        let Action::Lease { until, anew } = action else {
            return None;
        };
        Some((*until, *anew))
    };
    actions.iter().filter_map(lease).collect()
}

#[test]
fn grace_is_granted_to_a_verified_peer_and_the_lease_follows_the_adverts() {
    let (mut backup, mut active, now) = pair();
    active.handle_restart(at(now), Duration::from_secs(2));
    assert!(active.is_stopped() && active.poll_timeout().is_none());
    let actions = drain(&mut active);
    let extended = Action::Lease {
        until: at(now + 2000),
        anew: false,
    };
    assert_eq!(actions, [Action::Transmit, Action::Transmit, extended]);
    backup.handle_datagram(address(2), &advert(&mut active), at(now));
    let claimed = claims_at(&mut backup, now + 9000);
    assert!(claimed.is_some_and(|at| at >= now + 2300), "{claimed:?}");
}

#[test]
fn grace_in_what_may_be_a_recording_is_ignored() {
    let (_, mut active, now) = pair();
    active.handle_restart(at(now), Duration::from_secs(5));
    let recorded = advert(&mut active);
    let mut stranger = started(1, 12, &[2], Duration::ZERO, at(now));
    stranger.handle_datagram(address(2), &recorded, at(now + 1));
    let claimed = claims_at(&mut stranger, now + 9000);
    assert!(claimed.is_some_and(|at| at < now + 500), "{claimed:?}");
}

#[test]
fn nothing_is_extended_if_a_peer_may_not_have_understood() {
    let (_, mut active, now) = pair();
    let mut stranger = started(1, 12, &[2], Duration::ZERO, at(now));
    active.handle_timeout(at(now + 700));
    active.handle_datagram(address(1), &advert(&mut stranger), at(now + 701));
    drain(&mut active);
    active.handle_restart(at(now + 702), Duration::from_secs(5));
    assert_eq!(leases(&drain(&mut active)), []);
    let bytes = advert(&mut active);
    let grace = AdvertView::new_checked(&bytes).unwrap().header().grace;
    assert_eq!(grace, Duration::ZERO);
}

fn resumed(lease_until: u64) -> Resumed {
    Resumed {
        sequence: 500,
        lease_until: at(lease_until),
        claims: vec![(VRID, Epoch(7))],
    }
}

#[test]
fn who_resumes_is_active_at_once_under_the_former_claim_and_a_lease_no_longer_than_due() {
    let now = 10_000;
    for (left, until) in [(5000, now + 175), (20, now + 120)] {
        let former = resumed(now + left);
        let mut node = Node::resume(config(2, 22), &[instance()], &former, at(now));
        let actions = drain(&mut node);
        assert_eq!(leases(&actions), [(at(until), false)]);
        // A lease that gets shorter does before anything is said, a longer one after.
        let lease_first = matches!(actions[0], Action::Lease { .. });
        assert_eq!(lease_first, left == 5000, "{actions:?}");
        let claims = |action: &Action| matches!(action, Action::Claim { .. });
        assert!(
            !actions.iter().any(claims),
            "the claim is there: {actions:?}"
        );
        node.handle_startup(at(now));
        assert_eq!(drain(&mut node), []);
        let status = node.status(at(now)).instances[0];
        assert_eq!((status.state, status.epoch), (State::Active, Epoch(7)));
        advert(&mut node);
        assert!(node.sequence() > 1_000_000);
    }
}

#[test]
fn who_comes_too_late_to_resume_starts_like_any_other() {
    let mut node = Node::resume(config(2, 22), &[instance()], &resumed(9999), at(10_000));
    assert_eq!((drain(&mut node), node.poll_timeout()), (vec![], None));
    node.handle_startup(at(10_000));
    node.handle_timeout(at(10_000));
    let status = node.status(at(10_000)).instances[0];
    assert_eq!(status.state, State::Backup);
}

#[test]
fn an_echo_of_what_a_former_agent_said_opens_no_session() {
    let (mut backup, mut active, now) = pair();
    active.handle_datagram(address(1), &advert(&mut backup), at(now));
    // It echoes an advert of the Active node's former agent.
    let recorded = advert(&mut backup);
    let former = Resumed {
        sequence: active.sequence(),
        ..resumed(now + 100)
    };
    let mut node = Node::resume(config(2, 22), &[instance()], &former, at(now));
    drain(&mut node);
    node.handle_datagram(address(1), &recorded, at(now + 1));
    assert!(!node.status(at(now + 1)).peers[0].alive);
    introduce(&mut node, &mut backup, at(now + 2));
    assert!(node.status(at(now + 2)).peers[0].alive);
}

#[test]
fn a_shorter_lease_is_renewed_four_times_and_ends_with_the_adverts() {
    let short = NodeConfig {
        lease: Some(Duration::from_millis(40)),
        ..config(2, 22)
    };
    let mut node = Node::new(short, &[instance()]);
    node.handle_startup(at(0));
    drain(&mut node);
    let mut renewals = vec![];
    while let Some(due) = node.poll_timeout().filter(|due| *due <= at(300)) {
        node.handle_timeout(due);
        for (until, _) in leases(&drain(&mut node)) {
            renewals.push((due.as_nanos() / 1_000_000, until.as_nanos() / 1_000_000));
        }
    }
    assert_eq!(renewals[0], (100, 140));
    assert!(renewals.iter().all(|(now, until)| *until == now + 40));
    assert!(renewals.windows(2).all(|pair| pair[1].0 - pair[0].0 <= 10));
    // The ticks stop, as if only the renewals went on: no advert warrants more.
    node.renew_short_lease(at(470));
    assert_eq!(node.lease.until(), Some(at(475)));
}

#[test]
fn an_orderly_stop_hands_over_before_it_ends() {
    let (mut backup, mut active, now) = pair();
    active.handle_datagram(address(1), &advert(&mut backup), at(now));
    backup.handle_station(VRID, [2, 0, 0, 0, 0, 1]);
    active.handle_shutdown(at(now));
    assert_eq!(drain(&mut active), [Action::Transmit]);
    assert!(!active.is_stopped());
    backup.handle_datagram(address(2), &advert(&mut active), at(now + 1));
    let accepts = Action::Claim {
        vrid: VRID,
        epoch: Epoch(2),
        answering: false,
    };
    assert!(drain(&mut backup).contains(&accepts));
    assert!(backup.status(at(now)).instances[0].accepting);
    active.handle_datagram(address(1), &advert(&mut backup), at(now + 2));
    let drains = Action::Release {
        vrid: VRID,
        drain: Some(Drain {
            mac: [2, 0, 0, 0, 0, 1],
            until: at(now + 1002),
        }),
    };
    assert_eq!(drain(&mut active)[0], drains);
    assert!(active.is_stopped());
    backup.handle_datagram(address(2), &advert(&mut active), at(now + 3));
    let answers = Action::Claim {
        vrid: VRID,
        epoch: Epoch(2),
        answering: true,
    };
    assert_eq!(
        drain(&mut backup)[..],
        [answers, Action::Announce { vrid: VRID }]
    );
}

#[test]
fn a_stop_whose_successor_does_not_claim_ends_by_itself_or_at_the_second_word() {
    for impatient in [false, true] {
        let (mut backup, mut active, now) = pair();
        active.handle_datagram(address(1), &advert(&mut backup), at(now));
        active.handle_shutdown(at(now));
        if impatient {
            active.handle_shutdown(at(now + 10));
        }
        while let Some(due) = active.poll_timeout() {
            active.handle_timeout(due);
        }
        let ended = active.last_tick;
        assert!(active.is_stopped());
        assert!(ended <= at(now + if impatient { 10 } else { 300 }));
        let released = |action: &Action| matches!(action, Action::Release { drain: None, .. });
        assert!(drain(&mut active).iter().any(released));
        // Its last words name the successor, which claims by them.
        assert_eq!(claims_at(&mut backup, now + 290), None);
        backup.handle_datagram(address(2), &advert(&mut active), at(now + 300));
        let claims = |action: &Action| {
            matches!(
                action,
                Action::Claim {
                    answering: true,
                    ..
                }
            )
        };
        assert!(drain(&mut backup).iter().any(claims));
    }
}

#[test]
fn a_switchover_nobody_takes_leaves_everything_as_it_was() {
    let (mut backup, mut active, now) = pair();
    active.handle_datagram(address(1), &advert(&mut backup), at(now));
    let order = |to| Command::Switchover { to };
    assert_eq!(active.handle_command(VRID, order(None), at(now)), Ok(()));
    assert_eq!(
        active.handle_command(VRID, order(Some(address(7))), at(now)),
        Err(Refusal::HandingOver { to: address(1) })
    );
    drain(&mut active);
    let mut actions = vec![];
    while let Some(due) = active.poll_timeout().filter(|due| *due < at(now + 500)) {
        active.handle_timeout(due);
        actions.extend(drain(&mut active));
    }
    let failed = Action::Report(Report::HandoverFailed {
        vrid: VRID,
        peer: address(1),
    });
    assert!(actions.contains(&failed), "{actions:?}");
    let status = active.status(at(now + 400)).instances[0];
    assert_eq!((status.state, status.handing_over), (State::Active, false));
}

#[test]
fn who_resumes_holds_back_where_its_former_agent_did_but_not_where_it_is_active() {
    let mut node = Node::resume(config(1, 11), &[instance()], &resumed(900), at(1000));
    assert_eq!(node.held().count(), 0);
    node.handle_held(VRID);
    assert_eq!(node.held().collect::<Vec<_>>(), [VRID]);
    let mut node = Node::resume(config(1, 11), &[instance()], &resumed(1200), at(1000));
    node.handle_held(VRID);
    assert_eq!(node.held().count(), 0, "it is Active");
}
