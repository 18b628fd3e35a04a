//! Local adaptive shifting.

use autograd::{ConvOptions, DType, Shape, Tensor};

use crate::error::Error;
use crate::layers::{BatchNorm, Conv2d};
use crate::module::{Context, Module};
use crate::summary::Summary;
use crate::tensors;

/// Local adaptive shifting (arXiv 2106.06991, section 3.4): z = BN_1(x) + BN_3(D(BN_2(x))) with a depthwise 3x3
/// convolution D, so that each position has a threshold of its own for the sign that follows.
#[derive(Clone, Debug)]
pub struct AdaptiveShift {
    bn1: BatchNorm,
    bn2: BatchNorm,
    conv: Conv2d,
    bn3: BatchNorm,
}

impl AdaptiveShift {
    /// A layer for images of `channels` channels; its convolution has weights 0.
    pub fn new(channels: usize, dtype: DType) -> AdaptiveShift {
        let norm = || BatchNorm::new(channels, dtype);
        let options = ConvOptions { padding: [1, 1], groups: channels, ..ConvOptions::default() };
        let conv = Conv2d::with_options(channels, channels, [3, 3], options, dtype).without_bias();
        AdaptiveShift { bn1: norm(), bn2: norm(), conv, bn3: norm() }
    }
}

impl Module for AdaptiveShift {
    tensors!(child bn1, child bn2, child conv, child bn3);

    fn forward(&mut self, x: &Tensor, cx: &mut Context) -> Tensor {
        let shift = self.bn2.forward(x, cx);
        let shift = self.conv.forward(&shift, cx);
        self.bn1.forward(x, cx) + self.bn3.forward(&shift, cx)
    }

    fn plan(&self, path: &str, input: &Shape, plan: &mut Summary) -> Result<Shape, Error> {
        self.bn1.plan(&crate::join(path, "bn1"), input, plan)?;
        self.bn2.plan(&crate::join(path, "bn2"), input, plan)?;
        self.conv.plan(&crate::join(path, "conv"), input, plan)?;
        self.bn3.plan(&crate::join(path, "bn3"), input, plan)
    }
}
