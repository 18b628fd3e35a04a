//! Soft orthogonality (SO), which makes the neurons orthonormal.
//!
//!   |W W' - I|_F^2
//!
//! Source: Bansal, Chen, Wang: Can We Gain More from Orthogonality Regularizations in Training Deep Networks?,
//! NeurIPS 2018 (arXiv 1810.09102), whose W has the neurons as columns.
//!
//! Computed on the smaller Gram matrix G, m x m with m = min(N, d): W W' and W' W have the same eigenvalues except N -
//! m zeros, each of which adds (0 - 1)^2. So the penalty is |G - I|_F^2 + N - m; with N > d it cannot be 0.

use std::sync::Arc;

use autograd::Tensor;
use registry::Row;

use super::{finite, gram_less_identity};
use crate::energy::checked_rows;
use crate::error::Error;
use crate::table::{HEAD_WEIGHT, RegulariserSpec, WEIGHT, peer};

pub(crate) const ROW: Row<RegulariserSpec> = Row {
    name: "so",
    help: "soft orthogonality, |W W' - I|^2",
    settings: &[WEIGHT, HEAD_WEIGHT],
    make: peer(|_| Arc::new(|layer, _| so(&layer.value))),
};

/// |W W' - I|_F^2, a scalar.
///
/// # Errors
/// If the weight has a wrong shape, an element is not finite, or the penalty overflows.
pub fn so(w: &Tensor) -> Result<Tensor, Error> {
    let rows = checked_rows(w)?;
    let (n, d) = (rows.shape()[0], rows.shape()[1]);
    let off = gram_less_identity(&rows);
    finite((&off * &off).sum(..) + n.saturating_sub(d) as f64, w)
}
