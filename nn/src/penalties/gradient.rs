//! The gradient penalty.

use autograd::Tensor;
use registry::Row;

use super::functions::{Functions, largest, pick, row_squares};
use super::{Penalty, PenaltySpec, WEIGHT, check, nothing, weight};
use crate::error::Error;
use crate::train::BatchLoss;

/// The gradient penalty (Bietti et al., ICML 2019, arXiv 1810.00363, section 2.1): for each output f_k the largest squared
/// norm of its gradient by an input of the batch, summed over the outputs,
///
///   weight sum_k max_i |grad f_k(x_i)|^2
///
/// The maximising inputs are found with constant parameters; one recorded pass over these K inputs then gives the
/// penalty. f is the network with running statistics and without dropout; it is meant for networks without batch norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GradientPenalty {
    /// The factor.
    pub weight: f64,
}

pub(super) const ROW: Row<PenaltySpec> = Row {
    name: "gradient",
    help: "largest squared input gradient of each output in the batch (default weight 0.1)",
    settings: &[WEIGHT],
    make: |options| {
        let penalty = GradientPenalty { weight: weight(options) };
        check("gradient", "weight", penalty.weight)?;
        Ok(Some(Box::new(penalty)))
    },
};

impl Penalty for GradientPenalty {
    fn name(&self) -> &str {
        "gradient"
    }

    fn penalty(&mut self, loss: &BatchLoss) -> Result<Tensor, Error> {
        check(self.name(), "weight", self.weight)?;
        if self.weight == 0.0 {
            return Ok(nothing(loss));
        }
        let x = &loss.batch.inputs;
        let gradients = Functions::fixed(loss).gradients(x)?;
        let steepest: Vec<usize> = gradients.map(|g| largest(&row_squares(&g))).collect();
        let g = Functions::new(loss).own_gradients(&pick(x, &steepest))?;
        Ok((&g * &g).sum(..) * self.weight)
    }
}
