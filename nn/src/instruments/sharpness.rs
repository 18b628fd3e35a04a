//! The sharpness of the loss: the largest eigenvalue of its Hessian.

use autograd::{Key, Tensor};

use super::{Lanczos, Largest};
use crate::error::Error;
use crate::train::BatchLoss;

/// The largest eigenvalue of the Hessian of a batch's loss with respect to the parameters whose names `chosen` accepts,
/// all others fixed: of the whole Hessian, or of the diagonal block of a layer. `None` if there are none.
///
/// The products with the Hessian are exact: the derivative of <gradient, v>, by a second reverse pass over the graph
/// of the first. Gradient descent with step size eta is stable along the eigenvector below 2 / eta, and in practice the
/// eigenvalue rises to about this value (Cohen et al. 2021, arXiv 2103.00065).
///
/// # Errors
/// As [`BatchLoss::pass`].
pub fn sharpness(
    loss: &BatchLoss,
    chosen: impl Fn(&str) -> bool,
    method: Lanczos,
    key: Key,
) -> Result<Option<Largest>, Error> {
    let (names, mut parameters) = loss.parameters();
    let mut leaves = Vec::new();
    for (_, p) in names.iter().zip(&mut parameters).filter(|(name, _)| chosen(name)) {
        *p = p.requires_grad();
        leaves.push(p.clone());
    }
    let Some(first) = leaves.first() else { return Ok(None) };
    let dtype = first.dtype();
    let n = leaves.iter().map(Tensor::numel).sum();
    let value = loss.at(&parameters)?;
    // One graph serves all products.
    let mut slopes = value.recorded().backward();
    let slopes: Vec<Option<Tensor>> = leaves.iter().map(|leaf| slopes.take(leaf)).collect();
    let largest = method.largest(n, dtype, key, |v| {
        let mut from = 0;
        let mut along = Tensor::scalar(0.0, dtype);
        for (leaf, slope) in leaves.iter().zip(&slopes) {
            let part = v.slice_axis(0, from..from + leaf.numel()).reshape(leaf.shape());
            from += leaf.numel();
            if let Some(slope) = slope {
                along += (slope * &part).sum(..);
            }
        }
        let mut found = along.is_tracked().then(|| along.backward());
        let part = |leaf: &Tensor| {
            let g = found.as_mut().and_then(|found| found.take(leaf));
            g.unwrap_or_else(|| Tensor::zeros(leaf.shape(), dtype)).reshape([leaf.numel()])
        };
        let parts: Vec<Tensor> = leaves.iter().map(part).collect();
        Tensor::concat(&parts.iter().collect::<Vec<_>>(), 0)
    });
    Ok(Some(largest))
}
