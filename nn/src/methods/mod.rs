//! Training methods: from the loss of a step to the gradient that the optimiser gets.

use autograd::Tensor;

use crate::error::{Error, nothing_to_load};
use crate::train::{BatchLoss, Gradient};

/// How the gradient of a step is made from its loss, which is a function of the parameters: see [`BatchLoss`].
///
/// A method may evaluate the loss any number of times. Each evaluation starts from the state before the step (running
/// statistics of batch norm, state of the loss, penalties and the regulariser) and draws the same dropout masks;
/// [`BatchLoss::after`] and [`BatchLoss::redrawn`] choose otherwise. The step reports the losses of the gradient that
/// the method returns, and keeps the state after its evaluation.
///
/// Sharpness-aware minimisation (Foret et al. 2021, arXiv 2010.01412), with gradients taken at p + rho g / |g|:
///
/// ```
/// use nn::{BatchLoss, Error, Gradient, Method, global_norm};
///
/// struct Sam {
///     rho: f64,
/// }
/// impl Method for Sam {
///     fn name(&self) -> &str {
///         "sam"
///     }
///     fn gradient(&mut self, loss: &BatchLoss) -> Result<Gradient, Error> {
///         let clean = loss.gradient()?;
///         let norm = global_norm(clean.parameters.values());
///         let ascent = |name: &str, p: &autograd::Tensor| match clean.parameters.get(name) {
///             Some(g) => p + g * (self.rho / (norm + 1e-12)),
///             None => p.clone(),
///         };
///         let sharp = loss.moved(ascent).gradient()?;
///         Ok(clean.with_parameters(sharp.parameters))
///     }
/// }
/// ```
pub trait Method: Send {
    /// What messages and logs call it.
    fn name(&self) -> &str;

    /// The gradient that the optimiser gets, by parameter.
    ///
    /// # Errors
    /// As [`BatchLoss::gradient`].
    fn gradient(&mut self, loss: &BatchLoss) -> Result<Gradient, Error>;

    /// The state, by name.
    fn state(&self) -> Vec<(String, Tensor)> {
        Vec::new()
    }

    /// Restores what [`Method::state`] gave.
    ///
    /// # Errors
    /// If the tensors are not what `state` gives.
    fn load_state(&mut self, state: &[(String, Tensor)]) -> Result<(), Error> {
        nothing_to_load("method", state)
    }
}

/// The gradient of the loss itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plain;

impl Method for Plain {
    fn name(&self) -> &str {
        "plain"
    }

    fn gradient(&mut self, loss: &BatchLoss) -> Result<Gradient, Error> {
        loss.gradient()
    }
}
