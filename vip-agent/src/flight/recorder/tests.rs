use super::*;
use crate::dataplane::flight::tests::ring;
use crate::flight::record::Entry;
use std::net::IpAddr;
use vip_proto::Epoch;
use vip_proto::election::{State, TransitionReason};
use vip_proto::native::RejectReason;

fn vrid() -> Vrid {
    Vrid::new(51).unwrap()
}

fn peer(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

fn at(milliseconds: u64) -> Instant {
    Instant::from_nanos(milliseconds * 1_000_000)
}

fn entries(ring: &FlightRing) -> Vec<Entry> {
    ring.records().iter().map(Entry::parse).collect()
}

fn over() -> Event {
    Event::LeaseEnded {
        until: at(7),
        told: false,
    }
}

fn echo(arrived: Instant, lease_left: Duration) -> EchoSeen {
    EchoSeen {
        sent: arrived,
        arrived,
        incarnation: Incarnation(2),
        lease_left,
        instances: [None; 8],
    }
}

fn transition() -> Event {
    Event::Transition {
        vrid: vrid(),
        from: State::Backup,
        to: State::Active,
        reason: TransitionReason::ActiveDown,
        epoch: Epoch(2),
    }
}

#[test]
fn a_new_agent_goes_on_where_the_last_one_was_killed() {
    let (ring, file) = ring();
    let mut first = Recorder::new(Arc::new(ring));
    first.begin(Incarnation(1), false, [(vrid(), "web")]);
    first.note_at(transition(), at(1));
    std::mem::forget(first);

    let again = Arc::new(FlightRing::open(&file, FLIGHT_RECORDS).unwrap());
    let mut second = Recorder::new(Arc::clone(&again));
    second.begin(Incarnation(1), true, []);
    let entries = entries(&again);
    let numbers: Vec<u64> = entries.iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    assert!(
        matches!(entries[0].event, Event::AgentStarted(agent) if agent.pid == std::process::id())
    );
    assert_eq!(entries[2].event, transition());
    assert!(matches!(entries[3].event, Event::AgentResumed(_)));
    assert_eq!(second.lost(), 0);
}

#[test]
fn the_ring_goes_round_and_a_new_agent_finds_its_end() {
    let (ring, file) = ring();
    let mut recorder = Recorder::new(Arc::new(ring));
    for number in 0..u64::from(FLIGHT_RECORDS) + 10 {
        recorder.note_at(over(), at(number));
    }
    let again = Arc::new(FlightRing::open(&file, FLIGHT_RECORDS).unwrap());
    Recorder::new(Arc::clone(&again)).note_at(transition(), at(9_999));
    let entries = entries(&again);
    assert_eq!(entries.len(), usize::try_from(FLIGHT_RECORDS).unwrap());
    let last = entries.last().unwrap();
    assert_eq!(last.number, u64::from(FLIGHT_RECORDS) + 11);
    assert_eq!(last.event, transition());
}

#[test]
fn a_flood_is_one_record() {
    let (ring, _file) = ring();
    let ring = Arc::new(ring);
    let mut recorder = Recorder::new(Arc::clone(&ring));
    recorder.note_at(transition(), at(0));
    for number in 0..100_000_u64 {
        let [last, other, ..] = number.to_le_bytes();
        recorder.note_at(
            Event::Rejected {
                from: [192, 0, other, last].into(),
                reason: RejectReason::BadMac,
            },
            at(number),
        );
    }
    let entries = entries(&ring);
    assert_eq!(entries.len(), 2, "whoever sends them");
    assert_eq!((entries[1].times, entries[1].last), (100_000, at(99_999)));
    assert_eq!(entries[0].event, transition());
}

#[test]
fn signs_are_merged_by_peer_and_until_a_decision() {
    let (ring, _file) = ring();
    let ring = Arc::new(ring);
    let mut recorder = Recorder::new(Arc::clone(&ring));
    let late = |last| Event::AgentLate { peer: peer(last) };
    for (event, time) in [
        (late(1), 0),
        (late(2), 1),
        (late(1), 2),
        (late(1), 3),
        (transition(), 4),
        (late(1), 5),
        // Long after.
        (late(1), 20_000),
    ] {
        recorder.note_at(event, at(time));
    }
    let seen: Vec<(Event, u32)> = entries(&ring)
        .iter()
        .map(|entry| (entry.event, entry.times))
        .collect();
    assert_eq!(
        seen,
        [
            (late(1), 3),
            (late(2), 1),
            (transition(), 1),
            (late(1), 1),
            (late(1), 1),
        ]
    );
}

#[test]
fn single_losses_are_merged_and_death_is_told_apart() {
    let (ring, _file) = ring();
    let ring = Arc::new(ring);
    let mut recorder = Recorder::new(Arc::clone(&ring));
    let lost = |count, answered| Event::ProbesUnanswered {
        peer: peer(1),
        count,
        answered: Some(at(answered)),
    };
    for (event, time) in [
        (lost(1, 10), 12),
        (lost(1, 1_010), 1_012),
        (lost(1, 2_010), 2_012),
        (lost(3, 2_010), 2_014),
        (transition(), 2_015),
        // A row that begins with a report of its own.
        (lost(1, 9_000), 9_002),
        (lost(3, 9_000), 9_004),
    ] {
        recorder.note_at(event, at(time));
    }
    let seen: Vec<(Event, u32)> = entries(&ring)
        .iter()
        .map(|entry| (entry.event, entry.times))
        .collect();
    assert_eq!(
        seen,
        [
            (lost(1, 10), 3),
            (lost(3, 2_010), 1),
            (transition(), 1),
            (lost(3, 9_000), 2),
        ]
    );
}

#[test]
fn the_last_answer_is_told_with_the_probes_that_had_none() {
    let (ring, _file) = ring();
    let ring = Arc::new(ring);
    let mut recorder = Recorder::new(Arc::clone(&ring));
    let node = |last| NodeAddress(peer(last));
    let lease = Duration::from_millis(100);
    recorder.answered(node(2), &echo(at(3), lease));
    recorder.answered(node(1), &echo(at(4), lease));
    recorder.answered(node(1), &echo(at(5), lease));
    for last in [1, 3] {
        recorder.action(&Action::Report(Report::ProbesUnanswered {
            peer: node(last),
            count: 3,
        }));
    }
    let answers: Vec<Event> = entries(&ring).iter().map(|entry| entry.event).collect();
    let unanswered = |last, answered| Event::ProbesUnanswered {
        peer: peer(last),
        count: 3,
        answered,
    };
    assert_eq!(answers, [unanswered(1, Some(at(5))), unanswered(3, None)]);
}

#[test]
fn who_says_that_its_lease_is_over_is_recorded_once_with_each_decision() {
    let (ring, _file) = ring();
    let ring = Arc::new(ring);
    let mut recorder = Recorder::new(Arc::clone(&ring));
    for time in 3..6 {
        recorder.answered(NodeAddress(peer(2)), &echo(at(time), Duration::ZERO));
    }
    recorder.note_at(transition(), at(6));
    recorder.answered(NodeAddress(peer(2)), &echo(at(7), Duration::ZERO));
    let over = Event::PeerLeaseOver { peer: peer(2) };
    let told: Vec<(Event, u32)> = entries(&ring)
        .iter()
        .map(|entry| (entry.event, entry.times))
        .collect();
    assert_eq!(told, [(over, 3), (transition(), 1), (over, 1)]);
}

#[test]
fn a_record_that_was_overwritten_is_not_amended() {
    let (ring, _file) = ring();
    let ring = Arc::new(ring);
    let mut recorder = Recorder::new(Arc::clone(&ring));
    let stall = |milliseconds| Event::OwnStall {
        late: Duration::from_millis(milliseconds),
    };
    recorder.note_at(stall(9), at(0));
    for _ in 0..FLIGHT_RECORDS {
        recorder.note_at(over(), at(1));
    }
    recorder.note_at(stall(5), at(2));
    let entries = entries(&ring);
    let stalls = entries.iter().filter(|entry| entry.event != over());
    assert_eq!(
        stalls.map(|entry| entry.event).collect::<Vec<_>>(),
        [stall(5)]
    );
}

#[test]
fn a_lease_renewed_in_time_is_no_news() {
    let (ring, _file) = ring();
    let ring = Arc::new(ring);
    let mut recorder = Recorder::new(Arc::clone(&ring));
    recorder.lease(at(175), at(0));
    recorder.lease(at(275), at(100));
    assert_eq!(entries(&ring), []);
    recorder.lease(at(444), at(270));
    // Over already: that is told otherwise.
    recorder.lease(at(675), at(500));
    let events: Vec<Event> = entries(&ring).iter().map(|entry| entry.event).collect();
    let left = Duration::from_millis(5);
    assert_eq!(events, [Event::LeaseRenewedLate { left }]);
}

#[test]
fn only_changes_of_a_link_are_recorded() {
    let (ring, _file) = ring();
    let ring = Arc::new(ring);
    let mut recorder = Recorder::new(Arc::clone(&ring));
    for state in [
        LinkState::Up,
        LinkState::Up,
        LinkState::Down,
        LinkState::Down,
    ] {
        recorder.link(vrid(), state);
    }
    recorder.link(vrid(), LinkState::Up);
    let links: Vec<Event> = entries(&ring).iter().map(|entry| entry.event).collect();
    let link = |link| Event::Link { vrid: vrid(), link };
    assert_eq!(links, [link(Link::Down), link(Link::Up)]);
}

#[test]
fn long_names_are_kept_in_two_parts() {
    let (ring, _file) = ring();
    let ring = Arc::new(ring);
    let name = "n".repeat(63);
    Recorder::new(Arc::clone(&ring)).begin(Incarnation(1), false, [(vrid(), name.as_str())]);
    let recording = crate::flight::story::Recording::new(&ring.records(), []);
    assert_eq!(recording.name(vrid()), name);
}
