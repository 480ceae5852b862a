//! How many nodes claim an address: one, when all is well.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use lab::Client;
use lab::frame::FrameSocket;

/// How long answers are waited for.
const PATIENCE: Duration = Duration::from_millis(20);

/// Asks everybody by ARP; returns how many different stations answer.
pub(super) fn count(client: &Client, vip: IpAddr) -> Result<u64> {
    let IpAddr::V4(vip) = vip else {
        bail!("{vip}: ARP is for IPv4");
    };
    let socket = FrameSocket::open(client.namespace(), &client.eth0().name)?;
    socket.send(&request(client.mac(), client.v4(), vip))?;
    let end = Instant::now() + PATIENCE;
    let mut answered: BTreeSet<[u8; 6]> = BTreeSet::new();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let answer = socket.receive(left, |frame| answerer(frame, vip).is_some())?;
        match answer.and_then(|frame| answerer(&frame, vip)) {
            Some(mac) => answered.insert(mac),
            None => return Ok(u64::try_from(answered.len())?),
        };
    }
}

/// Who has `vip`? Tell `address` at `mac`.
fn request(mac: [u8; 6], address: Ipv4Addr, vip: Ipv4Addr) -> Vec<u8> {
    [
        &[0xff; 6][..],
        &mac,
        // ARP; Ethernet, IPv4, their lengths; request.
        &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
        &mac,
        &address.octets(),
        &[0; 6],
        &vip.octets(),
    ]
    .concat()
}

/// The station that says in this frame that it has `vip`; `None`: another frame.
fn answerer(frame: &[u8], vip: Ipv4Addr) -> Option<[u8; 6]> {
    let is_reply = frame.get(12..22)? == [8, 6, 0, 1, 8, 0, 6, 4, 0, 2];
    let is_for_it = frame.get(28..32)? == vip.octets();
    (is_reply && is_for_it)
        .then(|| frame.get(22..28)?.try_into().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_for_the_vip_names_an_owner() {
        let vip = Ipv4Addr::new(10, 1, 0, 100);
        let mac = [2, 0, 0, 0, 1, 2];
        let question = request([2, 0, 0, 0, 1, 1], Ipv4Addr::new(10, 1, 0, 1), vip);
        assert_eq!(question.len(), 42);
        assert_eq!(answerer(&question, vip), None);
        // The answer has the VIP as its sender.
        let mut answer = request(mac, vip, Ipv4Addr::new(10, 1, 0, 1));
        answer[21] = 2;
        assert_eq!(answerer(&answer, vip), Some(mac));
        assert_eq!(answerer(&answer, Ipv4Addr::new(10, 1, 0, 101)), None);
        assert_eq!(answerer(&answer[..30], vip), None);
    }
}
