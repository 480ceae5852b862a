//! Which types may be laid over packet bytes.
#![expect(
    unsafe_code,
    reason = "a marker trait for foreign types, and the one cast it permits"
)]

use network_types::arp::ArpHdr;
use network_types::icmp::{Icmpv4Hdr, Icmpv6Hdr};
use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

use super::ethernet::{EthernetHeader, VlanTag};
use super::liveness::{Liveness, PacketV4, PacketV6};
use super::ndp::{AdvertisementPacket, LinkLayerOption, NeighborMessage};
use super::vrrp::VrrpHeader;

/// A header that can be viewed in place, wherever it lies in a packet.
///
/// # Safety
/// The type must have a defined layout (`#[repr(C)]` or primitive), alignment 1, no padding and no
/// interior mutability, and every bit pattern must be a valid value.
pub unsafe trait Header: Copy + 'static {}

macro_rules! headers {
    ($($type:ty: $size:literal,)+) => {
        $(
            const _: () = assert!(align_of::<$type>() == 1 && size_of::<$type>() == $size);
            // SAFETY: `#[repr(C)]` and made of `u8` and byte arrays only (or of such structs), so
            // there is no padding, no interior mutability and no invalid bit pattern; alignment and
            // size are asserted above.
            unsafe impl Header for $type {}
        )+
    };
}

headers! {
    EthernetHeader: 14,
    VlanTag: 4,
    ArpHdr: 28,
    Ipv4Hdr: 20,
    Ipv6Hdr: 40,
    Icmpv4Hdr: 8,
    Icmpv6Hdr: 8,
    NeighborMessage: 24,
    LinkLayerOption: 8,
    AdvertisementPacket: 72,
    Liveness: 104,
    PacketV4: 132,
    PacketV6: 152,
    VrrpHeader: 8,
    [u8; 8]: 8,
}

/// The header at `offset` of `packet`, or `None` when the packet ends before the header does.
#[must_use]
pub fn view_mut<T: Header>(packet: &mut [u8], offset: usize) -> Option<&mut T> {
    let bytes = packet.get_mut(offset..)?.get_mut(..size_of::<T>())?;
    // SAFETY: the slice is exactly as long as `T`, exclusively borrowed for the result's lifetime,
    // and `Header` promises alignment 1 and that any bytes are a valid `T`.
    Some(unsafe { &mut *bytes.as_mut_ptr().cast::<T>() })
}

/// The bytes of a header.
#[must_use]
pub const fn bytes_of<T: Header>(header: &T) -> &[u8] {
    // SAFETY: `Header` promises a type without padding, so all its bytes are initialised; the
    // result borrows `header`.
    unsafe { core::slice::from_raw_parts(core::ptr::from_ref(header).cast::<u8>(), size_of::<T>()) }
}
