//! OrthoReg, which separates neurons that point the same way and leaves opposite ones alone.
//!
//!   sum over i != j of log(1 + exp(lambda (cos(w_i, w_j) - 1)))
//!
//! Source: Rodríguez, Gonzàlez, Cucurull, Gonfaus, Roca: Regularizing CNNs with Locally Constrained Decorrelations,
//! ICLR 2017 (arXiv 1611.01967), with lambda = 10. Both orders of a pair count.

use std::sync::Arc;

use autograd::Tensor;
use registry::{Row, Setting};

use super::{PeerOptions, check_sharpness, cosines_of_pairs, directions, nothing};
use crate::error::Error;
use crate::table::{HEAD_WEIGHT, RegulariserSpec, WEIGHT, peer_of_directions};

pub(crate) const ROW: Row<RegulariserSpec> = Row {
    name: "orthoreg",
    help: "OrthoReg, a penalty on positive cosines",
    settings: &[WEIGHT, HEAD_WEIGHT, Setting::new("sharpness")],
    make: peer_of_directions(|&PeerOptions { sharpness, eps, .. }| {
        Arc::new(move |layer, _| orthoreg(&layer.value, sharpness, eps))
    }),
};

/// The sum of log(1 + exp(lambda (c - 1))) over ordered pairs, a scalar. 0 without pairs.
///
/// # Errors
/// If the weight has a wrong shape, an element is not finite, a row is zero while eps = 0, or an option is out of range.
pub fn orthoreg(w: &Tensor, lambda: f64, eps: f64) -> Result<Tensor, Error> {
    check_sharpness(lambda)?;
    let u = directions(w, eps)?;
    let sum = |c: Tensor| ((c - 1.0) * lambda).softplus().sum(..) * 2.0;
    Ok(cosines_of_pairs(&u).map_or_else(|| nothing(&u), sum))
}
