//! What becomes of a packet, and why.

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::helpers::bpf_redirect;
use vip_common::abi::Counter;

/// The decision about one packet, with the counter that names its reason.
#[derive(Clone, Copy)]
pub enum Verdict {
    /// Not ours: up the stack, untouched and uncounted.
    Ignore,
    /// Ours: up the stack, with the packet as it came.
    Pass(Counter),
    /// Not to be seen by anybody.
    Drop(Counter),
    /// Rewritten: out of the interface it came in by.
    Transmit(Counter),
    /// Rewritten: out of the interface with this index.
    Redirect(Counter, u32),
}

impl Verdict {
    /// The counter to raise.
    #[inline(always)]
    pub const fn counter(self) -> Option<Counter> {
        match self {
            Self::Ignore => None,
            Self::Pass(counter)
            | Self::Drop(counter)
            | Self::Transmit(counter)
            | Self::Redirect(counter, _) => Some(counter),
        }
    }

    /// The return code of the XDP program.
    #[inline(always)]
    pub fn action(self) -> u32 {
        match self {
            Self::Ignore | Self::Pass(_) => XDP_PASS,
            Self::Drop(_) => XDP_DROP,
            Self::Transmit(_) => XDP_TX,
            Self::Redirect(_, ifindex) => redirect(ifindex),
        }
    }
}

/// `XDP_REDIRECT`, or `XDP_ABORTED` if the kernel refuses.
#[inline(always)]
fn redirect(ifindex: u32) -> u32 {
    // SAFETY: the helper takes two numbers and no pointer.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an XDP action"
    )]
    let action = unsafe { bpf_redirect(ifindex, 0) } as u32;
    action
}
