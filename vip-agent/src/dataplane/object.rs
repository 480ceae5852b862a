//! The XDP program as it was built: an ELF object inside this binary.

/// The object file that `build.rs` made of `vip-ebpf`, aligned as its parser wants it.
pub const OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/vip-ebpf.o"));
