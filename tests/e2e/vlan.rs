//! Questions in VLAN-tagged frames are answered with the same tags.

use anyhow::Result;
use lab::frame::FrameSocket;
use lab::{Capture, Frame, scenario};

use crate::frames::{Seen, Sender, read_arp};
use crate::support::{Cluster, counter};

/// `EtherType` of a customer's tag (802.1Q).
const CUSTOMER: u16 = 0x8100;
/// `EtherType` of a provider's tag (802.1ad).
const PROVIDER: u16 = 0x88a8;

#[test]
fn arp_requests_with_up_to_two_vlan_tags_are_answered_with_the_same_tags() {
    scenario(|lab| {
        let cluster = Cluster::pair(lab)?;
        keep_tags_in_frames(&cluster)?;
        let sender = Sender::of(&cluster.client);
        let socket = FrameSocket::open(cluster.client.namespace(), "eth0")?;
        let node = &cluster.nodes[0];
        let cases: [&[(u16, u16)]; 3] = [
            &[(CUSTOMER, 7)],
            // Priority 5, identifier 100.
            &[(CUSTOMER, 0xa064)],
            &[(PROVIDER, 3), (CUSTOMER, 7)],
        ];
        for tags in cases {
            let answered = counter(node, "arp_reply")?;
            let capture = Capture::at_port_of(&cluster.client, "")?;
            socket.send(&sender.arp_request(cluster.v4(), tags))?;
            let frames = capture.stop()?;
            let answers: Vec<&Frame> = frames
                .iter()
                .filter(|frame| frame.source() == node.mac() && is_tagged(frame, tags))
                .collect();
            assert_eq!(answers.len(), 1, "{tags:x?}: {frames:?}");
            assert_eq!(answers[0].destination(), cluster.client.mac());
            assert_eq!(
                read_arp(answers[0].bytes.get(14 + 4 * tags.len()..)),
                Some(Seen::Arp {
                    request: false,
                    sender: cluster.v4(),
                    target: cluster.client.v4(),
                })
            );
            assert_eq!(counter(node, "arp_reply")?, answered + 1);
        }
        Ok(())
    });
}

#[test]
fn a_backup_does_not_answer_tagged_requests_either() {
    scenario(|lab| {
        let mut cluster = Cluster::pair(lab)?;
        keep_tags_in_frames(&cluster)?;
        cluster.nodes[0].stop()?;
        cluster.settle(1)?;
        cluster.nodes[0].start()?;
        cluster.settle(1)?;
        let dropped = counter(&cluster.nodes[0], "arp_not_active")?;
        let socket = FrameSocket::open(cluster.client.namespace(), "eth0")?;
        let capture = Capture::at_port_of(&cluster.client, "")?;
        let tags = [(PROVIDER, 3), (CUSTOMER, 7)];
        socket.send(&Sender::of(&cluster.client).arp_request(cluster.v4(), &tags))?;
        let frames = capture.stop()?;
        let answers: Vec<[u8; 6]> = frames
            .iter()
            .filter(|frame| frame.source() != cluster.client.mac() && is_tagged(frame, &tags))
            .map(Frame::source)
            .collect();
        assert_eq!(answers, [cluster.nodes[1].mac()]);
        assert!(counter(&cluster.nodes[0], "arp_not_active")? > dropped);
        Ok(())
    });
}

/// Turns off the offload by which virtual cables carry tags beside the frame, where no XDP program
/// sees them: on a real one they are in it.
fn keep_tags_in_frames(cluster: &Cluster) -> Result<()> {
    for node in &cluster.nodes {
        let port = &node.host.eth0().port;
        for offload in ["tx-vlan-hw-insert", "tx-vlan-stag-hw-insert"] {
            port.switch()
                .run("ethtool", &["-K", port.name(), offload, "off"])?;
        }
    }
    Ok(())
}

/// Whether a frame is an ARP packet in exactly these tags.
fn is_tagged(frame: &Frame, tags: &[(u16, u16)]) -> bool {
    let mut wanted: Vec<u8> = tags
        .iter()
        .flat_map(|(tpid, tci)| [tpid.to_be_bytes(), tci.to_be_bytes()].concat())
        .collect();
    wanted.extend([0x08, 0x06]);
    frame
        .bytes
        .get(12..)
        .is_some_and(|rest| rest.starts_with(&wanted))
}
