//! Frames that are nobody's business here.

use super::fixture::{BACKUP, Fixture, LOCAL};
use super::frame::{Arp, Ipv4, Tags, ethernet};
use super::world::{BROADCAST, CLIENT, CLIENT4, OURS, VIP4};

/// Every fixture about frames without a network header that we know.
pub fn fixtures() -> Vec<Fixture> {
    let mut all = Vec::new();
    for (name, ether_type) in [
        ("unknown EtherType", 0x88b5),
        ("IEEE 802.3 length", 0x0026),
        ("LLDP", 0x88cc),
        ("MPLS", 0x8847),
        ("PPPoE", 0x8864),
    ] {
        for (tags, suffix) in Tags::ALL {
            let input = ethernet(OURS, CLIENT, tags, ether_type, &[0x45; 46]);
            all.push(Fixture::ignored(format!("{name}{suffix}"), LOCAL, input));
        }
    }
    let packet = Ipv4::new(CLIENT4, VIP4, 6).bytes(&[0; 20]);
    let third = [&[0, 3, 0x08, 0x00][..], &packet].concat();
    let third = ethernet(OURS, CLIENT, Tags::Two, 0x8100, &third);
    let arp = [
        &[0, 3, 0x08, 0x06][..],
        &Arp::request(CLIENT, CLIENT4, VIP4).bytes(),
    ]
    .concat();
    let arp = ethernet(BROADCAST, CLIENT, Tags::Two, 0x8100, &arp);
    let reserved = ethernet(
        OURS,
        CLIENT,
        Tags::None,
        0x9100,
        &[&[0, 9, 8, 0][..], &packet].concat(),
    );
    for (setup, how) in [(LOCAL, ""), (BACKUP, " while Backup")] {
        let mut add = |name: &str, input: &[u8]| {
            all.push(Fixture::ignored(
                format!("{name}{how}"),
                setup,
                input.to_vec(),
            ));
        };
        add("IPv4 behind three tags", &third);
        add("ARP behind three tags", &arp);
        add("IPv4 behind a tag of type 0x9100", &reserved);
    }
    all.push(Fixture::ignored(
        "an Ethernet header and nothing else",
        LOCAL,
        ethernet(OURS, CLIENT, Tags::None, 0x88b5, &[]),
    ));
    all
}
