//! Bounds-checked access to the packet: the only place that makes pointers into it.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::bpf_xdp_adjust_tail;
use aya_ebpf::programs::XdpContext;
use vip_common::net::Header;

/// The frame that is being decided about.
pub struct Packet<'a> {
    context: &'a XdpContext,
    // Kept as plain numbers so that a check made once is not made again after every helper call.
    start: usize,
    end: usize,
}

impl<'a> Packet<'a> {
    /// The frame of this run of the program.
    #[inline(always)]
    pub fn new(context: &'a XdpContext) -> Self {
        Self { context, start: context.data(), end: context.data_end() }
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

    /// The header at `offset`, or `None` when the frame ends before the header does.
    #[inline(always)]
    pub fn at<T: Header>(&mut self, offset: usize) -> Option<&mut T> {
        let start = self.start + offset;
        if start + size_of::<T>() > self.end {
            return None;
        }
        // SAFETY: `start..start + size_of::<T>()` lies inside the frame (checked above), which is
        // memory of this run alone; any bytes at any address are a valid `T` (`Header`); and the
        // exclusive borrow of `self` keeps a second reference from being made.
        Some(unsafe { &mut *(start as *mut T) })
    }

    /// Cuts or grows the frame's end to `len` bytes; new bytes have no defined content. Returns
    /// whether it could be done.
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "frames are shorter than 64 KiB"
    )]
    pub fn resize(&mut self, len: usize) -> bool {
        let delta = len as i32 - self.len() as i32;
        if delta == 0 {
            return true;
        }
        // SAFETY: the context is the one the kernel passed in. The call moves the end of the frame;
        // no reference into the frame is alive, because `self` is borrowed exclusively.
        let done = unsafe { bpf_xdp_adjust_tail(self.context.as_ptr().cast(), delta) } == 0;
        (self.start, self.end) = (self.context.data(), self.context.data_end());
        done
    }
}
