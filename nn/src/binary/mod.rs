//! One-bit networks: BaseNet and BoolNet (Guo, Bethge, Yang, Zhong, Ning, Meinel 2021, arXiv 2106.06991).
//!
//! Every tensor between two blocks is +1 or -1, in [N, S, C, H, W] with S slices; so are the weights at inference.
//! Training keeps real weights and replaces the derivative of the sign, which is 0, by a straight-through gradient.
//! Reading order: `sign.rs`, `conv.rs`, `logic.rs`, `block.rs`, `net.rs`, `progressive.rs`; `packed/` is inference on
//! 64-bit words, `cost.rs` a model of the energy.

mod block;
mod conv;
mod cost;
mod logic;
mod net;
mod packed;
mod progressive;
mod shift;
mod sign;

#[cfg(test)]
mod tests;

pub use block::{Block, BlockSpec};
pub use conv::BinaryConv;
pub use cost::{Coefficients, Cost, Energy, costs};
pub use logic::{interleave, or, xnor};
pub use net::{Design, Twin};
pub use packed::Packed;
pub use progressive::{Anneal, Progressive};
pub use shift::AdaptiveShift;
pub use sign::{MultiSign, offsets, sign};

pub(crate) use net::{layers, start};
