//! The data plane: one XDP program that answers for virtual IP addresses and steers their packets.
//!
//! Read `pipeline.rs` first.
#![no_std]
#![no_main]

mod lease;
mod maps;
mod packet;
mod pipeline;
mod stage;
mod telemetry;
mod verdict;

use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

/// The entry point: one packet in, one XDP action out.
#[xdp]
pub fn vip_xdp(context: XdpContext) -> u32 {
    pipeline::run(&context)
}

/// Required by the language; the verifier refuses a program from which this could be reached.
#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The helpers this program calls are open only to programs under a GPL-compatible licence.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
