//! Property tests: every kernel against its definition in f64, over random sizes and options.
//!
//! A case is a few small integers; the data follow from its seed, so a failing case shrinks to one that a person
//! can read. Tolerances follow from the number of roundings and the absolute values of the terms, see
//! [`common::gamma`]. Kernels that depend on the instruction set run with each one that the machine has.

mod common;
mod convolutions;
mod elementwise;
mod indexing;
mod layout;
mod norms;
mod pooling;
mod products;
mod random;
mod reductions;
mod softmax;
