use netlink_packet_core::{DoneMessage, ErrorMessage, NLM_F_MULTIPART};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::link::LinkAttribute;
use std::num::NonZeroI32;

use super::*;

/// A listing with its answers, and what it told.
#[derive(Default)]
struct World {
    listing: Listing,
    told: Vec<LinkEvent>,
}

impl World {
    fn begun() -> Self {
        let mut world = Self::default();
        world.listing.begin();
        world
    }

    /// One datagram with these messages.
    fn take(&mut self, messages: &[Vec<u8>]) {
        let told = &mut self.told;
        self.listing
            .take(&messages.concat(), &mut |event| told.push(event));
    }

    /// What the last listing said is there.
    fn listed(&self) -> Option<Vec<u32>> {
        self.told.iter().rev().find_map(|event| match event {
            LinkEvent::Listed { present } => Some(present.iter().copied().collect()),
            LinkEvent::Is(_) | LinkEvent::Deleted { .. } => None,
        })
    }
}

fn message(
    sequence: u32,
    flags: u16,
    payload: impl Into<NetlinkPayload<RouteNetlinkMessage>>,
) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.sequence_number = sequence;
    header.flags = flags;
    let mut message = NetlinkMessage::new(header, payload.into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len().next_multiple_of(4)];
    message.serialize(&mut bytes);
    bytes
}

fn link(index: u32) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link.attributes = vec![LinkAttribute::IfName(format!("eth{index}"))];
    link
}

fn is(sequence: u32, index: u32) -> Vec<u8> {
    message(
        sequence,
        NLM_F_MULTIPART,
        RouteNetlinkMessage::NewLink(link(index)),
    )
}

fn deleted(index: u32) -> Vec<u8> {
    message(0, 0, RouteNetlinkMessage::DelLink(link(index)))
}

fn done(sequence: u32, code: i32) -> Vec<u8> {
    let mut done = DoneMessage::default();
    done.code = code;
    done.extended_ack = Vec::new();
    message(
        sequence,
        NLM_F_MULTIPART,
        NetlinkPayload::<RouteNetlinkMessage>::Done(done),
    )
}

fn refused(sequence: u32, code: i32) -> Vec<u8> {
    let mut error = ErrorMessage::default();
    error.code = NonZeroI32::new(code);
    error.header = vec![0; 16];
    message(
        sequence,
        0,
        NetlinkPayload::<RouteNetlinkMessage>::Error(error),
    )
}

#[test]
fn a_listing_tells_each_interface_and_then_which_there_are() {
    let mut world = World::begun();
    world.take(&[is(1, 1), is(1, 2)]);
    assert_eq!(world.listed(), None, "it has not ended");
    world.take(&[is(1, 3), done(1, 0)]);
    assert_eq!(world.listed(), Some(vec![1, 2, 3]));
    let names: Vec<&str> = world
        .told
        .iter()
        .filter_map(|event| match event {
            LinkEvent::Is(interface) => Some(interface.name.as_str()),
            LinkEvent::Deleted { .. } | LinkEvent::Listed { .. } => None,
        })
        .collect();
    assert_eq!(names, ["eth1", "eth2", "eth3"]);
    assert!(!world.listing.is_due() && !world.listing.running);
}

#[test]
fn what_was_queued_before_the_first_answer_is_not_seen_by_the_listing() {
    let mut world = World::begun();
    // A change of an interface whose deletion was lost.
    world.take(&[is(0, 9)]);
    world.take(&[is(1, 1), done(1, 0)]);
    assert_eq!(world.listed(), Some(vec![1]));
}

#[test]
fn changes_during_a_listing_count() {
    let mut world = World::begun();
    world.take(&[is(1, 1), is(1, 2)]);
    world.take(&[deleted(1)]);
    world.take(&[is(0, 7)]);
    world.take(&[is(1, 3), done(1, 0)]);
    assert_eq!(world.listed(), Some(vec![2, 3, 7]));
    assert!(world.told.contains(&LinkEvent::Deleted { index: 1 }));
}

#[test]
fn an_interface_that_cannot_be_parsed_exists() {
    let mut world = World::begun();
    let mut odd = is(1, 5);
    // Length of the first attribute: longer than the message.
    odd[32..34].copy_from_slice(&u16::MAX.to_ne_bytes());
    world.take(&[is(1, 1), odd, done(1, 0)]);
    assert_eq!(world.listed(), Some(vec![1, 5]));
}

#[test]
fn what_a_bridge_says_of_its_ports_is_not_of_the_interfaces() {
    let of_bridge = |index| {
        let mut link = link(index);
        link.header.interface_family = AddressFamily::Bridge;
        link
    };
    let port = |index| message(0, 0, RouteNetlinkMessage::NewLink(of_bridge(index)));
    let no_port = |index| message(0, 0, RouteNetlinkMessage::DelLink(of_bridge(index)));
    let mut world = World::begun();
    world.take(&[is(1, 1), is(1, 2)]);
    let told = world.told.len();
    world.take(&[port(2), no_port(2), port(9)]);
    assert_eq!(world.told.len(), told, "{:?}", world.told);
    world.take(&[done(1, 0)]);
    assert_eq!(world.listed(), Some(vec![1, 2]));
    // What comes with them in one datagram is told.
    world.take(&[no_port(2), deleted(2), port(1)]);
    assert_eq!(world.told.last(), Some(&LinkEvent::Deleted { index: 2 }));
}

#[test]
fn an_interrupted_listing_says_nothing_and_is_repeated() {
    let mut world = World::begun();
    let last = message(
        1,
        NLM_F_MULTIPART | NLM_F_DUMP_INTR,
        RouteNetlinkMessage::NewLink(link(2)),
    );
    world.take(&[is(1, 1), last, done(1, 0)]);
    assert_eq!(world.listed(), None);
    assert!(!world.listing.is_due(), "not before the changes are over");
    world.listing.retry();
    assert!(world.listing.is_due());
    assert_eq!(world.listing.begin(), 2);
    world.take(&[is(2, 1), is(2, 2), is(2, 3), done(2, 0)]);
    assert_eq!(world.listed(), Some(vec![1, 2, 3]));
}

#[test]
fn losses_during_a_listing_make_for_another() {
    let mut world = World::begun();
    world.take(&[is(1, 1)]);
    world.listing.lost();
    assert!(!world.listing.is_due(), "one at a time");
    world.take(&[done(1, 0)]);
    assert!(world.listing.is_due());
}

#[test]
fn a_refused_listing_is_repeated_a_second_later() {
    for answer in [refused(1, -libc::EBUSY), done(1, -libc::EINTR)] {
        let mut world = World::begun();
        world.take(&[answer]);
        assert_eq!(world.listed(), None);
        assert!(!world.listing.is_due() && world.listing.wanted);
        world.listing.retry();
        assert!(world.listing.is_due());
    }
}

#[test]
fn a_listing_without_an_end_is_given_up() {
    let mut world = World::begun();
    world.take(&[is(1, 1)]);
    for _ in 0..PATIENCE {
        assert!(!world.listing.is_due());
        world.listing.retry();
    }
    assert!(world.listing.is_due());
}

#[test]
fn answers_to_an_earlier_listing_do_not_end_this_one() {
    let mut world = World::begun();
    world.listing.begin();
    world.take(&[is(1, 1), done(1, 0)]);
    assert_eq!(world.listed(), None);
    assert!(world.listing.running);
}

#[test]
fn the_watch_lists_the_interfaces_there_are() {
    let mut watch = LinkWatch::open().unwrap();
    let mut told = Vec::new();
    for _ in 0..100 {
        watch.receive(|event| told.push(event)).unwrap();
        if !watch.is_pending() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let Some(LinkEvent::Listed { present }) = told.last() else {
        panic!("{told:?}");
    };
    // The loopback interface always has the index 1.
    assert!(present.contains(&1));
}
