//! Mutual coherence (MC), which makes the two most collinear neurons orthogonal.
//!
//!   max over i != j of |cos(w_i, w_j)|
//!
//! Source: Bansal, Chen, Wang: Can We Gain More from Orthogonality Regularizations in Training Deep Networks?,
//! NeurIPS 2018 (arXiv 1810.09102). Published code takes |W W' - I|_inf of rows that are not normalised; this is
//! the coherence itself.

use std::sync::Arc;

use autograd::Tensor;
use registry::Row;

use super::{PeerOptions, cosines_of_pairs, directions, nothing};
use crate::error::Error;
use crate::table::{HEAD_WEIGHT, RegulariserSpec, WEIGHT, peer_of_directions};

pub(crate) const ROW: Row<RegulariserSpec> = Row {
    name: "mc",
    help: "mutual coherence, the largest |cosine|",
    settings: &[WEIGHT, HEAD_WEIGHT],
    make: peer_of_directions(|&PeerOptions { eps, .. }| Arc::new(move |layer, _| mc(&layer.value, eps))),
};

/// The largest |cosine| of two neurons, a scalar. Of equal ones the first pair receives the gradient.
///
/// # Errors
/// If the weight has a wrong shape, an element is not finite, a row is zero while eps = 0, or eps is out of range.
pub fn mc(w: &Tensor, eps: f64) -> Result<Tensor, Error> {
    let u = directions(w, eps)?;
    Ok(cosines_of_pairs(&u).map_or_else(|| nothing(&u), |c| c.abs().max(..)))
}
