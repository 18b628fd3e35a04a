//! Orthogonal convolution (OCNN), which makes the convolution itself orthogonal: its kernel at all shifts.
//!
//!   |conv2d(K, K, stride s, padding floor((k - 1)/s) s) - I|_F
//!
//! where I is the identity of the channels at the central shift, and 0 at all others.
//!
//! Source: Wang, Chen, Chakraborty, Yu: Orthogonal Convolutional Neural Networks, CVPR 2020 (arXiv 1911.12207).
//! The paper squares the norm; the published code, followed here, does not.
//!
//! The stride s is the layer's own, (height, width), by default. A linear layer is a convolution of kernel size 1, so
//! that its penalty is |W W' - I|_F: SO without the square.

use std::sync::Arc;

use autograd::{ConvOptions, Tensor};
use registry::{Row, Setting};

use super::{PeerOptions, finite};
use crate::energy::checked_rows;
use crate::error::Error;
use crate::table::{Build, HEAD_WEIGHT, RegulariserSpec, WEIGHT, sizes};

pub(crate) const ROW: Row<RegulariserSpec> = Row {
    name: "ocnn",
    help: "orthogonal convolution, |conv(K, K) - I|",
    settings: &[WEIGHT, HEAD_WEIGHT, Setting::new("stride")],
    make: RegulariserSpec {
        build: Build::Peer(|&PeerOptions { stride, .. }| {
            Arc::new(move |layer, _| ocnn(&layer.value, stride.map_or(layer.stride, |s| [s; 2])))
        }),
        memory: |weight, options| {
            // Overlaps of pairs at all shifts.
            let n = sizes(weight)[0];
            let shifts = |axis: usize| {
                let stride = options.stride.unwrap_or(weight.stride[axis]).max(1);
                weight.value.shape().get(2 + axis).map_or(1, |kernel| 2 * ((kernel - 1) / stride) + 1) as f64
            };
            3.0 * n * n * shifts(0) * shifts(1)
        },
    },
};

/// The distance of a kernel's self-convolution from the identity, a scalar; at 0 its gradient is 0.
///
/// # Errors
/// If the weight has a wrong shape, an element is not finite, a stride is 0, or the penalty overflows.
pub fn ocnn(w: &Tensor, stride: [usize; 2]) -> Result<Tensor, Error> {
    stride.iter().try_for_each(|&stride| check(stride))?;
    let rows = checked_rows(w)?;
    let (n, d) = (rows.shape()[0], rows.shape()[1]);
    if n == 0 {
        return Ok(super::nothing(&rows));
    }
    let kernel = if w.rank() == 4 { w.clone() } else { w.reshape([n, d, 1, 1]) };
    // The number of strides on either side at which the kernels still overlap.
    let shifts = [0, 1].map(|axis| (kernel.shape()[2 + axis] - 1) / stride[axis]);
    let padding = [0, 1].map(|axis| shifts[axis] * stride[axis]);
    let overlaps = kernel
        .conv2d(&kernel, ConvOptions { stride, padding, ..ConvOptions::default() })
        .reshape([n, n, (2 * shifts[0] + 1) * (2 * shifts[1] + 1)]);
    let count = overlaps.shape()[2];
    let identity = Tensor::from_fn([n, n, count], w.dtype(), |i| {
        let (row, column, shift) = (i / (n * count), i / count % n, i % count);
        f64::from(u8::from(row == column && shift == count / 2))
    });
    finite((overlaps - identity).norm(..), w)
}

/// Checks that the stride is in range.
pub(super) fn check(stride: usize) -> Result<(), Error> {
    match stride {
        0 => Err(Error::option("stride = 0: kernels are compared at shifts of 1 or more".into())),
        _ => Ok(()),
    }
}
