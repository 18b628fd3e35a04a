//! One file a subcommand: each parses, calls, prints.

pub mod bench;
pub mod compare;
pub mod config_show;
pub mod energy;
pub mod eval;
pub mod generated;
pub mod gradcheck;
pub mod lrfind;
pub mod sanity;
pub mod sweep;
pub mod theory;
pub mod thomson;
pub mod train;
