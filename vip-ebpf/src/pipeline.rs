//! The stages in order. The first that decides wins; what nobody decides is not ours and passes.

use core::ops::ControlFlow;

use aya_ebpf::programs::XdpContext;

use crate::packet::Packet;
use crate::stage::{arp, classify, ndp, steer};
use crate::telemetry;
use crate::verdict::Verdict;

/// Decides about one packet and counts the decision.
#[inline(always)]
pub fn run(context: &XdpContext) -> u32 {
    match stages(&mut Packet::new(context)) {
        ControlFlow::Continue(()) => Verdict::Ignore.action(),
        ControlFlow::Break(verdict) => {
            telemetry::count(verdict);
            verdict.action()
        }
    }
}

#[inline(always)]
fn stages(packet: &mut Packet<'_>) -> ControlFlow<Verdict> {
    let frame = classify::frame(packet)?;
    arp::answer(packet, &frame)?;
    ndp::answer(packet, &frame)?;
    steer::to_backend(packet, &frame)
}
