//! ResNet-18 for small images without batch norm.

use autograd::{DType, Shape, Tensor};
use registry::Row;

use super::{Blueprint, Model, ModelSpec, SPEC};
use crate::error::Error;
use crate::layers::{Activation, Conv2d, GlobalAvgPool, Linear, Sequential};
use crate::module::{Context, Module, join};
use crate::summary::Summary;

const NAME: &str = "resnet18-nobn";

pub(super) const ROW: Row<ModelSpec> = Row {
    name: NAME,
    help: "ResNet-18 for small images, without batch norm",
    settings: &[],
    make: ModelSpec { layers: |b| layers(b, 64 * b.width), ..SPEC },
};

/// Residual blocks.
const BLOCKS: usize = 8;

/// A 3x3 conv with ReLU, four stages of two blocks with 1, 2, 4 and 8 times `filters` filters, global average pooling, fc.
/// As He et al. 2016 (arXiv 1512.03385) for ImageNet, but with a first convolution of stride 1 and no pool behind it, so
/// that images of 32 x 32 come out as 4 x 4.
pub(super) fn layers(b: Blueprint, filters: usize) -> Sequential {
    let mut channels = filters;
    let mut net = Sequential::new()
        .with("conv1", conv(b.input[0], channels, 1, b.dtype))
        .with("relu", Activation::Relu);
    for stage in 0..4 {
        let mut layer = Sequential::new();
        for block in 0..BLOCKS / 4 {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            layer.push(block.to_string(), Block::new(channels, filters << stage, stride, b.dtype));
            channels = filters << stage;
        }
        net.push(format!("layer{}", stage + 1), layer);
    }
    net.with("avgpool", GlobalAvgPool).with("fc", Linear::new(channels, b.classes, b.dtype))
}

fn conv(channels: usize, filters: usize, stride: usize, dtype: DType) -> Conv2d {
    Conv2d::new(channels, filters, 3, dtype).padding(1).stride(stride)
}

/// Divides the last convolution of each block by the square root of the number of blocks. Each block then adds an
/// eighth to the variance of activations (e times in all) where batch norm would have kept it constant; He initialisation
/// alone doubles it in each block (Zhang, Dauphin, Ma, ICLR 2019, arXiv 1901.09321).
pub(super) fn start(model: &mut Model) {
    if model.name != NAME {
        return;
    }
    model.visit_mut(&mut |name, t, _| {
        if name.ends_with("conv2.weight") {
            t.assign(&(t.detach() / (BLOCKS as f64).sqrt()));
        }
    });
}

/// conv, ReLU, conv; plus the input; ReLU. If the shapes differ, a 1x1 conv maps the input to the output's shape.
#[derive(Clone)]
struct Block {
    inner: Sequential,
    shortcut: Option<Conv2d>,
}

impl Block {
    fn new(channels: usize, filters: usize, stride: usize, dtype: DType) -> Block {
        let inner = Sequential::new()
            .with("conv1", conv(channels, filters, stride, dtype))
            .with("relu1", Activation::Relu)
            .with("conv2", conv(filters, filters, 1, dtype));
        let shortcut = (stride > 1 || channels != filters)
            .then(|| Conv2d::new(channels, filters, 1, dtype).stride(stride));
        Block { inner, shortcut }
    }
}

impl Module for Block {
    fn visit<'a>(&'a self, see: crate::See<'_, 'a>) {
        self.inner.visit(see);
        if let Some(shortcut) = &self.shortcut {
            shortcut.visit(&mut |name, t, kind| see(&join("shortcut", name), t, kind));
        }
    }

    fn visit_mut<'a>(&'a mut self, change: crate::Change<'_, 'a>) {
        self.inner.visit_mut(change);
        if let Some(shortcut) = &mut self.shortcut {
            shortcut.visit_mut(&mut |name, t, kind| change(&join("shortcut", name), t, kind));
        }
    }

    fn forward(&mut self, x: &Tensor, cx: &mut Context) -> Tensor {
        let y = self.inner.forward(x, cx);
        let shortcut = match &mut self.shortcut {
            Some(shortcut) => cx.scope("shortcut", |cx| shortcut.forward(x, cx)),
            None => x.clone(),
        };
        cx.scope("relu2", |cx| Activation::Relu.forward(&(y + shortcut), cx))
    }

    fn plan(&self, path: &str, input: &Shape, plan: &mut Summary) -> Result<Shape, Error> {
        let y = self.inner.plan(path, input, plan)?;
        if let Some(shortcut) = &self.shortcut {
            shortcut.plan(&join(path, "shortcut"), input, plan)?;
        }
        plan.row(&Activation::Relu, &join(path, "relu2"), "Add, Relu", y, 2 * y.numel() as u64)
    }
}
