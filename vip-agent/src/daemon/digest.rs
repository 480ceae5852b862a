//! A short name for a set of VIPs, so that nodes notice when theirs differ.

use std::collections::BTreeSet;
use std::net::IpAddr;

use sha2::{Digest as _, Sha256};

/// The first four bytes of the SHA-256 of the addresses in ascending order, each as an IPv6 one:
/// the order of the configuration does not matter.
pub(super) fn digest(vips: &[IpAddr]) -> u32 {
    let sorted: BTreeSet<[u8; 16]> = vips
        .iter()
        .map(|vip| match vip {
            IpAddr::V4(vip) => vip.to_ipv6_mapped().octets(),
            IpAddr::V6(vip) => vip.octets(),
        })
        .collect();
    let mut hash = Sha256::new();
    for vip in sorted {
        hash.update(vip);
    }
    let [a, b, c, d, ..] = <[u8; 32]>::from(hash.finalize());
    u32::from_be_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(vips: &[&str]) -> u32 {
        digest(
            &vips
                .iter()
                .map(|vip| vip.parse().unwrap())
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn order_does_not_matter_but_every_address_does() {
        let all = of(&["10.0.0.1", "fd00::1", "10.0.0.2"]);
        assert_eq!(all, of(&["10.0.0.2", "10.0.0.1", "fd00::1"]));
        assert_ne!(all, of(&["10.0.0.1", "fd00::1"]));
        assert_ne!(all, of(&["10.0.0.1", "fd00::1", "10.0.0.3"]));
    }
}
