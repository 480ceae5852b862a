//! Configurations that do not fit the host.

use std::net::IpAddr;

use super::{BASE, config, with};
use crate::config::host::{InterfaceFacts, NO_SUCH_INTERFACE, host_findings};

fn interface(name: &str, addresses: &[(&str, u8)]) -> InterfaceFacts {
    let parse = |(text, prefix): &(&str, u8)| (text.parse::<IpAddr>().unwrap(), *prefix);
    InterfaceFacts {
        name: name.into(),
        addresses: addresses.iter().map(parse).collect(),
        mtu: Some(1500),
        carrier: true,
    }
}

fn host_report(text: &str, facts: &[InterfaceFacts]) -> String {
    host_findings(&config(text), facts)
        .iter()
        .map(|finding| format!("{:?} {}: {finding}\n", finding.severity, finding.code))
        .collect()
}

#[test]
fn what_does_not_fit_the_host() {
    let lo = interface(
        "lo",
        &[("127.0.0.1", 8), ("10.0.0.100", 32), ("fd00::100", 128)],
    );
    let eth0 = interface(
        "eth0",
        &[("10.0.0.1", 24), ("fd00::1", 64), ("fe80::1", 64)],
    );
    assert_eq!(
        host_report(BASE, &[lo.clone(), eth0.clone()]),
        "",
        "VIPs on lo are the agent's"
    );

    let missing = host_report(BASE, std::slice::from_ref(&lo));
    assert!(missing.contains(NO_SUCH_INTERFACE));
    let down = InterfaceFacts {
        carrier: false,
        ..eth0.clone()
    };
    let reports = [
        missing,
        host_report(BASE, &[lo.clone(), down]),
        host_report(&with("10.0.0.100", "10.0.0.1"), &[lo.clone(), eth0.clone()]),
        host_report(
            &with("10.0.0.100", "10.0.0.255"),
            &[lo.clone(), eth0.clone()],
        ),
        host_report(
            &with("10.0.0.100", "10.0.1.100"),
            &[lo.clone(), eth0.clone()],
        ),
        host_report(&with("\n\n", "\naddress = \"10.0.0.7\"\n\n"), &[lo, eth0]),
    ];
    insta::assert_snapshot!("host", reports.join("\n"));
}

#[test]
fn a_host_network_of_two_has_no_broadcast_address() {
    let eth0 = interface("eth0", &[("10.0.0.0", 31)]);
    let text = with("[\"10.0.0.100\", \"fd00::100\"]", "[\"10.0.0.1\"]");
    assert_eq!(host_report(&text, &[eth0]), "");
}
