//! IPv6 Neighbor Discovery.

mod odd;

use std::net::Ipv6Addr;

use vip_common::abi::{ConflictKind, Counter, Event};

use super::fixture::{BACKUP, EXPIRED, Fixture, LOCAL, STEER, Setup};
use super::frame::{Ipv6, Mac, Tags, ethernet, icmpv6, nd_option};
use super::world::{
    ALL_NODES, ALL_NODES_MAC, CLIENT, CLIENT6, ELSEWHERE, INGRESS, NO_INSTANCE6, OURS, STANDBY6,
    STRANGER, VIP6, VIP6_GROUP, VIP6_GROUP_MAC,
};

const IPV6: u16 = 0x86dd;
const SOLICITED_OVERRIDE: u8 = 0x60;
const OVERRIDE: u8 = 0x20;

/// A solicitation, valid until a field is changed.
#[derive(Debug, Clone)]
struct Solicitation {
    to: Mac,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    target: Ipv6Addr,
    hop_limit: u8,
    code: u8,
    options: Vec<u8>,
}

impl Solicitation {
    /// As a station asks that has no entry yet.
    fn multicast() -> Self {
        Self {
            to: VIP6_GROUP_MAC,
            source: CLIENT6,
            destination: VIP6_GROUP,
            target: VIP6,
            hop_limit: 255,
            code: 0,
            options: nd_option(1, 1, &CLIENT),
        }
    }

    /// As a station asks that checks its entry.
    fn unicast() -> Self {
        Self {
            to: OURS,
            destination: VIP6,
            ..Self::multicast()
        }
    }

    /// As a station asks that wants to use the address itself.
    fn duplicate_detection() -> Self {
        Self {
            source: Ipv6Addr::UNSPECIFIED,
            options: vec![],
            ..Self::multicast()
        }
    }

    fn options(self, options: &[Vec<u8>]) -> Self {
        Self {
            options: options.concat(),
            ..self
        }
    }

    fn message(&self) -> Vec<u8> {
        let data = [&self.target.octets()[..], &self.options].concat();
        icmpv6(self.source, self.destination, 135, self.code, [0; 4], &data)
    }

    fn packet(&self) -> Vec<u8> {
        let ip = Ipv6::new(self.source, self.destination, 58);
        Ipv6 {
            hop_limit: self.hop_limit,
            ..ip
        }
        .bytes(&self.message())
    }

    fn frame(&self, tags: Tags) -> Vec<u8> {
        ethernet(self.to, CLIENT, tags, IPV6, &self.packet())
    }
}

/// An advertisement for the VIP.
fn advertisement(from: Mac, destination: Ipv6Addr, flags: u8, options: &[u8]) -> Vec<u8> {
    let data = [&VIP6.octets()[..], options].concat();
    let message = icmpv6(VIP6, destination, 136, 0, [flags, 0, 0, 0], &data);
    let ip = Ipv6 {
        hop_limit: 255,
        ..Ipv6::new(VIP6, destination, 58)
    };
    let to = if destination == ALL_NODES {
        ALL_NODES_MAC
    } else {
        CLIENT
    };
    ethernet(to, from, Tags::None, IPV6, &ip.bytes(&message))
}

/// `frame` with tags put in behind its addresses.
fn tagged(frame: &[u8], tags: Tags) -> Vec<u8> {
    let mut addresses = [[0; 6]; 2];
    addresses[0].copy_from_slice(&frame[..6]);
    addresses[1].copy_from_slice(&frame[6..12]);
    ethernet(addresses[0], addresses[1], tags, IPV6, &frame[14..])
}

/// The answer that the data plane must give to [`CLIENT`].
fn answer(tags: Tags) -> Vec<u8> {
    tagged(
        &advertisement(OURS, CLIENT6, SOLICITED_OVERRIDE, &nd_option(2, 1, &OURS)),
        tags,
    )
}

/// The answer to a station that detects duplicates.
fn defence(tags: Tags) -> Vec<u8> {
    tagged(
        &advertisement(OURS, ALL_NODES, OVERRIDE, &nd_option(2, 1, &OURS)),
        tags,
    )
}

/// Every fixture about Neighbor Discovery.
pub fn fixtures() -> Vec<Fixture> {
    let mut all = Vec::new();
    for (tags, suffix) in Tags::ALL {
        answered(&mut all, tags, suffix);
        silent(&mut all, tags, suffix);
        claimed(&mut all, tags, suffix);
        truncated(&mut all, tags, suffix);
    }
    odd::invalid(&mut all);
    odd::not_ours(&mut all);
    all
}

fn answered(all: &mut Vec<Fixture>, tags: Tags, suffix: &str) {
    let source = nd_option(1, 1, &CLIENT);
    let nonce = nd_option(14, 1, &[1, 2, 3, 4, 5, 6]);
    let mut add = |name: &str, setup: Setup, ask: Solicitation, output: Vec<u8>| {
        let name = format!("{name}{suffix}");
        all.push(Fixture::sent(
            name,
            setup,
            ask.frame(tags),
            Counter::NdReply,
            output,
        ));
    };
    let (multicast, unicast) = (Solicitation::multicast(), Solicitation::unicast());
    let detection = Solicitation::duplicate_detection();
    add(
        "multicast solicitation, local VIP",
        LOCAL,
        multicast.clone(),
        answer(tags),
    );
    add(
        "multicast solicitation, steered VIP",
        STEER,
        multicast.clone(),
        answer(tags),
    );
    add("unicast solicitation", LOCAL, unicast.clone(), answer(tags));
    add(
        "solicitation without option grows",
        LOCAL,
        unicast.options(&[]),
        answer(tags),
    );
    add(
        "solicitation with a nonce shrinks",
        LOCAL,
        multicast.clone().options(&[source.clone(), nonce.clone()]),
        answer(tags),
    );
    add(
        "option order does not matter",
        LOCAL,
        multicast.clone().options(&[nonce.clone(), source.clone()]),
        answer(tags),
    );
    add(
        "unknown long option is skipped",
        LOCAL,
        multicast
            .clone()
            .options(&[nd_option(200, 5, &[0xff; 38]), source]),
        answer(tags),
    );
    add(
        "longest accepted solicitation",
        LOCAL,
        multicast.options(&[nd_option(200, LONGEST_OPTIONS, &[])]),
        answer(tags),
    );
    add(
        "duplicate detection",
        LOCAL,
        detection.clone(),
        defence(tags),
    );
    add(
        "duplicate detection with a nonce",
        LOCAL,
        detection.options(&[nonce]),
        defence(tags),
    );
}

/// Units of options behind the 24 bytes of a solicitation that is just not too long.
const LONGEST_OPTIONS: u8 = vip_common::net::ndp::MAX_UNITS as u8 - 3;

fn silent(all: &mut Vec<Fixture>, tags: Tags, suffix: &str) {
    let ask = Solicitation::multicast();
    let elsewhere = Setup {
        ifindex: ELSEWHERE,
        ..LOCAL
    };
    let mut add = |name: &str, setup: Setup, ask: &Solicitation, counter: Counter| {
        all.push(Fixture::dropped(
            format!("{name}{suffix}"),
            setup,
            ask.frame(tags),
            counter,
        ));
    };
    add(
        "solicitation while Backup",
        BACKUP,
        &ask,
        Counter::NdNotActive,
    );
    add(
        "solicitation, lease expired",
        EXPIRED,
        &ask,
        Counter::NdNotActive,
    );
    add(
        "duplicate detection while Backup",
        BACKUP,
        &Solicitation::duplicate_detection(),
        Counter::NdNotActive,
    );
    add(
        "solicitation on another interface",
        elsewhere,
        &ask,
        Counter::NdOtherInterface,
    );
    add(
        "unicast solicitation to another station",
        LOCAL,
        &Solicitation {
            to: STRANGER,
            ..Solicitation::unicast()
        },
        Counter::NdOtherMac,
    );
    add(
        "solicitation for a VIP of an instance that is not Active",
        LOCAL,
        &Solicitation {
            target: STANDBY6,
            ..ask.clone()
        },
        Counter::NdNotActive,
    );
    add(
        "solicitation for a VIP without instance",
        LOCAL,
        &Solicitation {
            target: NO_INSTANCE6,
            ..ask
        },
        Counter::DropInternal,
    );
}

fn claimed(all: &mut Vec<Fixture>, tags: Tags, suffix: &str) {
    let event = |mac| Event {
        kind: ConflictKind::NeighborAdvertisement as u32,
        ifindex: INGRESS,
        address: VIP6.octets(),
        mac,
        vlan: tags.vlan(),
        instance: 0,
        reserved: 0,
    };
    let name = |text: &str| format!("{text}{suffix}");
    let option = nd_option(2, 1, &STRANGER);
    let claim = tagged(&advertisement(STRANGER, ALL_NODES, OVERRIDE, &option), tags);
    let bare = tagged(&advertisement(STRANGER, ALL_NODES, OVERRIDE, &[]), tags);
    let behind = tagged(&advertisement(CLIENT, ALL_NODES, OVERRIDE, &option), tags);
    let other = nd_option(14, 1, &[0; 6]);
    let odd = tagged(
        &advertisement(CLIENT, CLIENT6, SOLICITED_OVERRIDE, &other),
        tags,
    );
    let own = tagged(
        &advertisement(OURS, ALL_NODES, OVERRIDE, &nd_option(2, 1, &OURS)),
        tags,
    );
    let mut routed = claim.clone();
    let hop_limit = routed.len() - 32 - 40 + 7;
    routed[hop_limit] = 64;
    let conflict = Counter::NdConflict;
    all.extend([
        Fixture::passed(
            name("foreign advertisement"),
            LOCAL,
            claim.clone(),
            conflict,
        )
        .event(event(STRANGER)),
        Fixture::passed(
            name("foreign advertisement without option"),
            LOCAL,
            bare,
            conflict,
        )
        .event(event(STRANGER)),
        Fixture::passed(
            name("foreign advertisement sent by a third"),
            LOCAL,
            behind,
            conflict,
        )
        .event(event(STRANGER)),
        Fixture::passed(
            name("foreign advertisement with another option"),
            LOCAL,
            odd,
            conflict,
        )
        .event(event(CLIENT)),
        Fixture::ignored(name("our own advertisement comes back"), LOCAL, own),
        Fixture::ignored(
            name("foreign advertisement while Backup"),
            BACKUP,
            claim.clone(),
        ),
        Fixture::ignored(name("foreign advertisement, lease expired"), EXPIRED, claim),
        Fixture::ignored(name("advertisement that crossed a router"), LOCAL, routed),
    ]);
}

fn truncated(all: &mut Vec<Fixture>, tags: Tags, suffix: &str) {
    let whole = Solicitation::multicast().options(&[]).frame(tags);
    let network = whole.len() - 64;
    for (len, what) in [
        (network, "an IPv6 header"),
        (network + 39, "the IPv6 header's last byte"),
        (network + 40, "a message"),
        (network + 63, "the target's last byte"),
    ] {
        let name = format!("solicitation without {what}{suffix}");
        all.push(Fixture::ignored(name, LOCAL, whole[..len].to_vec()));
    }
    let cut = Solicitation::multicast().frame(tags);
    let cut = cut[..cut.len() - 1].to_vec();
    let name = format!("solicitation cut inside its option{suffix}");
    all.push(Fixture::dropped(name, LOCAL, cut, Counter::NdInvalid));
}
