//! Weight decay, which makes the weights small.
//!
//!   |W|_F^2 / 2
//!
//! Source: Krogh, Hertz: A Simple Weight Decay Can Improve Generalization, NIPS 1991. Its gradient is W: with weight
//! lambda it adds lambda W, as an optimiser's weight decay does, but for the regularised weights only.

use std::sync::Arc;

use autograd::Tensor;
use registry::Row;

use super::finite;
use crate::energy::checked_rows;
use crate::error::Error;
use crate::table::{Build, HEAD_WEIGHT, RegulariserSpec, WEIGHT};

pub(crate) const ROW: Row<RegulariserSpec> = Row {
    name: "decay",
    help: "weight decay, |W|^2 / 2",
    settings: &[WEIGHT, HEAD_WEIGHT],
    make: RegulariserSpec {
        build: Build::Peer(|_| Arc::new(|layer, _| decay(&layer.value))),
        memory: |_, _| 0.0,
    },
};

/// |W|_F^2 / 2, a scalar.
///
/// # Errors
/// If the weight has a wrong shape, an element is not finite, or the penalty overflows.
pub fn decay(w: &Tensor) -> Result<Tensor, Error> {
    let rows = checked_rows(w)?;
    finite((&rows * &rows).sum(..) * 0.5, w)
}
