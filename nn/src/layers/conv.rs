//! Convolution over images.

use autograd::{ConvOptions, DType, Shape, Tensor, conv2d_shape};

use super::misfit;
use crate::error::Error;
use crate::module::{Context, Module};
use crate::summary::Summary;
use crate::tensors;

/// Convolution with learnt filters: input [N, C, H, W], weight [K, C / groups, k, k], `bias` with K elements,
/// output [N, K, H', W'].
#[derive(Clone, Debug)]
pub struct Conv2d {
    /// One filter for each output channel.
    pub weight: Tensor,
    /// Added to each output channel.
    pub bias: Option<Tensor>,
    /// Stride, padding, dilation, groups.
    pub options: ConvOptions,
}

impl Conv2d {
    /// A layer with square kernels, weight and bias 0; [`Module::initialise`] draws the weight.
    pub fn new(channels: usize, filters: usize, kernel: usize, dtype: DType) -> Conv2d {
        Conv2d::with_options(channels, filters, [kernel, kernel], ConvOptions::default(), dtype)
    }

    /// A layer with kernels of any shape and all options, weight and bias 0.
    ///
    /// # Panics
    /// If `groups` does not divide `channels` and `filters`.
    #[track_caller]
    pub fn with_options(
        channels: usize,
        filters: usize,
        kernel: [usize; 2],
        options: ConvOptions,
        dtype: DType,
    ) -> Conv2d {
        let groups = options.groups;
        assert!(
            groups > 0 && channels.is_multiple_of(groups) && filters.is_multiple_of(groups),
            "Conv2d: {channels} channels and {filters} filters must be multiples of {groups} groups"
        );
        let parameter = |shape: &[usize]| Tensor::zeros(shape, dtype).requires_grad();
        let weight = parameter(&[filters, channels / groups, kernel[0], kernel[1]]);
        Conv2d { weight, bias: Some(parameter(&[filters])), options }
    }

    /// The same layer with `padding` zeros on every side.
    pub fn padding(mut self, padding: usize) -> Conv2d {
        self.options.padding = [padding, padding];
        self
    }

    /// The same layer with `stride` input positions between outputs.
    pub fn stride(mut self, stride: usize) -> Conv2d {
        self.options.stride = [stride, stride];
        self
    }

    /// The same layer without a bias.
    pub fn without_bias(self) -> Conv2d {
        Conv2d { bias: None, ..self }
    }
}

impl Module for Conv2d {
    tensors!(parameter weight, optional bias);

    fn forward(&mut self, x: &Tensor, _: &mut Context) -> Tensor {
        let y = x.conv2d(&self.weight, self.options);
        match &self.bias {
            Some(bias) => y + bias.reshape([bias.numel(), 1, 1]),
            None => y,
        }
    }

    fn plan(&self, path: &str, input: &Shape, plan: &mut Summary) -> Result<Shape, Error> {
        let output = match conv2d_shape(input, self.weight.shape(), &self.options) {
            Ok(output) => output,
            Err(rule) => return misfit(path, "Conv2d", rule),
        };
        let w = self.weight.shape();
        let mut layer = format!("Conv2d {}x{}", w[2], w[3]);
        let o = self.options;
        let plain = ConvOptions::default();
        let mut say = |name: &str, value: [usize; 2], default: [usize; 2]| {
            if value != default {
                let both = if value[0] == value[1] { format!("{}", value[0]) } else { format!("{value:?}") };
                layer += &format!(", {name} {both}");
            }
        };
        say("stride", o.stride, plain.stride);
        say("padding", o.padding, plain.padding);
        say("dilation", o.dilation, plain.dilation);
        say("groups", [o.groups; 2], [1; 2]);
        let flops = 2 * (output.numel() * w[1] * w[2] * w[3]) as u64;
        plan.row(self, path, layer, output, flops)?;
        if let Some(row) = plan.rows.last_mut() {
            row.stride = o.stride;
        }
        Ok(output)
    }
}
