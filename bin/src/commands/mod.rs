//! One file a subcommand: each parses, calls, prints.

pub mod bench;
pub mod compare;
pub mod energy;
pub mod eval;
pub mod gradcheck;
pub mod inspect;
pub mod landscape;
pub mod replay;
pub mod report;
pub mod theory;
pub mod thomson;
pub mod train;
