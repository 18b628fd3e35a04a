//! What else the loss may consist of.

use autograd::Tensor;

use crate::error::Error;
use crate::models::Weight;

/// A function of a network's weights that is added to the loss.
///
/// ```
/// use autograd::Tensor;
/// use nn::{Error, Regulariser, Weight};
///
/// /// Half the squared length of all weights, times a constant.
/// struct Ridge(f64);
/// impl Regulariser for Ridge {
///     fn penalty(&mut self, weights: &[Weight], _step: u64) -> Result<Tensor, Error> {
///         let squares = weights.iter().map(|w| (&w.value * &w.value).sum(..));
///         let sum = squares.reduce(|a, b| a + b).expect("a network has weights");
///         Ok(sum * (self.0 / 2.0))
///     }
/// }
/// ```
pub trait Regulariser: Send {
    /// The term of step `step`: a tensor with one element, of the weights' dtype.
    ///
    /// # Errors
    /// If the weights are not ones that it can take.
    fn penalty(&mut self, weights: &[Weight], step: u64) -> Result<Tensor, Error>;

    /// What a later [`Regulariser::penalty`] depends on besides its arguments, by name.
    fn state(&self) -> Vec<(String, Tensor)> {
        Vec::new()
    }

    /// Takes back what [`Regulariser::state`] gave.
    ///
    /// # Errors
    /// If the tensors are not what `state` gives.
    fn load_state(&mut self, state: &[(String, Tensor)]) -> Result<(), Error> {
        if state.is_empty() {
            return Ok(());
        }
        Err(Error::Mismatch(
            state.iter().map(|(name, _)| format!("regulariser.{name} is left over")).collect(),
        ))
    }

    /// Numbers of the last penalty worth a line in the log, by name.
    fn metrics(&self) -> Vec<(String, f64)> {
        Vec::new()
    }
}

/// A function of weights and step is a regulariser without state.
impl<F> Regulariser for F
where
    F: FnMut(&[Weight], u64) -> Result<Tensor, Error> + Send,
{
    fn penalty(&mut self, weights: &[Weight], step: u64) -> Result<Tensor, Error> {
        self(weights, step)
    }
}
