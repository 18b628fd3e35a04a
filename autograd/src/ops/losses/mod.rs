//! Losses: how far predictions are from targets, one number an item or an element, then reduced.

mod cross_entropy;
mod regression;

pub use cross_entropy::CrossEntropy;

use crate::sample::Sample;
use crate::tensor::Tensor;

/// What becomes of the losses of the single items or elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reduction {
    /// Their mean; NaN if there are none.
    #[default]
    Mean,
    /// Their sum.
    Sum,
    /// They stay as they are.
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
