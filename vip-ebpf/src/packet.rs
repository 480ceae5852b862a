//! Bounds-checked access to the packet: the only place that makes pointers into it.

use core::hint::black_box;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::bpf_xdp_adjust_tail;
use aya_ebpf::programs::XdpContext;
use vip_common::net::Header;

/// Largest offset of the network header; a mask of ones, and no less than Ethernet and two tags.
const MAX_NETWORK_OFFSET: usize = 31;

/// The frame that is being decided about.
pub struct Packet<'a> {
    context: &'a XdpContext,
    // Addresses are kept as plain numbers so that a check made once is not made again after every
    // helper call.
    start: usize,
    end: usize,
    network: usize,
}

impl<'a> Packet<'a> {
    /// The frame of this run of the program.
    #[inline(always)]
    pub fn new(context: &'a XdpContext) -> Self {
        let start = context.data();
        Self {
            context,
            start,
            end: context.data_end(),
            network: start,
        }
    }

    /// The context, for log statements.
    #[inline(always)]
    pub const fn context(&self) -> &'a XdpContext {
        self.context
    }

    /// Index of the interface the frame came in by.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "32 bits in the kernel")]
    pub fn ifindex(&self) -> u32 {
        self.context.ingress_ifindex() as u32
    }

    /// Length of the frame from the Ethernet header on, in bytes.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Length of the frame from the network header on, in bytes.
    #[inline(always)]
    pub fn network_len(&self) -> usize {
        self.end - self.network
    }

    /// The header at `offset` from the frame's start, or `None` when the frame ends before it does.
    #[inline(always)]
    pub fn at<T: Header>(&mut self, offset: usize) -> Option<&mut T> {
        self.view(self.start + offset)
    }

    /// The header at `offset` from the network header, or `None` when the frame ends before it does.
    #[inline(always)]
    pub fn network_at<T: Header>(&mut self, offset: usize) -> Option<&mut T> {
        self.view(self.network + offset)
    }

    /// Says where the network header begins: at most [`MAX_NETWORK_OFFSET`] bytes from the start.
    #[inline(always)]
    pub fn set_network(&mut self, offset: usize) {
        // The verifier follows every value an offset can have on its own, so that each VLAN tag
        // would double its work. Adding and subtracting a number that it does not know leaves it
        // with a range; the compiler must not see through that, nor compute the address twice.
        let unknown = self.context.rx_queue_index() as usize;
        let offset = black_box(offset + unknown).wrapping_sub(unknown) & MAX_NETWORK_OFFSET;
        // It also remembers with an address how much behind it was checked, so begin anew.
        self.start = black_box(self.context).data();
        self.network = black_box(self.start + offset);
    }

    /// Cuts or grows the frame's end so that `len` bytes follow from the network header on; new
    /// bytes have no defined content. Returns whether it could be done.
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "frames are shorter than 64 KiB"
    )]
    pub fn resize(&mut self, len: usize) -> bool {
        let (delta, offset) = (
            len as i32 - self.network_len() as i32,
            self.network - self.start,
        );
        if delta == 0 {
            return true;
        }
        // SAFETY: the context is the one the kernel passed in. The call moves the end of the frame;
        // no reference into the frame is alive, because `self` is borrowed exclusively.
        let done = unsafe { bpf_xdp_adjust_tail(self.context.as_ptr().cast(), delta) } == 0;
        (self.start, self.end) = (self.context.data(), self.context.data_end());
        self.set_network(offset);
        done
    }

    #[inline(always)]
    fn view<T: Header>(&mut self, address: usize) -> Option<&mut T> {
        if address + size_of::<T>() > self.end {
            return None;
        }
        // SAFETY: `address` is `start` or `network` plus an offset, so not before the frame, and
        // `address..address + size_of::<T>()` ends inside it (checked above); the frame is memory of
        // this run alone; any bytes at any address are a valid `T` (`Header`); and the exclusive
        // borrow of `self` keeps a second reference from being made.
        Some(unsafe { &mut *(address as *mut T) })
    }
}
