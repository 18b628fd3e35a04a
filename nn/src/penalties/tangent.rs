//! The tangent penalty.

use autograd::Tensor;
use registry::Row;

use super::deformation::Transforms;
use super::functions::{Functions, largest, pick};
use super::{Penalty, PenaltySpec, WEIGHT, check, nothing, weight};
use crate::error::Error;
use crate::train::BatchLoss;

/// The tangent gradient penalty (Bietti et al., ICML 2019, arXiv 1810.00363, section 2.1; after Simard et al.'s tangent
/// propagation, 1992): the squared derivatives of each output along directions of deformation t_j of an image,
///
///   weight sum_k sum_j <grad f_k(x), t_j(x)>^2
///
/// at the image x, among the first `images` of the batch, where the inner sum is largest. (The published code chooses
/// the image by the sum of the derivatives instead of their squares.) f is the network with running statistics and
/// without dropout.
#[derive(Clone, Debug)]
pub struct TangentPenalty {
    /// The factor.
    pub weight: f64,
    /// The directions: derivatives of an image along deformations.
    pub tangents: Transforms,
    /// The number of images per batch, at most; 32 in the published code.
    pub images: usize,
    /// The number of directions of an image; 30 in the published code.
    pub directions: usize,
}

impl TangentPenalty {
    /// With 32 images and 30 directions.
    pub fn new(weight: f64, tangents: Transforms) -> TangentPenalty {
        TangentPenalty { weight, tangents, images: 32, directions: 30 }
    }
}

pub(super) const ROW: Row<PenaltySpec> = Row {
    name: "tangent",
    help: "squared derivatives of each output along deformations of an image (default weight 0.1)",
    settings: &[WEIGHT],
    make: |options| {
        check("tangent", "weight", weight(options))?;
        let tangents = Transforms::needed(&options.tangents, "tangent")?;
        Ok(Some(Box::new(TangentPenalty::new(weight(options), tangents))))
    },
};

/// sum_j <g_i, t_ij>^2 of gradients [E, ..] and directions [E, J, ..], `[E]`.
fn along(g: &Tensor, t: &Tensor) -> Tensor {
    let derivatives = t.flatten(2).matmul(&g.flatten(1).unsqueeze(2)).squeeze(2);
    (&derivatives * &derivatives).sum(1)
}

impl Penalty for TangentPenalty {
    fn name(&self) -> &str {
        "tangent"
    }

    fn penalty(&mut self, loss: &BatchLoss) -> Result<Tensor, Error> {
        check(self.name(), "weight", self.weight)?;
        let images = self.images.min(loss.batch.len());
        if self.weight == 0.0 || images == 0 || self.directions == 0 {
            return Ok(nothing(loss));
        }
        let x = loss.batch.inputs.detach().slice_axis(0, ..images);
        let t = self.tangents.of(&x, self.directions, loss.context.stream("tangent"))?;
        let gradients = Functions::fixed(loss).gradients(&x)?;
        let steepest: Vec<usize> = gradients.map(|g| largest(&along(&g, &t))).collect();
        let g = Functions::new(loss).own_gradients(&pick(&x, &steepest))?;
        Ok(along(&g, &pick(&t, &steepest)).sum(..) * self.weight)
    }
}
