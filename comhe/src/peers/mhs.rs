//! Maximum hyperspherical separation (MHS), which separates the two nearest neurons.
//!
//!   -min over i != j of |u_i - u_j|^2 = -min (2 - 2c)
//!
//! Source: Liu, Lin, Liu, Xiong, Schölkopf, Weller: Learning with Hyperspherical Uniformity, AISTATS 2021
//! (arXiv 2103.01649): the distance that it maximises, here in its squared form, is that of a Tammes packing.
//! The published code sums over all pairs that tie for the minimum; here the first has all of the gradient.

use std::sync::Arc;

use autograd::Tensor;
use registry::Row;

use super::{cosines_of_pairs, directions, nothing, placed};
use crate::error::Error;
use crate::table::{Build, HALF_SPACE, HEAD_WEIGHT, RegulariserSpec, WEIGHT, placed_sizes};

pub(crate) const ROW: Row<RegulariserSpec> = Row {
    name: "mhs",
    help: "hyperspherical separation: the smallest distance, maximised",
    settings: &[WEIGHT, HEAD_WEIGHT, HALF_SPACE],
    make: RegulariserSpec {
        build: Build::Peer(|&options| {
            Arc::new(move |layer, _| mhs(&placed(&layer.value, &options)?, options.eps))
        }),
        memory: |weight, options| {
            let [n, d] = placed_sizes(weight, options);
            3.0 * n * d + n * n
        },
    },
};

/// Minus the smallest 2 - 2c, a scalar. Of equally near pairs the first receives the gradient, so that one pair moves
/// per step.
///
/// # Errors
/// If the weight has a wrong shape, an element is not finite, a row is zero while eps = 0, or eps is out of range.
pub fn mhs(w: &Tensor, eps: f64) -> Result<Tensor, Error> {
    let u = directions(w, eps)?;
    Ok(cosines_of_pairs(&u).map_or_else(|| nothing(&u), |c| c.max(..) * 2.0 - 2.0))
}
