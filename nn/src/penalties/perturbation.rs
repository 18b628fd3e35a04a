//! The adversarial perturbation penalty.

use autograd::Tensor;
use registry::{Row, Setting};

use super::functions::{Functions, largest, pick};
use super::{Penalty, PenaltySpec, WEIGHT, check, nothing};
use crate::attack::Attack;
use crate::error::Error;
use crate::train::BatchLoss;

/// The adversarial perturbation penalty (Bietti et al., ICML 2019, arXiv 1810.00363, section 2.1): for each output the
/// largest rise by a perturbation of an input of the batch, squared, summed over the outputs,
///
///   weight sum_k (f_k(x_i + d) - f_k(x_i))^2,   (i, d) = argmax of f_k(x_i + d) - f_k(x_i) over i and |d|_2 <= eps
///
/// with d from projected gradient ascent on f_k, constant in the penalty's gradient: this is not the derivative of the
/// value, which would include that of d. For small eps the penalty is eps^2 times the
/// [gradient penalty](super::GradientPenalty). f is the network with running statistics and without dropout.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PerturbationPenalty {
    /// The factor; 1 in the paper, where eps alone is chosen.
    pub weight: f64,
    /// The radius.
    pub eps: f64,
    /// The number of ascent steps, each of length 1.5 eps / steps.
    pub steps: usize,
}

/// Factor 1, radius 0.1, five steps.
impl Default for PerturbationPenalty {
    fn default() -> PerturbationPenalty {
        PerturbationPenalty { weight: 1.0, eps: 0.1, steps: 5 }
    }
}

pub(super) const ROW: Row<PenaltySpec> = Row {
    name: "adversarial",
    help: "largest rise of each output within eps of an input, squared (default weight 1, eps 0.1, steps 5)",
    settings: &[WEIGHT, Setting::new("eps"), Setting::new("steps")],
    make: |options| {
        let standard = PerturbationPenalty::default();
        let penalty = PerturbationPenalty {
            weight: options.weight.unwrap_or(standard.weight),
            eps: options.eps.unwrap_or(standard.eps),
            steps: options.steps.unwrap_or(standard.steps),
        };
        penalty.check()?;
        Ok(Some(Box::new(penalty)))
    },
};

impl PerturbationPenalty {
    fn check(&self) -> Result<(), Error> {
        check("adversarial", "weight", self.weight)?;
        check("adversarial", "eps", self.eps)?;
        if self.steps == 0 {
            return Err(Error::Config("adversarial: steps is 0; it must be at least 1".to_string()));
        }
        Ok(())
    }

    /// For each output the input of its largest rise, and this input after the perturbation.
    fn worst(&self, loss: &BatchLoss) -> Result<[Tensor; 2], Error> {
        let (x, fixed) = (loss.batch.inputs.detach(), Functions::fixed(loss));
        let before = fixed.values(&x)?;
        let attack = Attack::l2(self.eps).steps(self.steps);
        let (mut rows, mut moved) = (Vec::new(), Vec::new());
        for k in 0..before.shape()[1] as isize {
            let attacked = attack.ascend(&x, None, |x| Ok(fixed.values(x)?.select(1, k).sum(..)))?;
            let i = largest(&(fixed.values(&attacked)? - &before).select(1, k));
            rows.push(i);
            moved.push(attacked.slice_axis(0, i..i + 1));
        }
        Ok([pick(&x, &rows), Tensor::concat(&moved.iter().collect::<Vec<_>>(), 0)])
    }
}

impl Penalty for PerturbationPenalty {
    fn name(&self) -> &str {
        "adversarial"
    }

    fn penalty(&mut self, loss: &BatchLoss) -> Result<Tensor, Error> {
        self.check()?;
        if self.weight == 0.0 || self.eps == 0.0 {
            return Ok(nothing(loss));
        }
        let [x, moved] = self.worst(loss)?;
        Ok(Functions::new(loss).squared_differences(&moved, &x)? * self.weight)
    }
}
