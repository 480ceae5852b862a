//! The stages in order. The first that decides wins; what nobody decides is not ours and passes.

use core::ops::ControlFlow;

use aya_ebpf::programs::XdpContext;

use crate::packet::Packet;
use crate::stage::{arp, classify, liveness, ndp, steer, vrrp};
use crate::telemetry;
use crate::verdict::Verdict;

/// Decides about one packet and counts the decision.
#[inline(always)]
pub fn run(context: &XdpContext) -> u32 {
    let mut packet = Packet::new(context);
    let verdict = match stages(&mut packet) {
        ControlFlow::Continue(()) => Verdict::Ignore,
        ControlFlow::Break(verdict) => verdict,
    };
    telemetry::decided(&packet, verdict);
    verdict.action()
}

#[inline(always)]
fn stages(packet: &mut Packet<'_>) -> ControlFlow<Verdict> {
    let frame = classify::frame(packet)?;
    arp::answer(packet, &frame)?;
    ndp::answer(packet, &frame)?;
    liveness::answer(packet, &frame)?;
    vrrp::watch(packet, &frame)?;
    steer::to_backend(packet, &frame)
}
