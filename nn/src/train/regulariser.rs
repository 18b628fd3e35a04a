//! Penalties on weights.

use std::any::Any;

use autograd::Tensor;

use super::Step;
use crate::error::{Error, nothing_to_load};
use crate::models::Weight;

/// A function of the weights of a network that is added to the loss.
///
/// A regulariser may have state. A step that evaluates it at more than one place starts each evaluation from the state
/// before the step, and keeps the state after the evaluation at the weights themselves.
///
/// ```
/// use autograd::Tensor;
/// use nn::{Error, Regulariser, Step, Weight};
///
/// /// Half the squared norm of all weights, times a constant.
/// #[derive(Clone)]
/// struct Ridge(f64);
/// impl Regulariser for Ridge {
///     fn penalty(&mut self, weights: &[Weight], _: Step) -> Result<Tensor, Error> {
///         let squares = weights.iter().map(|w| (&w.value * &w.value).sum(..));
///         let sum = squares.reduce(|a, b| a + b).expect("a network has weights");
///         Ok(sum * (self.0 / 2.0))
///     }
/// }
/// ```
pub trait Regulariser: CloneRegulariser + Any + Send + Sync {
    /// The penalty at a step: a tensor with one element, of the weights' dtype.
    ///
    /// # Errors
    /// If the regulariser does not accept the weights.
    fn penalty(&mut self, weights: &[Weight], step: Step) -> Result<Tensor, Error>;

    /// The state, by name: what a later [`Regulariser::penalty`] depends on besides its arguments.
    fn state(&self) -> Vec<(String, Tensor)> {
        Vec::new()
    }

    /// Restores what [`Regulariser::state`] gave.
    ///
    /// # Errors
    /// If the tensors are not what `state` gives.
    fn load_state(&mut self, state: &[(String, Tensor)]) -> Result<(), Error> {
        nothing_to_load("regulariser", state)
    }

    /// Values of the last penalty for the log, by name.
    fn metrics(&self) -> Vec<(String, f64)> {
        Vec::new()
    }
}

/// Clones a boxed trait object. Every `Clone` regulariser implements it.
pub trait CloneRegulariser {
    /// A copy of the regulariser in a box.
    fn clone_regulariser(&self) -> Box<dyn Regulariser>;
}

impl<R: Regulariser + Clone> CloneRegulariser for R {
    fn clone_regulariser(&self) -> Box<dyn Regulariser> {
        Box::new(self.clone())
    }
}

impl Clone for Box<dyn Regulariser> {
    fn clone(&self) -> Box<dyn Regulariser> {
        (**self).clone_regulariser()
    }
}

/// A function of weights and step is a regulariser without state.
impl<F> Regulariser for F
where
    F: FnMut(&[Weight], Step) -> Result<Tensor, Error> + Clone + Send + Sync + 'static,
{
    fn penalty(&mut self, weights: &[Weight], step: Step) -> Result<Tensor, Error> {
        self(weights, step)
    }
}
