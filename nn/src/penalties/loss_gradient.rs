//! The penalty on the gradient of the loss.

use autograd::Tensor;
use registry::Row;

use super::{Penalty, PenaltySpec, WEIGHT, check, nothing, weight};
use crate::attack::Norm;
use crate::error::Error;
use crate::train::BatchLoss;

/// The penalty on the gradient of each input's loss by the input (Drucker and Le Cun 1991; grad-l2 and grad-l1 of Bietti
/// et al., ICML 2019, arXiv 1810.00363):
///
///   weight / n sum_i |grad l_i|_2^2,   or   weight / n sum_i |grad l_i|_1
///
/// for the dual norms of perturbations in l2 and l-inf. The loss is that of the training pass, with the same dropout
/// masks. Batch norm in training mode couples the inputs: grad l_i then is the gradient of the sum of all losses by x_i.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossGradientPenalty {
    /// The norm of the perturbations that the penalty is for.
    pub against: Norm,
    /// The factor.
    pub weight: f64,
}

const fn row(name: &'static str, help: &'static str, make: PenaltySpec) -> Row<PenaltySpec> {
    Row { name, help, settings: &[WEIGHT], make }
}

pub(super) const L2: Row<PenaltySpec> = row(
    "loss-gradient-l2",
    "mean squared norm of the input gradients of the loss (default weight 0.1)",
    |options| LossGradientPenalty { against: Norm::L2, weight: weight(options) }.boxed(),
);

pub(super) const L1: Row<PenaltySpec> = row(
    "loss-gradient-l1",
    "mean l1 norm of the input gradients of the loss (default weight 0.1)",
    |options| LossGradientPenalty { against: Norm::LInf, weight: weight(options) }.boxed(),
);

impl LossGradientPenalty {
    fn boxed(self) -> Result<Option<Box<dyn Penalty>>, Error> {
        check(self.name(), "weight", self.weight)?;
        Ok(Some(Box::new(self)))
    }
}

impl Penalty for LossGradientPenalty {
    fn name(&self) -> &str {
        match self.against {
            Norm::L2 => "loss-gradient-l2",
            Norm::LInf => "loss-gradient-l1",
        }
    }

    fn penalty(&mut self, loss: &BatchLoss) -> Result<Tensor, Error> {
        check(self.name(), "weight", self.weight)?;
        if self.weight == 0.0 {
            return Ok(nothing(loss));
        }
        let n = loss.batch.len() as f64;
        let x = loss.batch.inputs.detach().requires_grad();
        // The loss is a mean over the batch, so that each input's own gradient is n times as large.
        let g = (loss.fit(&x)? * n).recorded().grad(&x);
        let sum = match self.against {
            Norm::L2 => (&g * &g).sum(..),
            Norm::LInf => g.abs().sum(..),
        };
        Ok(sum * (self.weight / n))
    }
}
