//! The lease: who may answer, and which clock says so.

use vip_common::abi::{Counter, Event};

use super::fixture::{LOCAL, Lease, Setup, Verdict};
use super::frame::{Arp, Tags, ethernet};
use super::harness::{Harness, coarse_now, harness, now};
use super::world::{BROADCAST, CLIENT, CLIENT4, STRANGER, VIP4};

/// Tries until the timing that a test needs has really been there.
const TRIES: usize = 2000;

fn ask() -> Vec<u8> {
    ethernet(
        BROADCAST,
        CLIENT,
        Tags::None,
        0x0806,
        &Arp::request(CLIENT, CLIENT4, VIP4).bytes(),
    )
}

/// Between the coarse clock's reading and the precise one's, the precise one decides: a lease that
/// is over by it is over.
pub fn is_over_when_the_precise_clock_says_so() {
    let mut harness = harness();
    for _ in 0..TRIES {
        let until = now();
        let outcome = harness.run_until(until, LOCAL, &ask());
        if coarse_now() < until {
            // The coarse clock still had the lease valid when the program ran.
            assert_eq!(outcome.verdict, Verdict::Drop);
            assert_eq!(outcome.counters, [(Counter::ArpNotActive, 1)]);
            return;
        }
    }
    panic!("the coarse clock never was behind the precise one");
}

/// In its last tick a lease is still a lease.
pub fn is_valid_to_its_last_tick() {
    let mut harness = harness();
    for _ in 0..TRIES {
        // Less than the resolution that the program assumes by default: the precise clock is read.
        let until = now() + 2_000_000;
        let outcome = harness.run_until(until, LOCAL, &ask());
        if now() < until {
            assert_eq!(outcome.verdict, Verdict::Transmit);
            assert_eq!(outcome.counters, [(Counter::ArpReply, 1)]);
            return;
        }
    }
    panic!("a run never took less than two milliseconds");
}

/// The answer does not depend on which clock is asked: with a tick of an hour it is always the
/// precise one.
pub fn means_the_same_by_the_precise_clock_alone() {
    let mut harness = Harness::load(0, Some(7_200_000_000_000));
    assert_eq!(harness.run(LOCAL, &ask()).verdict, Verdict::Transmit);
    for lease in [Lease::Backup, Lease::Expired] {
        assert_eq!(
            harness.run(Setup { lease, ..LOCAL }, &ask()).verdict,
            Verdict::Drop
        );
    }
}

/// A conflict that finds the buffer full is counted, and nothing else is lost.
pub fn lost_events_are_counted() {
    let mut harness = Harness::load(0, None);
    let claim = Arp::reply(STRANGER, VIP4, BROADCAST, VIP4).bytes();
    let claim = ethernet(BROADCAST, STRANGER, Tags::None, 0x0806, &claim);
    harness.set(now() + 3_600_000_000_000, LOCAL);
    let sent = 3000;
    for _ in 0..sent {
        assert_eq!(harness.send(&claim).0, Verdict::Pass);
    }
    let kept = harness.drain_events().len() as u64;
    let lost = harness.counter(Counter::EventLost);
    assert!(lost > 0, "the buffer took {kept} events");
    assert_eq!(kept + lost, sent);
    assert_eq!(harness.counter(Counter::ArpConflict), sent);
    // Emptied, it takes events again.
    harness.send(&claim);
    assert_eq!(harness.drain_events().len(), 1);
    // Header and record: no event is larger than its type.
    assert_eq!(
        kept,
        64 * 1024 / (8 + size_of::<Event>() as u64).next_multiple_of(8)
    );
}
