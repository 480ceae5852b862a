use super::*;
use vip_proto::native::{Field, RejectReason};

fn instance(number: u8) -> Vrid {
    Vrid::new(number).unwrap()
}

fn agent() -> AgentIdentity {
    AgentIdentity {
        version: [0, 1, 65_535],
        pid: 4_000_000,
        incarnation: Incarnation(u64::MAX),
    }
}

/// One of each, with unusual values.
fn events() -> Vec<Event> {
    let vrid = instance(255);
    let peer: IpAddr = "10.0.0.2".parse().unwrap();
    let v6: IpAddr = "fd00::2".parse().unwrap();
    let at = Instant::from_nanos(u64::MAX - 1);
    let span = Duration::from_nanos(7);
    let mut events = vec![
        Event::AgentStarted(agent()),
        Event::AgentResumed(agent()),
        Event::AgentStopping { pid: 7 },
        Event::AgentRestarting {
            pid: 7,
            grace: span,
        },
        Event::InstanceNamed {
            vrid,
            second: true,
            bytes: [[0xff; 8]; 5],
        },
        Event::PeerUp { peer },
        Event::PeerDown { peer: v6 },
        Event::AdvertMissed { peer, since: at },
        Event::ProbesUnanswered {
            peer: v6,
            count: 3,
            answered: Some(at),
        },
        Event::ProbesUnanswered {
            peer,
            count: 2,
            answered: None,
        },
        Event::AgentLate { peer },
        Event::PeerLeaseOver { peer },
        Event::Rejected {
            from: peer,
            reason: RejectReason::BadField(Field::Vrid),
        },
        Event::VipsDiffer { vrid, peer },
        Event::OwnStall { late: span },
        Event::LeaseBegun { until: at },
        Event::LeaseRenewedLate { left: span },
        Event::LeaseEnded {
            until: at,
            told: false,
        },
        Event::LeaseEnded {
            until: at,
            told: true,
        },
    ];
    events.extend(flips(vrid, peer, v6, at, span));
    events.extend(LINKS.map(|link| Event::Link { vrid, link }));
    events.extend(REASONS.map(|reason| Event::Transition {
        vrid,
        from: State::Active,
        to: State::Initialize,
        reason,
        epoch: Epoch(u32::MAX),
    }));
    events
}

fn flips(vrid: Vrid, peer: IpAddr, v6: IpAddr, at: Instant, span: Duration) -> Vec<Event> {
    vec![
        Event::Detached { ifindex: 9 },
        Event::Attached { ifindex: 9 },
        Event::DataplaneFailed { vrid },
        Event::TransmitFailed,
        Event::TransmitWorks,
        Event::Claimed {
            vrid,
            epoch: Epoch(u32::MAX),
            answering: true,
        },
        Event::Claimed {
            vrid,
            epoch: Epoch(1),
            answering: false,
        },
        Event::Released { vrid, drain: None },
        Event::Released {
            vrid,
            drain: Some(([0; 6], at)),
        },
        Event::Announced { vrid },
        Event::FirstPacket {
            vrid,
            vip: v6,
            after: span,
        },
        Event::HandingOver { vrid, peer: None },
        Event::HandingOver {
            vrid,
            peer: Some(peer),
        },
        Event::HandoverFailed { vrid, peer },
        Event::SplitBrain {
            vrid,
            peer,
            kept: true,
        },
        Event::ForeignClaim {
            vrid,
            address: v6,
            mac: [0xff, 1, 2, 3, 4, 0xfe],
            kind: ConflictKind::Vrrp,
        },
    ]
}

#[test]
fn every_event_is_read_as_it_was_written() {
    for event in events() {
        let record = event.record(12, Instant::from_nanos(34));
        let entry = Entry::parse(&record);
        assert_eq!(entry.event, event);
        assert_eq!((entry.number, entry.at.as_nanos()), (12, 34));
        assert_eq!((entry.times, entry.last), (1, entry.at), "{event:?}");
    }
}

#[test]
fn every_kind_of_event_has_its_own_number() {
    let mut kinds: Vec<(u32, std::mem::Discriminant<Event>)> = events()
        .iter()
        .map(|event| {
            let kind = event.record(1, Instant::default()).kind;
            (kind, std::mem::discriminant(event))
        })
        .collect();
    kinds.sort_by_key(|(kind, _)| *kind);
    kinds.dedup();
    for pair in kinds.windows(2) {
        let [(one, _), (other, _)] = pair else {
            continue;
        };
        assert_ne!(one, other, "two events have one number");
    }
    // What is in the table, and no more.
    let numbers: Vec<u32> = kinds.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(
        numbers,
        [
            1, 2, 3, 4, 6, 10, 11, 12, 13, 14, 15, 16, 17, 20, 30, 31, 32, 33, 40, 41, 42, 43, 44,
            50, 51, 52, 60, 61, 62, 63, 64, 70, 71, 80, 81
        ]
    );
}

#[test]
fn what_a_newer_agent_wrote_is_kept_as_it_is() {
    let mut record = Event::TransmitFailed.record(1, Instant::default());
    record.kind = 4711;
    record.details = [1, 2, 3];
    let unknown = Event::Unknown {
        kind: 4711,
        details: [1, 2, 3],
    };
    assert_eq!(Entry::parse(&record).event, unknown);

    let mut transition = events().last().unwrap().record(1, Instant::default());
    // A reason that is not known.
    transition.details[0] |= 0xff << 16;
    let Event::Unknown { kind: 60, .. } = Entry::parse(&transition).event else {
        panic!("a reason without a word must not become another one");
    };
}

#[test]
fn a_merged_record_tells_how_often_and_when_last() {
    let at = Instant::from_nanos(5_000_000_000);
    let mut record = Event::OwnStall {
        late: Duration::from_millis(3),
    }
    .record(1, at);
    record.details[2] = merged_word(41, Duration::from_micros(1_500));
    let entry = Entry::parse(&record);
    assert_eq!(entry.times, 42);
    assert_eq!(entry.last, at + Duration::from_micros(1_500));

    // More than can be counted is counted as that.
    record.details[2] = merged_word(u32::MAX, Duration::from_secs(10_000_000));
    let entry = Entry::parse(&record);
    assert_eq!(entry.times, 1 << 24);
    assert_eq!(
        entry.last.saturating_since(at).as_secs(),
        (1 << 40) / 1_000_000
    );
}
