//! The common part of the regularisers of this crate: each is a sum over the given layers.

use autograd::{DType, Tensor};
use nn::{Regulariser, Step, Weight};

use crate::energy::Energy;
use crate::error::Error;

/// The sum over layers of a penalty on each of those that have one; a constant 0 if none has.
pub(crate) fn sum_over(
    weights: &[Weight],
    mut penalty: impl FnMut(&Weight) -> Result<Option<Tensor>, nn::Error>,
) -> Result<Tensor, nn::Error> {
    let mut sum: Option<Tensor> = None;
    for weight in weights {
        sum = match (sum, penalty(weight)?) {
            (Some(sum), Some(term)) => Some(sum + term),
            (sum, term) => sum.or(term),
        };
    }
    let dtype = weights.first().map_or(DType::F32, |weight| weight.value.dtype());
    Ok(sum.unwrap_or_else(|| Tensor::scalar(0.0, dtype)))
}

/// The sum over layers of a penalty on each; an error names the layer. A user-defined regulariser uses it like this:
///
/// ```
/// use autograd::Tensor;
/// use comhe::{checked_rows, per_layer};
/// use nn::{Error, Regulariser, Step, Weight};
///
/// /// The squared Frobenius norm of W W' - I.
/// #[derive(Clone)]
/// struct Orthogonality;
/// impl Regulariser for Orthogonality {
///     fn penalty(&mut self, weights: &[Weight], _: Step) -> Result<Tensor, Error> {
///         per_layer(weights, |layer| {
///             let w = checked_rows(&layer.value)?; // N x d, filters of convolutions too
///             let off = w.matmul_nt(&w) - Tensor::eye(w.shape()[0], w.dtype());
///             Ok((&off * &off).sum(..))
///         })
///     }
/// }
/// ```
///
/// # Errors
/// As `penalty`.
pub fn per_layer(
    weights: &[Weight],
    mut penalty: impl FnMut(&Weight) -> Result<Tensor, Error>,
) -> Result<Tensor, nn::Error> {
    sum_over(weights, |weight| Ok(Some(penalty(weight).map_err(|e| e.in_layer(&weight.name))?)))
}

/// The value of a regulariser on one layer, without a graph and without a change of its state.
///
/// # Errors
/// As [`Regulariser::penalty`].
pub fn measured(regulariser: &dyn Regulariser, weight: &Weight, step: Step) -> Result<f64, nn::Error> {
    let mut copy = regulariser.clone_regulariser();
    Ok(copy.penalty(&[weight.detached()], step)?.item())
}

/// Energy without projection, full space or half-space.
impl Regulariser for Energy {
    fn penalty(&mut self, weights: &[Weight], _: Step) -> Result<Tensor, nn::Error> {
        per_layer(weights, |weight| self.of(&weight.value))
    }
}
