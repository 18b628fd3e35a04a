//! Penalties on the network as a function of its inputs.

use autograd::Tensor;

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
