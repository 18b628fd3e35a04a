//! Spectral restricted isometry property (SRIP), which makes W preserve the length of every vector.
//!
//!   |(G - I) v|^2,   v = (G - I) b / |(G - I) b|,   b normal, drawn anew in each step
//!
//! with G the smaller of W W' and W' W: one step of the power method for the largest squared eigenvalue of G - I.
//!
//! Source: Bansal, Chen, Wang: Can We Gain More from Orthogonality Regularizations in Training Deep Networks?,
//! NeurIPS 2018 (arXiv 1810.09102). As in the published code the gradient flows through v, too.
//!
//! Where (G - I) b is 0 (exactly orthonormal rows) v is 0 as well, and so are penalty and gradient.

use std::sync::Arc;

use autograd::{DType, Key, Tensor};
use nn::{Step, Weight};
use registry::Row;

use super::{PeerOptions, finite, gram_less_identity};
use crate::energy::checked_rows;
use crate::error::Error;
use crate::table::{HEAD_WEIGHT, RegulariserSpec, WEIGHT, peer};

pub(crate) const ROW: Row<RegulariserSpec> = Row {
    name: "srip",
    help: "spectral restricted isometry, |(G - I) v|^2",
    settings: &[WEIGHT, HEAD_WEIGHT],
    make: peer(|&PeerOptions { seed, .. }| {
        Arc::new(move |layer, step| srip(&layer.value, &probe(layer, seed, step)?))
    }),
};

/// |(G - I) v|^2 for a given b of min(N, d) elements, a scalar.
///
/// # Errors
/// If the weight or b has a wrong shape, an element is not finite, or the penalty overflows.
pub fn srip(w: &Tensor, b: &Tensor) -> Result<Tensor, Error> {
    let rows = checked_rows(w)?;
    let m = rows.shape()[0].min(rows.shape()[1]);
    if b.numel() != m || b.rank() != 1 || b.dtype() != w.dtype() {
        let (found, dtype) = (b.shape(), w.dtype());
        return Err(Error::shape(format!("expected b of shape [{m}] and dtype {dtype}, found {found}")));
    }
    // G - I is symmetric: a row times it is its product with the column.
    let off = gram_less_identity(&rows);
    let v = b.reshape([1, m]).matmul(&off).normalize_rows(0.0);
    let y = v.matmul(&off);
    finite((&y * &y).sum(..), w)
}

/// The b of a layer at a step: a function of (seed, layer, step) alone.
///
/// # Errors
/// If the weight has a wrong shape or an element that is not finite.
pub fn probe(layer: &Weight, seed: u64, step: Step) -> Result<Tensor, Error> {
    let rows = checked_rows(&layer.value)?;
    let m = rows.shape()[0].min(rows.shape()[1]);
    let key = Key::new(seed).stream("srip").stream(&layer.name).step(step.index);
    // Drawn in f64, so that both precisions use the same b up to rounding.
    Ok(Tensor::normal([m], DType::F64, key).to_dtype(layer.value.dtype()))
}
