//! The consistency of predictions for inputs without labels.

use std::fmt;
use std::sync::Arc;

use autograd::Tensor;

use super::{Penalty, check};
use crate::error::Error;
use crate::losses::{Covariance, Isda, Loss, Ramp};
use crate::train::{BatchLoss, Step};

/// Inputs without labels, [N, C, H, W] in the dtype of the network, as a pure function of the step: so that a resumed run
/// continues with those that it would have had.
///
/// ```
/// use autograd::{DType, Key, Tensor};
/// use nn::{Step, Unlabelled};
/// let noise = Unlabelled::new(|step| Tensor::normal([8, 1, 4, 4], DType::F32, Key::new(0).step(step.index)));
/// assert_eq!(**noise.at(Step::default()).shape(), [8, 1, 4, 4]);
/// ```
#[derive(Clone)]
pub struct Unlabelled(Arc<dyn Fn(Step) -> Tensor + Send + Sync>);

impl Unlabelled {
    /// These inputs.
    pub fn new(f: impl Fn(Step) -> Tensor + Send + Sync + 'static) -> Unlabelled {
        Unlabelled(Arc::new(f))
    }

    /// The inputs of a step, constants.
    pub fn at(&self, step: Step) -> Tensor {
        (self.0)(step).detach()
    }
}

impl fmt::Debug for Unlabelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unlabelled")
    }
}

/// The semi-supervised term of implicit semantic data augmentation (Wang et al., T-PAMI 2021, arXiv 2007.10538):
///
///   weight E[KL(p(a) || p(a + e))], bounded from above by [`Isda::consistency`],
///
/// over the features a of inputs without labels. The covariances are those that the loss of the labelled batches, an
/// [`Isda`], has estimated in earlier steps; before there are any, the term is 0. Batch norm normalises the unlabelled
/// inputs with their own statistics; running statistics are those of labelled batches.
///
/// ```
/// use autograd::{DType, Key, Tensor};
/// use nn::{Batch, ConsistencyPenalty, Covariance, Isda, Optimizer, Trainer, Unlabelled};
/// let model = nn::models::build("mlp", [1, 4, 4], 2, 1, Key::new(0), DType::F64)?;
/// let draw = |key: Key| Tensor::normal([4, 1, 4, 4], DType::F64, key);
/// let unlabelled = Unlabelled::new(move |step| draw(Key::new(1).step(step.index)));
/// let mut trainer = Trainer::new(model, Optimizer::sgd(0.9), 0.01, Key::new(0))
///     .loss(Isda::new(0.5, Covariance::Full));
/// trainer.penalties.push(Box::new(ConsistencyPenalty::new(1.0, 0.5, unlabelled)));
/// let batch = Batch::new(draw(Key::new(2)), vec![0, 1, 0, 1]);
/// trainer.step(&batch)?;
/// let terms = trainer.gradient(&batch)?.numbers.terms;
/// assert!(terms[1].0 == "consistency" && terms[1].1 > 0.0);
/// # Ok::<(), nn::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ConsistencyPenalty {
    /// The factor.
    pub weight: f64,
    /// The strength of the augmentation.
    pub lambda: f64,
    /// The growth of lambda over the run; `None`: lambda in every step.
    pub ramp: Option<Ramp>,
    /// The inputs.
    pub inputs: Unlabelled,
}

impl ConsistencyPenalty {
    /// Without a ramp.
    pub fn new(weight: f64, lambda: f64, inputs: Unlabelled) -> ConsistencyPenalty {
        ConsistencyPenalty { weight, lambda, ramp: None, inputs }
    }
}

impl Penalty for ConsistencyPenalty {
    fn name(&self) -> &str {
        "consistency"
    }

    fn penalty(&mut self, loss: &BatchLoss) -> Result<Tensor, Error> {
        check(self.name(), "weight", self.weight)?;
        if loss.loss.name() != "isda" {
            let found = loss.loss.name();
            return Err(Error::Config(format!(
                "consistency: the covariances are those of the loss isda, and the loss is {found}"
            )));
        }
        let state = loss.loss.state();
        let inputs = self.inputs.at(loss.step);
        let Some((_, covariance)) = state.last().filter(|_| self.weight > 0.0 && inputs.numel() > 0) else {
            return Ok(Tensor::zeros([], loss.model.dtype()));
        };
        let form = if covariance.rank() == 3 { Covariance::Full } else { Covariance::Diagonal };
        let mut isda = Isda { ramp: self.ramp, ..Isda::new(self.lambda, form) };
        isda.load_state(&state)?;
        Ok(isda.consistency(&loss.outputs(&inputs), loss.step)? * self.weight)
    }
}
