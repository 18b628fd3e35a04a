//! Numerical kernels: slices and sizes in, slices out.
//!
//! This crate does not depend on tensors or graphs. Every kernel is generic over [`Element`] (f32, f64), works on
//! row-major contiguous slices, and splits sums by size, never by the number of threads, so results are bitwise
//! identical for any value of [`par::set_threads`]. All `unsafe` and all SIMD of the project live here, behind safe
//! functions that check their slice lengths.

pub mod aligned;
mod arrays;
pub mod binary;
mod cascade;
pub mod conv;
pub mod cosines;
pub mod environment;
pub mod gemm;
pub mod gram;
pub mod layout;
pub mod linalg;
pub mod map;
pub mod math;
pub mod norm;
pub mod optim;
pub mod par;
pub mod peak;
pub mod pool;
pub mod random;
pub mod real;
pub mod reduce;
pub mod simd;
pub mod softmax;

pub use real::{Binary, Element, Real, Unary};

/// The largest number of axes any kernel or tensor has.
pub const MAX_RANK: usize = 6;
