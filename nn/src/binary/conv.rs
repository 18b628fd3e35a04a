//! Convolution with binary weights.

use autograd::{ConvOptions, DType, Padding, Shape, Tensor, conv2d_shape, custom};

use super::sign::Binarise;
use crate::error::Error;
use crate::layers::misfit;
use crate::module::{Context, Module};
use crate::summary::Summary;
use crate::tensors;

/// Convolution of signs in slices, [N, S, C, H, W] to real numbers [N, K, H', W'], with binary weights (arXiv
/// 2106.06991, section 3): with a_k = mean |W_k| the weight is
///
///   clip(W / T, -1, 1) a   in training, with the temperature T
///   sign(W) a              in evaluation
///
/// The gradient of the first factor is that of 1\[|W| <= 1\], and a is not a constant:
///
///   dW_kj = a_k g_kj 1\[|W_kj| <= 1\] + (sum_i g_ki B_ki) sign(W_kj) / n,   n weights in a filter
///
/// The border is replicated, which keeps the input binary. With one group per slice, block s of the output channels
/// sees slice s alone, so that there are as many weights and products as with one slice.
#[derive(Clone, Debug)]
pub struct BinaryConv {
    /// Real weights [K, C, k, k], or [K, S C, k, k] if slices are not grouped.
    pub weight: Tensor,
    /// Added to each output channel.
    pub bias: Option<Tensor>,
    /// T, a scalar; see [`Progressive`](super::Progressive).
    pub temperature: Tensor,
    /// Stride, dilation and groups; no padding, since the border is replicated.
    pub options: ConvOptions,
}

impl BinaryConv {
    /// A layer of square kernels on `slices` slices of `channels` channels, one group per slice, without bias. Its
    /// weights are 0.
    ///
    /// # Panics
    /// If `slices` does not divide `filters`.
    #[track_caller]
    pub fn new(slices: usize, channels: usize, filters: usize, kernel: usize, dtype: DType) -> BinaryConv {
        assert!(
            slices > 0 && filters.is_multiple_of(slices),
            "BinaryConv: {filters} filters must be a multiple of {slices} slices"
        );
        let weight = Tensor::zeros([filters, channels, kernel, kernel], dtype).requires_grad();
        let options = ConvOptions { groups: slices, ..ConvOptions::default() };
        BinaryConv { weight, bias: None, temperature: Tensor::scalar(1.0, dtype), options }
    }

    /// A layer of square kernels on all `channels` of all slices together, with a bias.
    pub fn joined(channels: usize, filters: usize, kernel: usize, dtype: DType) -> BinaryConv {
        let bias = Some(Tensor::zeros([filters], dtype).requires_grad());
        BinaryConv { bias, ..BinaryConv::new(1, channels, filters, kernel, dtype) }
    }

    /// The same layer with another stride and dilation.
    pub fn strided(mut self, stride: usize, dilation: usize) -> BinaryConv {
        (self.options.stride, self.options.dilation) = ([stride; 2], [dilation; 2]);
        self
    }

    /// Elements of the border on each side, so that a stride of 1 keeps the size.
    pub(super) fn border(&self) -> [usize; 2] {
        [0, 1].map(|axis| self.options.dilation[axis] * (self.weight.shape()[2 + axis] - 1) / 2)
    }

    /// The input with slices as channels and a replicated border.
    fn bordered(&self, x: &Tensor) -> Tensor {
        let s = x.shape();
        let flat = x.reshape([s[0], s[1] * s[2], s[3], s[4]]);
        match self.border() {
            [0, 0] => flat,
            [h, w] => flat.pad(&[(0, 0), (0, 0), (h, h), (w, w)], Padding::Replicate),
        }
    }

    /// The sums of products of signs, before scale and bias. In evaluation they are integers.
    pub(super) fn accumulate(&self, x: &Tensor, train: bool) -> Tensor {
        let weight = custom(Binarise { hard: !train }, &[&self.weight, &self.temperature]);
        let y = self.bordered(x).conv2d(&weight, self.options);
        // Winograd's algorithm leaves rounding errors of 1e-5 in sums that are integers.
        if train { y } else { &y + (y.detach().round() - y.detach()) }
    }

    /// mean |W| of each filter.
    pub fn scale(&self) -> Tensor {
        self.weight.abs().mean([1, 2, 3])
    }

    /// Accumulators times scale, plus bias.
    pub(super) fn scaled(&self, accumulators: &Tensor) -> Tensor {
        let column = |t: &Tensor| t.reshape([t.numel(), 1, 1]);
        let y = accumulators * column(&self.scale());
        match &self.bias {
            Some(bias) => y + column(bias),
            None => y,
        }
    }
}

impl Module for BinaryConv {
    tensors!(parameter weight, optional bias, buffer temperature);

    fn forward(&mut self, x: &Tensor, cx: &mut Context) -> Tensor {
        self.scaled(&self.accumulate(x, cx.train))
    }

    fn plan(&self, path: &str, input: &Shape, plan: &mut Summary) -> Result<Shape, Error> {
        if input.rank() != 5 {
            return misfit(path, "BinaryConv", format_args!("input {input}: [N, S, C, H, W] is needed"));
        }
        let [h, w] = self.border();
        let flat = Shape::new(&[input[0], input[1] * input[2], input[3] + 2 * h, input[4] + 2 * w]);
        let output = match conv2d_shape(&flat, self.weight.shape(), &self.options) {
            Ok(output) => output,
            Err(rule) => return misfit(path, "BinaryConv", rule),
        };
        let [kh, kw] = [self.weight.shape()[2], self.weight.shape()[3]];
        let layer = format!("BinaryConv {kh}x{kw}, groups {}", self.options.groups);
        // Products of signs are no floating-point operations: scale and bias alone are.
        plan.row(self, path, layer, output, 2 * output.numel() as u64)?;
        if let Some(row) = plan.rows.last_mut() {
            row.stride = self.options.stride;
        }
        Ok(output)
    }
}
