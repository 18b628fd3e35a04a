//! Norms and angles of gradients and updates, with the tensors of a layer as one vector.

use autograd::{DType, Tensor};

use crate::optim::global_norm;

/// The layer that a parameter belongs to: its path without the last part; `conv1.weight` is of `conv1`.
pub fn layer_of(parameter: &str) -> &str {
    parameter.rsplit_once('.').map_or(parameter, |(layer, _)| layer)
}

/// The inner product of all elements of all tensors, in f64.
pub(super) fn dot<'a>(pairs: impl Iterator<Item = (&'a Tensor, &'a Tensor)>) -> f64 {
    pairs
        .map(|(a, b)| match (a.dtype(), b.dtype()) {
            (DType::F32, DType::F32) => {
                let pairs = a.data::<f32>().iter().zip(b.data::<f32>());
                pairs.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>()
            }
            _ => a.to_vec::<f64>().iter().zip(b.to_vec::<f64>()).map(|(a, b)| a * b).sum(),
        })
        .sum()
}

/// The cosine similarity of two vectors given as lists of tensors, `<a, b> / (|a| |b|)`; `None` if one of them is 0 or
/// there are none.
pub fn cosine<'a>(pairs: impl Iterator<Item = (&'a Tensor, &'a Tensor)> + Clone) -> Option<f64> {
    let lengths = global_norm(pairs.clone().map(|(a, _)| a)) * global_norm(pairs.clone().map(|(_, b)| b));
    (lengths > 0.0).then(|| (dot(pairs) / lengths).clamp(-1.0, 1.0))
}

/// The relative size of an update, |after - before| / |before|; `None` if they were 0.
pub fn update_ratio<'a>(pairs: impl Iterator<Item = (&'a Tensor, &'a Tensor)> + Clone) -> Option<f64> {
    let moves: Vec<Tensor> = pairs.clone().map(|(before, after)| after.detach() - before.detach()).collect();
    let length = global_norm(pairs.map(|(before, _)| before));
    (length > 0.0).then(|| global_norm(moves.iter()) / length)
}
