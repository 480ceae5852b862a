//! The frames that say where a VIP is.

use std::io;
use std::net::IpAddr;

use vip_common::net::{arp, ndp};

use super::Mac;
use crate::dataplane::slots::Macs;
use crate::outputs::packet_socket::PacketSocket;

/// Announces a VIP to all stations, or as a copy to one.
pub(super) fn send(
    socket: &PacketSocket,
    ifindex: u32,
    macs: Macs,
    vip: IpAddr,
    station: Option<Mac>,
) -> io::Result<()> {
    match vip {
        IpAddr::V4(vip) => {
            let mut frame = arp::gratuitous_arp(macs.v4, vip.octets());
            readdress(&mut frame, station);
            socket.send(ifindex, &frame)
        }
        // The IPv6 destination stays the group of all nodes: RFC 6085 allows that in a frame to one
        // station, and its IPv6 address need not be known.
        IpAddr::V6(vip) => {
            let mut frame = ndp::unsolicited_na(macs.v6, vip.octets());
            readdress(&mut frame, station);
            socket.send(ifindex, &frame)
        }
    }
}

/// Changes the Ethernet destination.
fn readdress(frame: &mut [u8], station: Option<Mac>) {
    if let Some((station, (destination, _))) = station.zip(frame.split_first_chunk_mut::<6>()) {
        *destination = station;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_differs_in_its_destination_only() {
        let station = [2, 0, 0, 0, 0, 9];
        let all = arp::gratuitous_arp([0, 0, 0x5e, 0, 1, 51], [10, 0, 0, 100]);
        let mut copy = all;
        readdress(&mut copy, None);
        assert_eq!(copy, all);
        readdress(&mut copy, Some(station));
        assert_eq!(copy[..6], station);
        assert_eq!(copy[6..], all[6..]);
    }
}
