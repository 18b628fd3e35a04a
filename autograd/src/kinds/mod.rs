//! The four kinds of operation, each with the one rule by which it is differentiated.
//!
//! | kind | an operation gives | its gradient |
//! |---|---|---|
//! | [`elementwise`] | a value and its partial derivatives, for any number type | g times the derivative |
//! | [`linear`] | a map and its adjoint | the adjoint of g |
//! | [`trilinear`] | three contractions of a form T(a, b, c) | the other two contractions |
//! | [`fused`] | a definition in plain operations, and fast kernels | the kernel, or the definition's gradient |
//!
//! Every rule is made of operations of the same four kinds, so gradients of gradients exist to any order.

pub mod chain;
pub mod custom;
pub mod elementwise;
pub mod fused;
pub mod linear;
pub mod trilinear;
