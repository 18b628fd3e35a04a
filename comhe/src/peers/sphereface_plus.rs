//! SphereFace+, which separates the angles between classes: an energy of the classifier's rows.
//!
//!   mean over i < j of arccos(cos(w_i, w_j))^-2
//!
//! over all classes of the classifier. Other layers have no penalty.
//!
//! Source: Liu, Lin, Liu, Liu, Yu, Dai, Song: Learning towards Minimum Hyperspherical Energy, NeurIPS 2018
//! (arXiv 1805.09298), on SphereFace+, in the form of its PyTorch version, which clamps cosines to +-(1 - 1e-5): pairs
//! at an angle below 0.0045 have no gradient. That version takes the mean over the classes of a batch, which a
//! regulariser does not know, and normalises the weights themselves; here their gradient is that of the angles. The
//! Caffe version is no energy of pairs.

use std::sync::Arc;

use autograd::Tensor;
use registry::Row;

use super::{PeerOptions, cosines_of_pairs, directions, nothing};
use crate::error::Error;
use crate::table::{Build, HEAD_WEIGHT, RegulariserSpec, WEIGHT, pairs};

pub(crate) const ROW: Row<RegulariserSpec> = Row {
    name: "sphereface-plus",
    help: "SphereFace+: mean of 1 / angle^2 over all pairs of classes (published: those of the batch), of the classifier alone",
    settings: &[WEIGHT, HEAD_WEIGHT],
    make: RegulariserSpec {
        build: Build::Head(|&PeerOptions { eps, .. }| {
            Arc::new(move |layer, _| sphereface_plus(&layer.value, eps))
        }),
        memory: |weight, options| {
            if weight.role == nn::Role::Classifier { pairs(weight, options) } else { 0.0 }
        },
    },
};

/// The largest |cosine| whose arccos is taken.
const CLAMP: f64 = 1.0 - 1e-5;

/// The mean of 1 / angle^2 over pairs of rows, in radians, a scalar. 0 without pairs.
///
/// # Errors
/// If the weight has a wrong shape, an element is not finite, a row is zero while eps = 0, or eps is out of range.
pub fn sphereface_plus(w: &Tensor, eps: f64) -> Result<Tensor, Error> {
    let u = directions(w, eps)?;
    let mean = |c: Tensor| c.clamp(-CLAMP, CLAMP).acos().powi(-2).mean(..);
    Ok(cosines_of_pairs(&u).map_or_else(|| nothing(&u), mean))
}
