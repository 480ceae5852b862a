//! Named per-CPU packet counters: one for every answer, drop and steering decision.

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// Index into `COUNTERS`. Each names what happened to a packet that concerned a VIP; packets
        /// that do not concern a VIP are passed without being counted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum Counter {
            $($(#[$doc])* $variant,)+
        }

        impl Counter {
            /// Every counter, in the order of its index.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name under which the counter is shown.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

counters! {
    /// ARP request for a VIP answered.
    ArpReply = "arp_reply",
    /// ARP request for a VIP dropped: this node is not Active.
    ArpNotActive = "arp_not_active",
    /// ARP request for a VIP dropped: this node is taking the instance over, and the node that hands
    /// it over still answers.
    ArpTakingOver = "arp_taking_over",
    /// ARP request for a VIP dropped: it arrived on an interface the VIP does not live on.
    ArpOtherInterface = "arp_other_interface",
    /// Unicast ARP request for a VIP dropped: the frame was for another station's MAC.
    ArpOtherMac = "arp_other_mac",
    /// ARP request for a VIP from the VIP's own MAC dropped: our announcement came back.
    ArpOwn = "arp_own",
    /// ARP packet claiming a VIP seen while Active: another station says it has the address.
    ArpConflict = "arp_conflict",
    /// Neighbor Solicitation for a VIP answered.
    NdReply = "nd_reply",
    /// Neighbor Solicitation for a VIP dropped: this node is not Active.
    NdNotActive = "nd_not_active",
    /// Neighbor Solicitation for a VIP dropped: this node is taking the instance over, and the node
    /// that hands it over still answers.
    NdTakingOver = "nd_taking_over",
    /// Neighbor Solicitation for a VIP dropped: it arrived on an interface the VIP does not live on.
    NdOtherInterface = "nd_other_interface",
    /// Unicast Neighbor Solicitation for a VIP dropped: the frame was for another station's MAC.
    NdOtherMac = "nd_other_mac",
    /// Neighbor Solicitation for a VIP dropped: hop limit, code, length, options,
    /// addresses or checksum are wrong (RFC 4861 §7.1.1).
    NdInvalid = "nd_invalid",
    /// Neighbor Advertisement claiming a VIP seen while Active.
    NdConflict = "nd_conflict",
    /// ICMP or ICMPv6 echo request to a steered VIP answered.
    EchoReply = "echo_reply",
    /// Packet to a VIP handed to this host's stack.
    PassLocal = "pass_local",
    /// Packet to a VIP sent to its backend out of the interface it came in by.
    SteerTx = "steer_tx",
    /// Packet to a VIP sent to its backend out of another interface.
    SteerRedirect = "steer_redirect",
    /// Packet to a VIP dropped: this node is not Active.
    DropNotActive = "drop_not_active",
    /// Packet to a VIP dropped: no backend is healthy.
    DropNoBackend = "drop_no_backend",
    /// Packet to a VIP dropped: the backend's MAC address is not known.
    DropUnresolved = "drop_unresolved",
    /// Packet to a VIP dropped: its TTL or hop limit does not allow another hop.
    DropTtl = "drop_ttl",
    /// Packet to a VIP dropped: its IP header is malformed.
    DropMalformed = "drop_malformed",
    /// Packet to a VIP in a frame to another station's MAC, passed untouched.
    PassOtherMac = "pass_other_mac",
    /// An answer could not be built because the frame could not be resized.
    DropResize = "drop_resize",
    /// A map entry pointed at a slot that does not exist. Never expected.
    DropInternal = "drop_internal",
    /// Liveness probe of a peer answered.
    ProbeAnswered = "probe_answered",
    /// Liveness probe or echo of a peer dropped: its authentication code is wrong, or there is no
    /// key.
    LivenessRejected = "liveness_rejected",
    /// Liveness probe or echo of a peer dropped: it was seen before, was overtaken, or came
    /// too soon.
    LivenessReplayed = "liveness_replayed",
    /// Echo to one of our liveness probes taken.
    EchoTaken = "echo_taken",
    /// Packet to a VIP forwarded to the node that took the instance over.
    DrainForwarded = "drain_forwarded",
    /// Packet to a VIP dropped: it came from the very node it would be forwarded to.
    DropDrainLoop = "drop_drain_loop",
    /// VRRP advertisement of another station with the VRID of an instance this node is Active for.
    VrrpConflict = "vrrp_conflict",
    /// A conflict was seen but the event buffer was full.
    EventLost = "event_lost",
}

impl Counter {
    /// Number of counters.
    #[expect(clippy::cast_possible_truncation, reason = "a few dozen counters")]
    pub const COUNT: u32 = Self::ALL.len() as u32;

    /// Index into `COUNTERS`.
    #[must_use]
    pub const fn index(self) -> u32 {
        self as u32
    }
}
