//! Maximised minimal angles (MMA), which separates every neuron from its nearest neighbour.
//!
//!   -(1/N) sum over i of arccos(max over j != i of cos(w_i, w_j))
//!
//! Source: Wang, Xiang, Zou, Xu: MMA Regularization: Decorrelating Weights of Neural Networks by Maximizing the
//! Minimal Angles, NeurIPS 2020 (arXiv 2006.06527). As in the published code cosines are clamped to
//! +-0.99999, so that the derivative of arccos is finite: pairs at an angle below 0.0045 have no gradient.

use std::sync::Arc;

use autograd::{DType, Mask, Tensor};
use registry::Row;

use super::{PeerOptions, directions, nothing};
use crate::error::Error;
use crate::table::{HEAD_WEIGHT, RegulariserSpec, WEIGHT, peer_of_directions};

pub(crate) const ROW: Row<RegulariserSpec> = Row {
    name: "mma",
    help: "minimal angles to the nearest neuron, maximised",
    settings: &[WEIGHT, HEAD_WEIGHT],
    make: peer_of_directions(|&PeerOptions { eps, .. }| Arc::new(move |layer, _| mma(&layer.value, eps))),
};

/// The largest |cosine| whose arccos is taken.
const CLAMP: f64 = 0.99999;

/// Minus the mean angle between a neuron and its nearest neighbour, in radians, a scalar. Of equally near neighbours
/// the first receives the gradient.
///
/// # Errors
/// If the weight has a wrong shape, an element is not finite, a row is zero while eps = 0, or eps is out of range.
pub fn mma(w: &Tensor, eps: f64) -> Result<Tensor, Error> {
    let u = directions(w, eps)?;
    let n = u.shape()[0];
    if n < 2 {
        return Ok(nothing(&u));
    }
    let own: Mask = Tensor::eye(n, DType::F32).gt(0.0);
    let nearest = u.matmul_nt(&u).masked_fill(&own, -2.0).max(1);
    Ok(-nearest.clamp(-CLAMP, CLAMP).acos().mean(..))
}
