//! Double soft orthogonality (DSO), which makes rows and columns of the weight orthonormal.
//!
//!   |W W' - I|_F^2 + |W' W - I|_F^2
//!
//! Source: Bansal, Chen, Wang: Can We Gain More from Orthogonality Regularizations in Training Deep Networks?,
//! NeurIPS 2018 (arXiv 1810.09102).
//!
//! Since |W W'|_F = |W' W|_F and both have the trace |W|_F^2, the two terms differ by the constant N - d. So with G
//! the smaller Gram matrix the penalty is 2 |G - I|_F^2 + |N - d|, and its gradient is twice that of SO: it is SO
//! with another weight.

use std::sync::Arc;

use autograd::Tensor;
use registry::Row;

use super::{finite, gram_less_identity};
use crate::energy::checked_rows;
use crate::error::Error;
use crate::table::{HEAD_WEIGHT, RegulariserSpec, WEIGHT, peer};

pub(crate) const ROW: Row<RegulariserSpec> = Row {
    name: "dso",
    help: "double soft orthogonality, |W W' - I|^2 + |W' W - I|^2",
    settings: &[WEIGHT, HEAD_WEIGHT],
    make: peer(|_| Arc::new(|layer, _| dso(&layer.value))),
};

/// |W W' - I|_F^2 + |W' W - I|_F^2, a scalar. Without neurons it is 0, though |0 - I|_F^2 = d.
///
/// # Errors
/// If the weight has a wrong shape, an element is not finite, or the penalty overflows.
pub fn dso(w: &Tensor) -> Result<Tensor, Error> {
    let rows = checked_rows(w)?;
    let (n, d) = (rows.shape()[0], rows.shape()[1]);
    let off = gram_less_identity(&rows);
    let missing = if n == 0 { 0 } else { n.abs_diff(d) };
    finite((&off * &off).sum(..) * 2.0 + missing as f64, w)
}
