//! Relaxed hyperspherical polarisation, which balances the neurons about the origin.
//!
//!   |sum over i of w_i|
//!
//! Source: Liu, Lin, Liu, Xiong, Schölkopf, Weller: Learning with Hyperspherical Uniformity, AISTATS 2021
//! (arXiv 2103.01649), on the relaxation of MHP. As in the published code the rows are not normalised, so that the
//! penalty also shrinks them: every neuron has the same unit vector as its gradient.
//!
//! Neurons that are balanced exactly have penalty 0 with gradient 0.

use std::sync::Arc;

use autograd::Tensor;
use registry::Row;

use super::finite;
use crate::energy::checked_rows;
use crate::error::Error;
use crate::table::{Build, HEAD_WEIGHT, RegulariserSpec, WEIGHT};

pub(crate) const ROW: Row<RegulariserSpec> = Row {
    name: "mhp-relaxed",
    help: "relaxed hyperspherical polarisation, the length of the sum of the neurons",
    settings: &[WEIGHT, HEAD_WEIGHT],
    make: RegulariserSpec {
        build: Build::Peer(|_| Arc::new(|layer, _| mhp_relaxed(&layer.value))),
        memory: |_, _| 0.0,
    },
};

/// The length of the sum of the neurons, a scalar.
///
/// # Errors
/// If the weight has a wrong shape, an element is not finite, or the penalty overflows.
pub fn mhp_relaxed(w: &Tensor) -> Result<Tensor, Error> {
    finite(checked_rows(w)?.sum(0).norm(..), w)
}
