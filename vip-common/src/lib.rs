//! What both sides of the kernel agree on.
//!
//! - [`abi`]: the BPF maps. Names, key and value types, sizes, and the version that must match
//!   before an agent adopts maps it finds pinned.
//! - [`net`]: packet headers and the in-place rewrites of the data plane, as safe functions that
//!   are tested on the host and compiled unchanged into the XDP program.
//!
//! Rules: every type that crosses the line is `#[repr(C)]`, made of fixed-size integers and byte
//! arrays only, has no hidden padding (deriving [`bytemuck::Pod`] refuses it) and a size assertion.
//! Values that come from or go to the wire are byte arrays in network byte order; all other
//! integers are in host byte order. Units are in the field's name where the type cannot carry them.
#![no_std]
#![warn(clippy::indexing_slicing)]
#![deny(unsafe_code)]

pub mod abi;
pub mod net;
