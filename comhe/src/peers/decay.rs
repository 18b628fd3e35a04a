//! Weight decay: the weights are to be small.
//!
//!   |W|_F^2 / 2
//!
//! Source: Krogh, Hertz: A Simple Weight Decay Can Improve Generalization, NIPS 1991. Its gradient is W: with weight
//! lambda it adds lambda W, what an optimiser's own decay does, but to the regularised weights only.

use autograd::Tensor;

use super::finite;
use crate::energy::checked_rows;
use crate::error::Error;

/// |W|_F^2 / 2, a scalar.
///
/// # Errors
/// If the weight has a wrong shape, an element is not finite, or the penalty overflows.
pub fn decay(w: &Tensor) -> Result<Tensor, Error> {
    let rows = checked_rows(w)?;
    finite((&rows * &rows).sum(..) * 0.5, w)
}
