//! One file a subcommand: each parses, calls, prints.

pub mod bench;
pub mod compare;
pub mod energy;
pub mod eval;
pub mod gradcheck;
pub mod sweep;
pub mod theory;
pub mod thomson;
pub mod train;
