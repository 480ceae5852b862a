use std::net::IpAddr;
use std::time::Duration;

use vip_common::abi::FlightRecord;
use vip_proto::election::{State, TransitionReason};
use vip_proto::{Epoch, Incarnation, Instant, Vrid};

use super::clock::WallClock;
use super::{phrase, render};
use crate::flight::Event;
use crate::flight::event::{AgentIdentity, Link};
use crate::flight::story::Recording;

fn vrid() -> Vrid {
    Vrid::new(51).unwrap()
}

fn peer() -> IpAddr {
    [10, 1, 0, 1].into()
}

/// Microseconds after the first record's second.
fn at(microseconds: u64) -> Instant {
    Instant::from_nanos(7_000_000_000 + microseconds * 1_000)
}

fn transition(from: State, to: State, reason: TransitionReason, epoch: u32) -> Event {
    Event::Transition {
        vrid: vrid(),
        from,
        to,
        reason,
        epoch: Epoch(epoch),
    }
}

fn claimed(epoch: u32, answering: bool) -> Event {
    Event::Claimed {
        vrid: vrid(),
        epoch: Epoch(epoch),
        answering,
    }
}

fn announced() -> Event {
    Event::Announced { vrid: vrid() }
}

/// The last transitions told a minute and a bit after the first record.
fn told(events: &[(u64, Event)], last: usize) -> String {
    let records: Vec<FlightRecord> = (1..)
        .zip(events)
        .map(|(number, (time, event))| event.record(number, at(*time)))
        .collect();
    let recording = Recording::new(&records, [(vrid(), "web".to_owned())]);
    let clock = WallClock::at(at(75_000_000), 1_763_731_275_000_000_000);
    let stories = recording.stories(None, last);
    assert_eq!(
        render::json(&recording, &stories, clock).len(),
        stories.len()
    );
    anstream::adapter::strip_str(&render::text(&recording, &stories, clock)).to_string()
}

#[test]
fn adverts_of_the_active_node_stop() {
    let text = told(
        &[
            (
                0,
                Event::AdvertMissed {
                    peer: peer(),
                    since: at(0),
                },
            ),
            (110_000, claimed(3, true)),
            (
                110_012,
                transition(
                    State::Backup,
                    State::Active,
                    TransitionReason::ActiveDown,
                    3,
                ),
            ),
            (110_020, announced()),
            (
                110_890,
                Event::FirstPacket {
                    vrid: vrid(),
                    vip: [10, 1, 0, 100].into(),
                    after: Duration::from_micros(890),
                },
            ),
        ],
        3,
    );
    insta::assert_snapshot!("adverts_stop", text);
}

#[test]
fn the_active_node_dies() {
    let text = told(
        &[
            (
                0,
                Event::ProbesUnanswered {
                    peer: peer(),
                    count: 1,
                    answered: Some(at(0)),
                },
            ),
            (
                2_900,
                Event::ProbesUnanswered {
                    peer: peer(),
                    count: 3,
                    answered: Some(at(0)),
                },
            ),
            (2_930, claimed(3, true)),
            (
                2_935,
                transition(State::Backup, State::Active, TransitionReason::NodeDead, 3),
            ),
            (2_940, announced()),
            (
                90_000,
                Event::AdvertMissed {
                    peer: peer(),
                    since: at(0),
                },
            ),
            (400_000, Event::PeerDown { peer: peer() }),
        ],
        1,
    );
    insta::assert_snapshot!("node_dead", text);
}

/// A row that is merged with the loss of a probe long before stands in an early record.
#[test]
fn the_node_that_died_is_the_one_whose_row_ended_last() {
    let unanswered = |peer, count| Event::ProbesUnanswered {
        peer,
        count,
        answered: Some(at(0)),
    };
    let other = [10, 1, 0, 3].into();
    let mut died = unanswered(peer(), 3).record(1, at(0));
    died.details[2] = 1 << 40 | 2_900;
    let records = [
        died,
        unanswered(other, 2).record(2, at(1_000)),
        transition(State::Backup, State::Active, TransitionReason::NodeDead, 3)
            .record(3, at(2_930)),
    ];
    let recording = Recording::new(&records, [(vrid(), "web".to_owned())]);
    let told = phrase::sentence(&recording.stories(None, 1)[0]);
    assert!(told.contains("node 10.1.0.1 was dead"), "{told}");
}

#[test]
fn the_agent_of_the_active_node_hangs() {
    let text = told(
        &[
            (
                0,
                Event::AdvertMissed {
                    peer: peer(),
                    since: at(0),
                },
            ),
            // Another Backup's, which has nothing to do with it.
            (
                100_000,
                Event::AdvertMissed {
                    peer: [10, 1, 0, 3].into(),
                    since: at(50_000),
                },
            ),
            (125_800, Event::PeerLeaseOver { peer: peer() }),
            (126_000, claimed(3, true)),
            (
                126_004,
                transition(State::Backup, State::Active, TransitionReason::AgentDead, 3),
            ),
            (126_010, announced()),
        ],
        1,
    );
    insta::assert_snapshot!("agent_dead", text);
}

#[test]
fn the_agent_is_frozen_and_thawed() {
    let text = told(
        &[
            (
                0,
                Event::OwnStall {
                    late: Duration::from_millis(4_321),
                },
            ),
            (
                10,
                Event::LeaseEnded {
                    until: at(0),
                    told: true,
                },
            ),
            (
                20,
                Event::Released {
                    vrid: vrid(),
                    drain: None,
                },
            ),
            (
                25,
                transition(
                    State::Active,
                    State::Backup,
                    TransitionReason::LeaseExpired,
                    2,
                ),
            ),
            (40_000, Event::PeerUp { peer: peer() }),
        ],
        3,
    );
    insta::assert_snapshot!("frozen", text);
}

#[test]
fn a_switchover_as_both_nodes_tell_it() {
    let drain = Some(([2, 0, 0, 0, 0, 2], at(2_001_200)));
    let old = told(
        &[
            (
                0,
                Event::HandingOver {
                    vrid: vrid(),
                    peer: Some(peer()),
                },
            ),
            (
                1_200,
                Event::Released {
                    vrid: vrid(),
                    drain,
                },
            ),
            (
                1_210,
                transition(
                    State::Active,
                    State::Backup,
                    TransitionReason::Switchover,
                    3,
                ),
            ),
        ],
        1,
    );
    insta::assert_snapshot!("switchover_old", old);
    let new = told(
        &[
            (300, claimed(3, false)),
            (
                310,
                transition(State::Backup, State::Active, TransitionReason::Successor, 3),
            ),
            (1_400, claimed(3, true)),
            (1_420, announced()),
        ],
        1,
    );
    insta::assert_snapshot!("switchover_new", new);
}

#[test]
fn preemption_and_its_end() {
    let text = told(
        &[
            (0, Event::PeerUp { peer: peer() }),
            (
                50_000,
                Event::Released {
                    vrid: vrid(),
                    drain: None,
                },
            ),
            (
                50_010,
                transition(State::Active, State::Backup, TransitionReason::Preempted, 4),
            ),
            (
                60_000,
                Event::SplitBrain {
                    vrid: vrid(),
                    peer: peer(),
                    kept: false,
                },
            ),
        ],
        1,
    );
    insta::assert_snapshot!("preempted", text);
}

#[test]
fn the_link_goes_and_comes_back() {
    let link = |link| Event::Link { vrid: vrid(), link };
    let text = told(
        &[
            (0, link(Link::Down)),
            (
                4,
                Event::Released {
                    vrid: vrid(),
                    drain: None,
                },
            ),
            (
                9,
                transition(State::Active, State::Backup, TransitionReason::LinkDown, 4),
            ),
            (1_000, Event::TransmitFailed),
            (3_000_000, link(Link::Up)),
            (3_000_100, Event::TransmitWorks),
        ],
        1,
    );
    insta::assert_snapshot!("link_down", text);
}

#[test]
fn an_agent_starts_where_one_was_killed() {
    let agent = AgentIdentity {
        version: [0, 1, 0],
        pid: 4242,
        incarnation: Incarnation(7),
    };
    let text = told(
        &[
            (0, Event::AgentStarted(agent)),
            (
                90,
                transition(
                    State::Initialize,
                    State::Backup,
                    TransitionReason::Started,
                    0,
                ),
            ),
            (
                1_000_000,
                Event::ProbesUnanswered {
                    peer: peer(),
                    count: 1,
                    answered: Some(at(998_700)),
                },
            ),
            (
                1_000_200,
                Event::Unknown {
                    kind: 4711,
                    details: [1, 2, 3],
                },
            ),
            (1_360_000, claimed(1, true)),
            (
                1_360_004,
                transition(
                    State::Backup,
                    State::Active,
                    TransitionReason::ActiveDown,
                    1,
                ),
            ),
        ],
        3,
    );
    insta::assert_snapshot!("restarted", text);
}
