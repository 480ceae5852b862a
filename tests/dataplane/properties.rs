//! What holds for any frame.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::fixture::{BACKUP, EXPIRED, Fixture, LOCAL, STEER, Service, Setup, Verdict};
use super::frame::{Ipv4, Ipv6, Tags, ethernet, icmp, icmpv6, pseudo_header, verifies};
use super::harness::harness;
use super::world::{CLIENT, OURS, VIP4, VIP6};

const CASES: u32 = 3000;

/// Random bytes behind plausible Ethernet headers: no VIP in them, so all pass untouched.
pub fn what_is_not_ours_passes_untouched() {
    check((setup(), noise()), |(setup, frame)| {
        let outcome = harness().run(setup, &frame);
        prop_assert_eq!(outcome.verdict, Verdict::Pass);
        prop_assert_eq!(outcome.output, frame);
        prop_assert!(outcome.counters.is_empty() && outcome.events.is_empty());
        Ok(())
    });
}

/// Whatever is done to frames that we would answer or steer: without a lease nothing leaves, and
/// nothing is changed.
pub fn without_a_lease_nothing_is_answered(fixtures: Vec<Fixture>) {
    let setups = prop_oneof![Just(BACKUP), Just(EXPIRED)];
    check((setups, mutated(fixtures)), |(setup, frame)| {
        let outcome = harness().run(setup, &frame);
        prop_assert!(matches!(outcome.verdict, Verdict::Pass | Verdict::Drop));
        prop_assert_eq!(outcome.output, frame);
        prop_assert!(outcome.vips.is_empty() && outcome.backends.is_empty());
        prop_assert!(outcome.events.is_empty());
        Ok(())
    });
}

/// Whatever is done to frames for our VIPs: no verdict is `Aborted`, a drop names its reason, and
/// what passes is untouched.
pub fn every_drop_has_a_reason(fixtures: Vec<Fixture>) {
    check((setup(), mutated(fixtures)), |(setup, frame)| {
        let outcome = harness().run(setup, &frame);
        prop_assert_ne!(outcome.verdict, Verdict::Aborted);
        if outcome.verdict != Verdict::Pass {
            prop_assert_eq!(outcome.counters.len(), 1);
        }
        if matches!(outcome.verdict, Verdict::Pass | Verdict::Drop) {
            prop_assert_eq!(outcome.output, frame);
        }
        Ok(())
    });
}

/// An IPv4 packet with valid checksums leaves with valid checksums.
pub fn ipv4_checksums_stay_valid() {
    let packets = (
        any::<[u8; 4]>(),
        any::<u16>(),
        2..=u8::MAX,
        any::<[u8; 4]>(),
        data(),
    );
    check(
        (packets, any::<bool>()),
        |((source, identification, ttl, rest, data), echo)| {
            let ip = Ipv4 {
                identification,
                ttl,
                ..Ipv4::new(Ipv4Addr::from(source), VIP4, 1)
            };
            let packet = ip.bytes(&icmp(if echo { 8 } else { 13 }, 0, rest, &data));
            let frame = ethernet(OURS, CLIENT, Tags::None, 0x0800, &packet);
            let outcome = harness().run(STEER, &frame);
            prop_assert_eq!(outcome.verdict, Verdict::Transmit);
            prop_assert!(verifies(&outcome.output[14..34]), "IP header");
            prop_assert!(verifies(&outcome.output[34..]), "ICMP message");
            Ok(())
        },
    );
}

/// An ICMPv6 packet with a valid checksum leaves with a valid checksum.
pub fn icmpv6_checksums_stay_valid() {
    let packets = (any::<[u8; 16]>(), 2..=u8::MAX, any::<[u8; 4]>(), data());
    check(
        (packets, any::<bool>()),
        |((source, hop_limit, rest, data), echo)| {
            let source = Ipv6Addr::from(source);
            let message = icmpv6(source, VIP6, if echo { 128 } else { 1 }, 0, rest, &data);
            let packet = Ipv6 {
                hop_limit,
                ..Ipv6::new(source, VIP6, 58)
            }
            .bytes(&message);
            let frame = ethernet(OURS, CLIENT, Tags::None, 0x86dd, &packet);
            let outcome = harness().run(STEER, &frame);
            prop_assert_eq!(outcome.verdict, Verdict::Transmit);
            prop_assert!(icmpv6_verifies(&outcome.output[14..]));
            Ok(())
        },
    );
}

/// Any valid solicitation is answered by a valid advertisement of the same length.
pub fn advertisements_are_valid() {
    check((any::<[u8; 16]>(), data()), |(source, mut options)| {
        let mut source = source;
        source[0] = 0x20; // a global unicast address
        let source = Ipv6Addr::from(source);
        // One option of unknown type, as long as the data, in whole units.
        options.truncate(100);
        options.resize((options.len() + 2).next_multiple_of(8) - 2, 0);
        let units = u8::try_from((options.len() + 2) / 8).unwrap_or(u8::MAX);
        let body = [&VIP6.octets()[..], &[200, units], &options].concat();
        let message = icmpv6(source, VIP6, 135, 0, [0; 4], &body);
        let packet = Ipv6 {
            hop_limit: 255,
            ..Ipv6::new(source, VIP6, 58)
        }
        .bytes(&message);
        let frame = ethernet(OURS, CLIENT, Tags::None, 0x86dd, &packet);
        let outcome = harness().run(LOCAL, &frame);
        prop_assert_eq!(outcome.verdict, Verdict::Transmit);
        prop_assert_eq!(outcome.output.len(), 14 + 40 + 32);
        prop_assert!(icmpv6_verifies(&outcome.output[14..]));
        Ok(())
    });
}

fn icmpv6_verifies(packet: &[u8]) -> bool {
    let address = |at: usize| {
        let mut octets = [0; 16];
        octets.copy_from_slice(&packet[at..at + 16]);
        Ipv6Addr::from(octets)
    };
    let message = &packet[40..];
    verifies(
        &[
            &pseudo_header(address(8), address(24), 58, message)[..],
            message,
        ]
        .concat(),
    )
}

fn check<S: Strategy>(strategy: S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    };
    if let Err(error) = TestRunner::new(config).run(&strategy, test) {
        panic!("{error}");
    }
}

fn setup() -> impl Strategy<Value = Setup> {
    let service = prop_oneof![
        Just(Service::Local),
        Just(Service::Here),
        Just(Service::There),
        Just(Service::NoBackend),
    ];
    (
        prop_oneof![Just(STEER), Just(BACKUP), Just(EXPIRED)],
        service,
    )
        .prop_map(|(setup, service)| Setup { service, ..setup })
}

/// Payloads of up to an Ethernet frame.
fn data() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..64),
        prop::collection::vec(any::<u8>(), 0..1400),
    ]
}

/// Random frames, most of them with an EtherType that we know, none with a VIP in it.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let ether_type = prop_oneof![
        Just(0x0806_u16),
        Just(0x0800),
        Just(0x86dd),
        Just(0x8100),
        Just(0x88a8),
        any::<u16>()
    ];
    (any::<[u8; 12]>(), ether_type, data()).prop_map(|(macs, ether_type, data)| {
        let frame = [&macs[..], &ether_type.to_be_bytes(), &data].concat();
        let vips = [VIP4.octets().to_vec(), VIP6.octets().to_vec()];
        let meant = vips
            .iter()
            .any(|vip| frame.windows(vip.len()).any(|part| part == vip));
        if meant { frame[..14].to_vec() } else { frame }
    })
}

/// The frames of the fixtures with a few bytes changed and the end cut off.
fn mutated(fixtures: Vec<Fixture>) -> impl Strategy<Value = Vec<u8>> {
    let frames: Vec<_> = fixtures.into_iter().map(|fixture| fixture.input).collect();
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    let cut = prop_oneof![3 => Just(0_usize), 1 => 0..40_usize];
    (prop::sample::select(frames), changes, cut).prop_map(|(mut frame, changes, cut)| {
        for (index, byte) in changes {
            // The EtherType and what lies before it stay, or most frames would be nobody's.
            let behind = frame.len().saturating_sub(14);
            if behind > 0 {
                frame[14 + index.index(behind)] = byte;
            }
        }
        frame.truncate(frame.len().saturating_sub(cut).max(14));
        frame
    })
}
