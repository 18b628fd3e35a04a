//! Losses of predictions and targets, per item or per element, then reduced.

mod cross_entropy;
mod regression;

pub use cross_entropy::CrossEntropy;

use crate::sample::Sample;
use crate::tensor::Tensor;

/// How per-item or per-element losses are reduced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reduction {
    /// Their mean; NaN if there are none.
    #[default]
    Mean,
    /// Their sum.
    Sum,
    /// No reduction.
    None,
}

impl Reduction {
    #[track_caller]
    fn of(self, losses: Tensor) -> Tensor {
        match self {
            Reduction::Mean => losses.mean(..),
            Reduction::Sum => losses.sum(..),
            Reduction::None => losses,
        }
    }
}

pub(crate) fn samples() -> Vec<Sample> {
    [cross_entropy::samples(), regression::samples()].concat()
}
