//! Maximum Gram determinant (MGD), which maximises the independence of neurons under a Gaussian kernel.
//!
//!   -log det(K + 1e-6 I),   K_ij = exp(-gamma (2 - 2 c_ij))
//!
//! Source: Liu, Lin, Liu, Xiong, Schölkopf, Weller: Learning with Hyperspherical Uniformity, AISTATS 2021
//! (arXiv 2103.01649). The 1e-6 keeps the determinant of coinciding neurons above 0.
//!
//! Computed in f64 also for f32 weights: K is positive semidefinite, and 1e-6 is above its rounding in f64 for every N
//! that fits in memory, but not in f32.

use std::sync::Arc;

use autograd::{DType, Tensor};
use registry::{Row, Setting};

use super::{directions, placed};
use crate::error::{Error, short};
use crate::table::{Build, HALF_SPACE, HEAD_WEIGHT, RegulariserSpec, WEIGHT, placed_sizes};

pub(crate) const ROW: Row<RegulariserSpec> = Row {
    name: "mgd",
    help: "Gram determinant of a Gaussian kernel, maximised",
    settings: &[WEIGHT, HEAD_WEIGHT, HALF_SPACE, Setting::new("gamma")],
    make: RegulariserSpec {
        build: Build::Peer(|&options| {
            Arc::new(move |layer, _| mgd(&placed(&layer.value, &options)?, options.gamma, options.eps))
        }),
        memory: |weight, options| {
            // All of it in f64.
            let [n, d] = placed_sizes(weight, options);
            10.0 * n * d + 6.0 * n * n
        },
    },
};

/// The constant added to the diagonal.
const RIDGE: f64 = 1e-6;

/// -log det(exp(-gamma (2 - 2c)) + 1e-6 I), a scalar. 0 without neurons.
///
/// # Errors
/// If the weight has a wrong shape, an element is not finite, a row is zero while eps = 0, or an option is out of range.
pub fn mgd(w: &Tensor, gamma: f64, eps: f64) -> Result<Tensor, Error> {
    check(gamma)?;
    let u = directions(&w.to_dtype(DType::F64), eps)?;
    let kernel = ((u.matmul_nt(&u) - 1.0) * (2.0 * gamma)).exp();
    let ridge = Tensor::eye(u.shape()[0], DType::F64) * RIDGE;
    Ok((-(kernel + ridge).logdet()).to_dtype(w.dtype()))
}

/// Checks that the kernel's width is in range.
pub(super) fn check(gamma: f64) -> Result<(), Error> {
    match gamma.is_finite() && gamma > 0.0 {
        true => Ok(()),
        false => Err(Error::option(format!("gamma = {}: it must be finite and above 0", short(gamma)))),
    }
}
