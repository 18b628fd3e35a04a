//! Residual networks for small images (He et al. 2016, arXiv 1512.03385, section 4.2).

use autograd::{DType, Padding, Shape, Tensor};

use registry::Row;

use super::{Blueprint, ModelSpec, SPEC};
use crate::error::Error;
use crate::layers::{Activation, BatchNorm, Conv2d, GlobalAvgPool, Linear, Sequential};
use crate::module::{Context, Module, join};
use crate::summary::Summary;
use crate::tensors;

pub(super) const RESNET20: Row<ModelSpec> = row("resnet20", |b| layers(b, 3));
pub(super) const RESNET32: Row<ModelSpec> = row("resnet32", |b| layers(b, 5));
pub(super) const RESNET44: Row<ModelSpec> = row("resnet44", |b| layers(b, 7));
pub(super) const RESNET56: Row<ModelSpec> = row("resnet56", |b| layers(b, 9));
pub(super) const RESNET110: Row<ModelSpec> = row("resnet110", |b| layers(b, 18));

const fn row(name: &'static str, layers: fn(Blueprint) -> Sequential) -> Row<ModelSpec> {
    Row { name, help: "residual network for small images", settings: &[], make: ModelSpec { layers, ..SPEC } }
}

/// A 3x3 conv, three stages of `blocks` blocks with 16, 32 and 64 width filters, global average pooling, fc.
pub(super) fn layers(b: Blueprint, blocks: usize) -> Sequential {
    let mut channels = 16 * b.width;
    let mut net = Sequential::new()
        .with("conv1", conv(b.input[0], channels, 1, b.dtype))
        .with("bn1", BatchNorm::new(channels, b.dtype).relu());
    for (stage, filters) in [16, 32, 64].into_iter().enumerate() {
        let filters = filters * b.width;
        let mut layer = Sequential::new();
        for block in 0..blocks {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            layer.push(block.to_string(), BasicBlock::new(channels, filters, stride, b.dtype));
            channels = filters;
        }
        net.push(format!("layer{}", stage + 1), layer);
    }
    net.with("pool", GlobalAvgPool).with("fc", Linear::new(channels, b.classes, b.dtype))
}

fn conv(channels: usize, filters: usize, stride: usize, dtype: DType) -> Conv2d {
    Conv2d::new(channels, filters, 3, dtype).padding(1).stride(stride).without_bias()
}

/// conv, BN, ReLU, conv, BN; plus the input; ReLU. Where the shape changes, the input is subsampled by the
/// stride and its channels are padded with zeros, half before and half after (option A).
#[derive(Clone, Debug)]
struct BasicBlock {
    conv1: Conv2d,
    bn1: BatchNorm,
    conv2: Conv2d,
    bn2: BatchNorm,
    stride: usize,
    /// Channels of zeros before and after those of the input.
    padding: (usize, usize),
}

impl BasicBlock {
    fn new(channels: usize, filters: usize, stride: usize, dtype: DType) -> BasicBlock {
        let more = filters - channels;
        BasicBlock {
            conv1: conv(channels, filters, stride, dtype),
            bn1: BatchNorm::new(filters, dtype).relu(),
            conv2: conv(filters, filters, 1, dtype),
            bn2: BatchNorm::new(filters, dtype),
            stride,
            padding: (more / 2, more - more / 2),
        }
    }

    fn shortcut(&self, x: &Tensor) -> Tensor {
        let mut x = x.clone();
        if self.stride > 1 {
            x = x.slice_step(2, .., self.stride).slice_step(3, .., self.stride);
        }
        if self.padding != (0, 0) {
            x = x.pad(&[self.padding, (0, 0), (0, 0)], Padding::Constant(0.0));
        }
        x
    }
}

impl Module for BasicBlock {
    tensors!(child conv1, child bn1, child conv2, child bn2);

    fn forward(&mut self, x: &Tensor, cx: &mut Context) -> Tensor {
        let y = cx.scope("conv1", |cx| self.conv1.forward(x, cx));
        let y = cx.scope("bn1", |cx| self.bn1.forward(&y, cx));
        let y = cx.scope("conv2", |cx| self.conv2.forward(&y, cx));
        let shortcut = self.shortcut(x);
        cx.scope("bn2", |cx| self.bn2.add_relu(&y, &shortcut, cx))
    }

    fn plan(&self, path: &str, input: &Shape, plan: &mut Summary) -> Result<Shape, Error> {
        let parts: [(&str, &dyn Module); 4] =
            [("conv1", &self.conv1), ("bn1", &self.bn1), ("conv2", &self.conv2), ("bn2", &self.bn2)];
        let y = parts.iter().try_fold(*input, |x, (name, part)| part.plan(&join(path, name), &x, plan))?;
        plan.row(&Activation::Relu, &join(path, "relu2"), "Add, Relu", y, 2 * y.numel() as u64)
    }
}
