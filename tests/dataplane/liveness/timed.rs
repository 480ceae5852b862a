//! What liveness probes and echoes do over time.

use vip_common::abi::{AgentSlot, Counter, InstanceSlot, LivenessSlot};

use super::datagram::{Datagram, Message, STEP};
use super::{ASKED, answered, echo, probe};
use crate::fixture::{BACKUP, EXPIRED, LOCAL, Lease, STEER, Setup, TAKING_OVER, Verdict};
use crate::frame::{Arp, Tags, ethernet};
use crate::harness::{Harness, LEASE, Outcome, SECOND, harness, now};
use crate::world::{
    BROADCAST, CLIENT, CLIENT4, ECHO_KEY, EPOCH, GENERATION, INCARNATION, LAST_ECHO, LAST_PROBE,
    PORT, PROBE_KEY, VIP4,
};

/// Where a payload holds what is left of the lease.
const LEASE_LEFT: std::ops::Range<usize> = 24..32;
/// Time that a link can have saved up, in nanoseconds.
const MAX_CREDIT: u64 = 10_000_000;

const ACTIVE: u8 = 2;
const NOT_ACTIVE: u8 = 1;

fn plain() -> Datagram {
    Datagram::probe(false, Tags::None)
}

fn ask(nonce: u64) -> Vec<u8> {
    plain().frame(&Message::probe(nonce, ASKED).bytes(PROBE_KEY))
}

fn lease_left(datagram: Datagram, frame: &[u8]) -> u64 {
    let payload = &frame[datagram.payload_at()..];
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&payload[LEASE_LEFT]);
    u64::from_be_bytes(bytes)
}

fn assert_refused(outcome: &Outcome, counter: Counter) {
    assert_eq!(outcome.verdict, Verdict::Drop);
    assert_eq!(outcome.counters, [(counter, 1)]);
}

/// The echo says what is left of the lease, to the nanosecond, and what this node is; and nothing
/// in the frame is otherwise than it must be.
pub fn echo_is_exact() {
    for (setup, state, epoch) in [
        (LOCAL, ACTIVE, EPOCH),
        (STEER, ACTIVE, EPOCH),
        (TAKING_OVER, ACTIVE, EPOCH),
        (BACKUP, NOT_ACTIVE, 0),
    ] {
        for (datagram, link) in Tags::ALL.into_iter().flat_map(|(tags, _)| {
            [
                (Datagram::probe(false, tags), 0),
                (Datagram::probe(true, tags), 1),
            ]
        }) {
            let until = now() + LEASE;
            let input = datagram.frame(&probe().bytes(PROBE_KEY));
            let start = now();
            let outcome = harness().run_until(until, setup, &input);
            let end = now();
            assert_eq!(outcome.verdict, Verdict::Transmit, "{setup:?}");
            let left = lease_left(datagram, &outcome.output);
            assert!(
                (until - end..=until - start).contains(&left),
                "{left} left of a lease until {until}, at {start} to {end}"
            );
            let nonce = LAST_PROBE + STEP;
            let answer = Message::echo(nonce, INCARNATION, left, answered(state, epoch));
            assert_eq!(outcome.output, datagram.answer(&answer.bytes(PROBE_KEY)));
            assert_eq!(outcome.output.len(), input.len());
            assert_eq!(outcome.counters, [(Counter::ProbeAnswered, 1)]);
            assert_eq!(outcome.probed, [(link, nonce)]);
            assert!(!outcome.ended && outcome.events.is_empty() && outcome.stamps.is_empty());
        }
    }
}

/// Every byte of a probe and of an echo is looked at.
pub fn every_byte_counts() {
    let mut harness = harness();
    for (message, key) in [(probe(), PROBE_KEY), (echo(), ECHO_KEY)] {
        let payload = message.bytes(key);
        for at in 0..payload.len() {
            for bit in [0x01, 0x80] {
                let mut changed = payload.clone();
                changed[at] ^= bit;
                let outcome = harness.run(LOCAL, &plain().frame(&changed));
                // Magic, version, or a kind that there is not.
                if at < 4 {
                    assert_eq!(outcome.verdict, Verdict::Pass, "byte {at}");
                    assert_eq!(outcome.counters, [], "byte {at}");
                } else {
                    assert_refused(&outcome, Counter::LivenessRejected);
                }
                assert!(outcome.probed.is_empty() && outcome.stamps.is_empty());
            }
        }
    }
}

/// A lease that a prober was told is over is over for all, however it is renewed; the next one is not.
pub fn what_was_told_stays_true() {
    let mut harness = harness();
    let request = Arp::request(CLIENT, CLIENT4, VIP4).bytes();
    let request = ethernet(BROADCAST, CLIENT, Tags::None, 0x0806, &request);

    let mut nonce = LAST_PROBE + STEP;
    let outcome = harness.run(EXPIRED, &ask(nonce));
    assert_eq!(lease_left(plain(), &outcome.output), 0);
    assert!(outcome.ended);
    assert_eq!(harness.agent().ended_generation, GENERATION);

    // Too late: the same lease, renewed.
    let renewed = AgentSlot {
        lease_until_ns: now() + LEASE,
        ..harness.agent()
    };
    harness.set_agent(renewed);
    assert_refused(&harness.measure(&request), Counter::ArpNotActive);
    nonce += STEP;
    let outcome = harness.measure(&ask(nonce));
    assert_eq!(lease_left(plain(), &outcome.output), 0);

    // A lease begun anew.
    harness.set_agent(AgentSlot {
        generation: GENERATION + 1,
        ..renewed
    });
    assert_eq!(harness.measure(&request).verdict, Verdict::Transmit);
    nonce += STEP;
    let outcome = harness.measure(&ask(nonce));
    assert!(lease_left(plain(), &outcome.output) > LEASE - 60 * SECOND);
    assert_eq!(harness.agent().ended_generation, GENERATION);
}

/// A lease that is merely looked at while it is over can be renewed: nobody was told.
pub fn what_nobody_was_told_is_renewed() {
    let mut harness = harness();
    let request = Arp::request(CLIENT, CLIENT4, VIP4).bytes();
    let request = ethernet(BROADCAST, CLIENT, Tags::None, 0x0806, &request);
    assert_refused(&harness.run(EXPIRED, &request), Counter::ArpNotActive);
    // Nor does a probe tell anybody that is not answered.
    let refused = harness.measure(&ask(LAST_PROBE));
    assert_refused(&refused, Counter::LivenessReplayed);
    let renewed = AgentSlot {
        lease_until_ns: now() + LEASE,
        ..harness.agent()
    };
    harness.set_agent(renewed);
    assert_eq!(harness.measure(&request).verdict, Verdict::Transmit);
}

/// Nonces rise from probe to probe; with a new key they begin anew.
pub fn nonces_rise_under_one_key() {
    let mut harness = harness();
    let nonce = LAST_PROBE + STEP;
    assert_eq!(harness.run(LOCAL, &ask(nonce)).verdict, Verdict::Transmit);
    let again = harness.measure(&ask(nonce));
    assert_refused(&again, Counter::LivenessReplayed);
    let soon = harness.measure(&ask(nonce + STEP - 1));
    assert_refused(&soon, Counter::LivenessReplayed);
    assert_eq!(
        harness.measure(&ask(nonce + STEP)).verdict,
        Verdict::Transmit
    );

    let new_key = [PROBE_KEY[0] ^ 1, PROBE_KEY[1]];
    let link = LivenessSlot {
        probe_key: new_key,
        ..harness.link(0)
    };
    harness.set_link(0, link);
    let early = plain().frame(&Message::probe(17, ASKED).bytes(new_key));
    let outcome = harness.measure(&early);
    assert_eq!(outcome.verdict, Verdict::Transmit);
    assert_eq!(outcome.probed, [(0, 17)]);
    assert_refused(&harness.measure(&early), Counter::LivenessReplayed);
}

/// However far apart its nonces are, a peer gets no more echoes than it has time for.
pub fn echoes_are_rationed() {
    let mut harness = harness();
    let nonce = LAST_PROBE + SECOND;
    harness.run(LOCAL, &ask(nonce));
    assert_eq!(harness.link(0).credit_ns, MAX_CREDIT - STEP);

    // In the future, so that no time passes.
    let later = now() + LEASE;
    let with = |link: LivenessSlot, credit_ns| LivenessSlot {
        credit_ns,
        probed_at_ns: later,
        ..link
    };
    let poor = with(harness.link(0), STEP - 1);
    harness.set_link(0, poor);
    let outcome = harness.measure(&ask(nonce + SECOND));
    assert_refused(&outcome, Counter::LivenessReplayed);
    assert_eq!(outcome.probed, []);

    let just_enough = with(harness.link(0), STEP);
    harness.set_link(0, just_enough);
    let outcome = harness.measure(&ask(nonce + SECOND));
    assert_eq!(outcome.verdict, Verdict::Transmit);
    assert_eq!(harness.link(0).credit_ns, 0);

    // A second later there is as much as there can be.
    let rested = LivenessSlot {
        probed_at_ns: now() - SECOND,
        ..harness.link(0)
    };
    harness.set_link(0, rested);
    harness.measure(&ask(nonce + 2 * SECOND));
    assert_eq!(harness.link(0).credit_ns, MAX_CREDIT - STEP);
}

/// Echoes are stamped in the order of their probes, each once.
pub fn each_echo_is_stamped_once() {
    let mut harness = harness();
    let at = |nonce| plain().frame(&Message { nonce, ..echo() }.bytes(ECHO_KEY));
    let first = harness.run(LOCAL, &at(LAST_ECHO + 10));
    assert_eq!(first.counters, [(Counter::EchoTaken, 1)]);
    for late in [LAST_ECHO + 10, LAST_ECHO + 9] {
        let outcome = harness.measure(&at(late));
        assert_refused(&outcome, Counter::LivenessReplayed);
        assert_eq!(outcome.stamps, []);
    }
    // The latest possible: sent just now.
    let nonce = now();
    let outcome = harness.measure(&at(nonce));
    assert_eq!(outcome.counters, [(Counter::EchoTaken, 1)]);
    assert_eq!(outcome.stamps.len(), 1);
    let stamp = harness.link(0).echo;
    assert_eq!((stamp.begin, stamp.end), (nonce, nonce));
    // Other links, and the probes of this one, have nothing to do with it.
    assert_eq!(harness.link(1).echo.begin, LAST_ECHO);
    assert_eq!(harness.link(0).probed_nonce, LAST_PROBE);
    let future = harness.measure(&at(now() + SECOND));
    assert_refused(&future, Counter::LivenessReplayed);
}

/// The state in an echo is that of the moment: claims come and go between two probes.
pub fn echoes_follow_the_claim() {
    let mut harness = harness();
    let mut nonce = LAST_PROBE + STEP;
    harness.run(BACKUP, &ask(nonce));
    for (claim, state, epoch) in [
        (InstanceSlot::claim(41, false), ACTIVE, 41),
        (InstanceSlot::claim(41, true), ACTIVE, 41),
        (InstanceSlot::claim(u32::MAX, true), ACTIVE, u32::MAX),
        (0, NOT_ACTIVE, 0),
    ] {
        let slot = InstanceSlot {
            claim,
            ..harness.instance()
        };
        harness.set_instance(slot);
        nonce += STEP;
        let outcome = harness.measure(&ask(nonce));
        let payload = &outcome.output[plain().payload_at()..];
        assert_eq!(&payload[32..96], answered(state, epoch).as_flattened());
    }
}

/// Without a port nothing is answered or taken; with another one, only there.
pub fn the_port_is_configured() {
    let ask = |port| {
        let datagram = Datagram { port, ..plain() };
        datagram.frame(&probe().bytes(PROBE_KEY))
    };
    let verdict = |harness: &mut Harness, port| harness.run(LOCAL, &ask(port)).verdict;
    let mut off = Harness::load_with_port(0, None, 0);
    for port in [0, PORT] {
        assert_eq!(verdict(&mut off, port), Verdict::Pass, "off, {port}");
    }
    let mut other = Harness::load_with_port(0, None, 50_000);
    assert_eq!(verdict(&mut other, PORT), Verdict::Pass);
    assert_eq!(verdict(&mut other, 50_000), Verdict::Transmit);
}

/// By the precise clock the lease is over, by the coarse one it is not yet: the echo goes by the
/// precise one.
pub fn the_precise_clock_tells() {
    let mut harness = harness();
    let setup = Setup {
        lease: Lease::Active,
        ..LOCAL
    };
    let until = now();
    let outcome = harness.run_until(until, setup, &ask(LAST_PROBE + STEP));
    assert_eq!(lease_left(plain(), &outcome.output), 0);
    assert!(outcome.ended);
}
