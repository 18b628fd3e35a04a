//! Losses: how far the outputs of a network are from their targets.

mod covariance;
mod cross_entropy;
mod isda;
mod mse;

pub use covariance::{ClassCovariance, Covariance};
pub use cross_entropy::CrossEntropy;
pub use isda::{Isda, Ramp};
pub use mse::Mse;

use autograd::Tensor;
use registry::Row;

use crate::error::{Error, nothing_to_load};
use crate::train::{Step, Targets};

/// The result of a forward pass, as the input of a loss.
#[derive(Clone, Debug)]
pub struct Outputs {
    /// The outputs of the network: logits [N, classes], or predictions.
    pub values: Tensor,
    /// The last fully connected layer that was applied; `None` if the network has none.
    pub classifier: Option<Classifier>,
}

impl Outputs {
    /// Outputs of something that is not a network.
    pub fn new(values: Tensor) -> Outputs {
        Outputs { values, classifier: None }
    }
}

/// A fully connected layer with its input.
#[derive(Clone, Debug)]
pub struct Classifier {
    /// The features: its input, [N, d].
    pub features: Tensor,
    /// Its weight, [classes, d].
    pub weight: Tensor,
    /// Its bias, `[classes]`.
    pub bias: Option<Tensor>,
}

/// A function of outputs and targets that training minimises.
///
/// A loss may have state, an estimate that it updates from each batch for example. A step that evaluates it at more
/// than one place starts each evaluation from the state before the step, and keeps the state after the evaluation at
/// the weights themselves.
///
/// ```
/// use autograd::Tensor;
/// use nn::{Error, Loss, Outputs, Step, Targets};
///
/// /// The mean absolute error.
/// #[derive(Clone)]
/// struct Absolute;
/// impl Loss for Absolute {
///     fn name(&self) -> &str {
///         "absolute"
///     }
///     fn loss(&mut self, outputs: &Outputs, targets: &Targets, _: Step) -> Result<Tensor, Error> {
///         let Targets::Values(y) = targets else {
///             return Err(Error::Config("absolute: real targets are needed".into()));
///         };
///         Ok((&outputs.values - y).abs().mean(..))
///     }
/// }
/// let outputs = Outputs::new(Tensor::from([[1.0], [4.0]]));
/// let targets = Targets::Values(Tensor::from([[2.0], [2.0]]));
/// assert_eq!(Absolute.loss(&outputs, &targets, Step::default())?.item(), 1.5);
/// # Ok::<(), Error>(())
/// ```
pub trait Loss: CloneLoss + Send + Sync {
    /// Its name in messages and logs.
    fn name(&self) -> &str;

    /// The loss of a batch, a tensor of one element in the dtype of the outputs: a mean over the batch, so that it does
    /// not depend on the batch's size.
    ///
    /// # Errors
    /// If the loss does not accept the outputs or the targets.
    fn loss(&mut self, outputs: &Outputs, targets: &Targets, step: Step) -> Result<Tensor, Error>;

    /// The loss that evaluations report: without smoothing, for instance. By default the loss itself.
    fn evaluation(&self) -> Box<dyn Loss> {
        self.clone_loss()
    }

    /// The state, by name.
    fn state(&self) -> Vec<(String, Tensor)> {
        Vec::new()
    }

    /// Restores what [`Loss::state`] gave.
    ///
    /// # Errors
    /// If the tensors are not what `state` gives.
    fn load_state(&mut self, state: &[(String, Tensor)]) -> Result<(), Error> {
        nothing_to_load("loss", state)
    }
}

/// The settings of losses; each loss reads those that its row of the table names.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LossOptions {
    /// Label smoothing.
    pub smoothing: f64,
    /// Added to each probability before the logarithm.
    pub floor: f64,
    /// The strength of the augmentation: see [`Isda::lambda`]; `None`: its default.
    pub lambda: Option<f64>,
    /// The form of the covariances of [`Isda`].
    pub covariance: Covariance,
    /// The growth of lambda over the run; `None`: lambda itself in every step.
    pub ramp: Option<Ramp>,
    /// The covariances of [`Isda`] do not change: see [`Isda::frozen`].
    pub frozen: bool,
}

/// How a loss is made.
pub type LossSpec = fn(&LossOptions) -> Box<dyn Loss>;

/// Every loss that is chosen by name, the default first.
pub static LOSSES: &[Row<LossSpec>] = &[cross_entropy::ROW, isda::ROW, mse::ROW];

/// Clones a boxed trait object. Every `Clone` loss implements it.
pub trait CloneLoss {
    /// A copy of the loss in a box.
    fn clone_loss(&self) -> Box<dyn Loss>;
}

impl<L: Loss + Clone + 'static> CloneLoss for L {
    fn clone_loss(&self) -> Box<dyn Loss> {
        Box::new(self.clone())
    }
}

impl Clone for Box<dyn Loss> {
    fn clone(&self) -> Box<dyn Loss> {
        (**self).clone_loss()
    }
}

#[cfg(test)]
mod tests;
