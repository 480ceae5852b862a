use super::*;
use std::net::IpAddr;
use vip_proto::Epoch;
use vip_proto::election::{State, TransitionReason};

fn vrid(number: u8) -> Vrid {
    Vrid::new(number).unwrap()
}

fn transition(number: u8, to: State) -> Event {
    Event::Transition {
        vrid: vrid(number),
        from: State::Backup,
        to,
        reason: TransitionReason::ActiveDown,
        epoch: Epoch(1),
    }
}

fn claimed(number: u8) -> Event {
    Event::Claimed {
        vrid: vrid(number),
        epoch: Epoch(1),
        answering: true,
    }
}

fn recording(events: &[(u64, Event)]) -> Recording {
    let records: Vec<FlightRecord> = (1..)
        .zip(events)
        .map(|(number, (at, event))| event.record(number, Instant::from_nanos(at * 1_000_000)))
        .collect();
    Recording::new(&records, [(vrid(1), "web".to_owned())])
}

fn events(entries: &[Entry]) -> Vec<Event> {
    entries.iter().map(|entry| entry.event).collect()
}

#[test]
fn a_story_has_what_concerns_its_instance_and_nothing_else() {
    let peer: IpAddr = [10, 0, 0, 1].into();
    let old = Event::PeerUp { peer };
    let sign = Event::ProbesUnanswered {
        peer,
        count: 3,
        answered: None,
    };
    let other = Event::DataplaneFailed { vrid: vrid(2) };
    let announced = Event::Announced { vrid: vrid(1) };
    let down = Event::PeerDown { peer };
    let recording = recording(&[
        (0, old),
        (10_000, sign),
        (10_001, other),
        (10_002, claimed(2)),
        (10_003, transition(2, State::Active)),
        (10_004, claimed(1)),
        (10_005, transition(1, State::Active)),
        (10_006, announced),
        (10_300, down),
        (20_000, old),
    ]);
    let stories = recording.stories(Some(vrid(1)), 3);
    let [story] = stories.as_slice() else {
        panic!("{stories:?}")
    };
    assert_eq!(story.at.as_nanos(), 10_004_000_000, "the flip");
    assert_eq!(events(&story.before), [sign]);
    assert_eq!(events(&story.after), [claimed(1), announced, down]);
    assert_eq!(recording.stories(None, 3).len(), 2);
}

#[test]
fn what_leads_to_the_next_decision_belongs_to_that() {
    let peer: IpAddr = [10, 0, 0, 1].into();
    let announced = Event::Announced { vrid: vrid(1) };
    let over = Event::LeaseEnded {
        until: Instant::from_nanos(1),
        told: true,
    };
    let released = Event::Released {
        vrid: vrid(1),
        drain: None,
    };
    let recording = recording(&[
        (0, claimed(1)),
        (0, transition(1, State::Active)),
        (1, announced),
        (500, over),
        (501, released),
        (501, transition(1, State::Backup)),
        (800, Event::PeerUp { peer }),
    ]);
    let stories = recording.stories(None, 9);
    let [first, second] = stories.as_slice() else {
        panic!("{stories:?}")
    };
    assert_eq!(events(&first.before), []);
    assert_eq!(events(&first.after), [claimed(1), announced]);
    assert_eq!(events(&second.before), [over]);
    assert_eq!(events(&second.after), [released, Event::PeerUp { peer }]);
}

#[test]
fn only_the_last_are_told_in_their_order() {
    let events: Vec<(u64, Event)> = (0..10)
        .map(|number| (number * 60_000, transition(1, State::Active)))
        .collect();
    let recording = recording(&events);
    let numbers: Vec<u64> = recording
        .stories(None, 3)
        .iter()
        .map(|story| story.decision.number)
        .collect();
    assert_eq!(numbers, [8, 9, 10]);
    assert_eq!(recording.stories(None, 0).len(), 0);
}

#[test]
fn instances_are_found_by_name_and_by_number() {
    let recording = recording(&[(0, claimed(1)), (1, claimed(7))]);
    assert_eq!(recording.find("web"), Some(vrid(1)));
    assert_eq!(recording.find("7"), Some(vrid(7)));
    assert_eq!(recording.find("vrid 7"), Some(vrid(7)));
    assert_eq!(recording.find("8"), None);
    assert_eq!(recording.name(vrid(7)), "vrid 7");
    assert_eq!(
        recording.instances().into_keys().collect::<Vec<_>>(),
        ["vrid 7", "web"]
    );
}

#[test]
fn a_claim_belongs_to_its_decision_also_if_news_stands_between_them() {
    let news = Event::PeerUp {
        peer: [10, 0, 0, 1].into(),
    };
    let announced = Event::Announced { vrid: vrid(1) };
    let recording = recording(&[
        (1_000, transition(1, State::Backup)),
        (5_000, claimed(1)),
        (5_001, news),
        (5_002, announced),
        (5_003, transition(1, State::Active)),
    ]);
    let stories = recording.stories(Some(vrid(1)), 3);
    let [first, second] = stories.as_slice() else {
        panic!("{stories:?}")
    };
    assert_eq!(events(&first.after), []);
    assert_eq!(second.at.as_nanos(), 5_000_000_000, "the flip");
    assert_eq!(events(&second.before), []);
    assert_eq!(events(&second.after), [claimed(1), news, announced]);
}
