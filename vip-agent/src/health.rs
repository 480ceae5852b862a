//! Which backend gets the packets: checks, neighbour resolution, and the choice between them.

pub mod board;
mod former;
pub mod neighbours;
pub mod supervisor;
pub mod tcp;
