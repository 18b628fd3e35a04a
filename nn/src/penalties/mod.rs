//! Penalties on the network as a function of its inputs.
//!
//! Those of Bietti, Mialon, Chen, Mairal (A kernel perspective for regularizing deep neural networks, ICML 2019, arXiv
//! 1810.00363) bound the norm |f| of the network in a reproducing kernel Hilbert space, which cannot be computed, but
//! bounds both the complexity of f and its sensitivity to changes of the input: from below, as |f(x) - f(x')| is at most
//! |f| |x - x'| (gradients, perturbations, deformations), and from above, by the spectral norms of the weights.

mod consistency;
mod deformation;
mod functions;
mod gradient;
mod loss_gradient;
mod perturbation;
mod spectral;
mod tangent;

pub use consistency::{ConsistencyPenalty, Unlabelled};
pub use deformation::{DeformationPenalty, Transforms};
pub use gradient::GradientPenalty;
pub use loss_gradient::LossGradientPenalty;
pub use perturbation::PerturbationPenalty;
pub use spectral::{SPECTRAL, Spectral, SpectralOptions, SpectralPenalty, SpectralSpec};
pub use tangent::TangentPenalty;

use autograd::Tensor;
use registry::{Row, Setting};

use crate::error::{Error, nothing_to_load};
use crate::train::BatchLoss;

/// A term of the loss that depends on the network as a function of its inputs: on the gradient by the inputs, or on
/// the loss at other inputs.
///
/// ```
/// use autograd::Tensor;
/// use nn::{BatchLoss, Error, Penalty};
///
/// /// The mean squared norm of the gradient of each input's loss by the input.
/// #[derive(Clone)]
/// struct InputGradient;
/// impl Penalty for InputGradient {
///     fn name(&self) -> &str {
///         "input-gradient"
///     }
///     fn penalty(&mut self, loss: &BatchLoss) -> Result<Tensor, Error> {
///         let x = loss.batch.inputs.detach().requires_grad();
///         let g = loss.fit(&x)?.recorded().grad(&[&x]).remove(0);
///         // The loss is a mean over the batch, so that each input's own gradient is N times as large.
///         Ok((&g * &g).sum(..) * loss.batch.len() as f64)
///     }
/// }
/// ```
pub trait Penalty: ClonePenalty + Send + Sync {
    /// Its name in logs.
    fn name(&self) -> &str;

    /// The penalty of a batch: a tensor with one element, in the dtype of the network. [`BatchLoss::outputs`] and
    /// [`BatchLoss::fit`] evaluate the network and its loss on any inputs, with the same random draws each time and
    /// without a change of running statistics.
    ///
    /// # Errors
    /// If the penalty does not accept the network or the batch.
    fn penalty(&mut self, loss: &BatchLoss) -> Result<Tensor, Error>;

    /// The state, by name.
    fn state(&self) -> Vec<(String, Tensor)> {
        Vec::new()
    }

    /// Restores what [`Penalty::state`] gave.
    ///
    /// # Errors
    /// If the tensors are not what `state` gives.
    fn load_state(&mut self, state: &[(String, Tensor)]) -> Result<(), Error> {
        nothing_to_load("penalty", state)
    }
}

/// Clones a boxed trait object. Every `Clone` penalty implements it.
pub trait ClonePenalty {
    /// A copy of the penalty in a box.
    fn clone_penalty(&self) -> Box<dyn Penalty>;
}

impl<P: Penalty + Clone + 'static> ClonePenalty for P {
    fn clone_penalty(&self) -> Box<dyn Penalty> {
        Box::new(self.clone())
    }
}

impl Clone for Box<dyn Penalty> {
    fn clone(&self) -> Box<dyn Penalty> {
        (**self).clone_penalty()
    }
}

/// The settings of penalties on inputs; each penalty reads those that its row of the table names.
#[derive(Clone, Debug, Default)]
pub struct PenaltyOptions {
    /// The factor of the penalty; `None`: 0.1, but 1 for `adversarial`.
    pub weight: Option<f64>,
    /// The radius of perturbations; 0.1 by default.
    pub eps: Option<f64>,
    /// The number of ascent steps; 5 by default.
    pub steps: Option<usize>,
    /// Random deformations of images, which `deformation` needs.
    pub deformations: Option<Transforms>,
    /// Directions of deformation at images, which `tangent` needs.
    pub tangents: Option<Transforms>,
}

/// How a penalty is made; `None`: there is none. Fails if a number is out of range, or the transforms that it needs are
/// missing.
pub type PenaltySpec = fn(&PenaltyOptions) -> Result<Option<Box<dyn Penalty>>, Error>;

/// The setting [`PenaltyOptions::weight`].
const WEIGHT: Setting = Setting::new("weight");

/// Every penalty on inputs that is chosen by name, the default first.
pub static PENALTIES: &[Row<PenaltySpec>] = &[
    Row { name: "none", help: "no penalty on inputs", settings: &[], make: |_| Ok(None) },
    gradient::ROW,
    perturbation::ROW,
    loss_gradient::L2,
    loss_gradient::L1,
    deformation::ROW,
    tangent::ROW,
];

/// Checks a number that must be finite and not negative.
fn check(name: &str, what: &str, value: f64) -> Result<(), Error> {
    if value >= 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(Error::Config(format!("{name}: {what} is {value}; it must be finite and not negative")))
}

/// A penalty of 0, without a graph.
fn nothing(loss: &BatchLoss) -> Tensor {
    Tensor::scalar(0.0, loss.batch.inputs.dtype())
}

/// The factor of a penalty in [`PenaltyOptions`].
fn weight(options: &PenaltyOptions) -> f64 {
    options.weight.unwrap_or(0.1)
}

#[cfg(test)]
mod tests;
