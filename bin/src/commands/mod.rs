//! One file a subcommand: each parses, calls, prints.

pub mod attack;
pub mod bench;
pub mod compare;
pub mod config_show;
pub mod convert;
pub mod data;
pub mod energy;
pub mod energy_cost;
pub mod eval;
pub mod export;
pub mod generated;
pub mod grad;
pub mod gradcheck;
pub mod inspect;
pub mod landscape;
pub mod lrfind;
pub mod meta;
pub mod replay;
pub mod report;
pub mod sanity;
pub mod sweep;
pub mod theory;
pub mod thomson;
pub mod train;
