//! Residual networks for large images (He et al. 2016, arXiv 1512.03385, table 1), as in torchvision: the same names,
//! and the stride of bottlenecks in the 3x3 convolution.

use autograd::{DType, Shape, Tensor};

use registry::Row;

use super::{Blueprint, ModelSpec, SPEC};
use crate::error::Error;
use crate::layers::{Activation, BatchNorm, Conv2d, GlobalAvgPool, Linear, MaxPool2d, Sequential};
use crate::module::{Context, Module, join};
use crate::summary::Summary;

/// Height and width are halved five times; smaller images would consist mostly of padding.
const SMALLEST: usize = 32;

/// The settings that differ between depths.
#[derive(Clone, Copy)]
pub(crate) struct Depth {
    /// Blocks in each of the four stages.
    pub blocks: [usize; 4],
    /// Whether blocks are 1x1, 3x3, 1x1 with four times the filters at their end, or 3x3, 3x3.
    pub bottleneck: bool,
    /// Filters of the first stage; each further stage has twice as many.
    pub filters: usize,
}

pub(super) const RESNET18: Row<ModelSpec> =
    row("resnet18", ModelSpec { layers: |b| published(b, [2, 2, 2, 2], false), ..SPEC });
pub(super) const RESNET34: Row<ModelSpec> =
    row("resnet34", ModelSpec { layers: |b| published(b, [3, 4, 6, 3], false), ..SPEC });
pub(super) const RESNET50: Row<ModelSpec> =
    row("resnet50", ModelSpec { layers: |b| published(b, [3, 4, 6, 3], true), features: 2048.0, ..SPEC });

const fn row(name: &'static str, spec: ModelSpec) -> Row<ModelSpec> {
    let help = "residual network for images of at least 32 x 32";
    Row { name, help, settings: &[], make: ModelSpec { check, ..spec } }
}

/// With 64 width filters in the first stage.
fn published(b: Blueprint, blocks: [usize; 4], bottleneck: bool) -> Sequential {
    layers(b, Depth { blocks, bottleneck, filters: 64 * b.width })
}

/// Whether an image is large enough.
fn check(name: &str, [_, height, width]: [usize; 3]) -> Result<(), Error> {
    if height.min(width) >= SMALLEST {
        return Ok(());
    }
    Err(Error::Config(format!(
        "model {name} does not take images of {height} x {width}: it divides both by 32, so that {SMALLEST} x {SMALLEST} \
         is the least; resnet20 takes small images"
    )))
}

/// A 7x7 conv and a 3x3 max pool, both of stride 2, four stages of blocks, global average pooling, fc.
pub(super) fn layers(b: Blueprint, depth: Depth) -> Sequential {
    let mut channels = depth.filters;
    let pool = MaxPool2d { kernel: [3, 3], stride: [2, 2], padding: [1, 1] };
    let mut net = Sequential::new()
        .with("conv1", conv(b.input[0], channels, 7, 2, b.dtype))
        .with("bn1", BatchNorm::new(channels, b.dtype).relu())
        .with("maxpool", pool);
    for (stage, &blocks) in depth.blocks.iter().enumerate() {
        let filters = depth.filters << stage;
        let mut layer = Sequential::new();
        for block in 0..blocks {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let block_of = Block::new(channels, filters, stride, depth.bottleneck, b.dtype);
            channels = block_of.channels();
            layer.push(block.to_string(), block_of);
        }
        net.push(format!("layer{}", stage + 1), layer);
    }
    net.with("avgpool", GlobalAvgPool).with("fc", Linear::new(channels, b.classes, b.dtype))
}

fn conv(channels: usize, filters: usize, kernel: usize, stride: usize, dtype: DType) -> Conv2d {
    Conv2d::new(channels, filters, kernel, dtype).padding(kernel / 2).stride(stride).without_bias()
}

/// Convolutions with BN and ReLU between them; plus the input; ReLU. If the shapes differ, a 1x1 conv with BN maps the
/// input to the output's shape (option B).
#[derive(Clone)]
struct Block {
    /// All but the last BN.
    inner: Sequential,
    last: BatchNorm,
    last_name: &'static str,
    downsample: Option<Sequential>,
}

impl Block {
    fn new(channels: usize, filters: usize, stride: usize, bottleneck: bool, dtype: DType) -> Block {
        let relu = || BatchNorm::new(filters, dtype).relu();
        let (inner, out, last_name) = if bottleneck {
            let inner = Sequential::new()
                .with("conv1", conv(channels, filters, 1, 1, dtype))
                .with("bn1", relu())
                .with("conv2", conv(filters, filters, 3, stride, dtype))
                .with("bn2", relu())
                .with("conv3", conv(filters, 4 * filters, 1, 1, dtype));
            (inner, 4 * filters, "bn3")
        } else {
            let inner = Sequential::new()
                .with("conv1", conv(channels, filters, 3, stride, dtype))
                .with("bn1", relu())
                .with("conv2", conv(filters, filters, 3, 1, dtype));
            (inner, filters, "bn2")
        };
        let downsample = (stride > 1 || channels != out).then(|| {
            Sequential::new()
                .with("0", conv(channels, out, 1, stride, dtype))
                .with("1", BatchNorm::new(out, dtype))
        });
        Block { inner, last: BatchNorm::new(out, dtype), last_name, downsample }
    }

    /// The number of output channels.
    fn channels(&self) -> usize {
        self.last.weight.numel()
    }
}

impl Module for Block {
    fn visit<'a>(&'a self, see: crate::See<'_, 'a>) {
        self.inner.visit(see);
        self.last.visit(&mut |name, t, kind| see(&join(self.last_name, name), t, kind));
        if let Some(downsample) = &self.downsample {
            downsample.visit(&mut |name, t, kind| see(&join("downsample", name), t, kind));
        }
    }

    fn visit_mut<'a>(&'a mut self, change: crate::Change<'_, 'a>) {
        self.inner.visit_mut(change);
        let last = self.last_name;
        self.last.visit_mut(&mut |name, t, kind| change(&join(last, name), t, kind));
        if let Some(downsample) = &mut self.downsample {
            downsample.visit_mut(&mut |name, t, kind| change(&join("downsample", name), t, kind));
        }
    }

    fn forward(&mut self, x: &Tensor, cx: &mut Context) -> Tensor {
        let y = self.inner.forward(x, cx);
        let shortcut = match &mut self.downsample {
            Some(downsample) => cx.scope("downsample", |cx| downsample.forward(x, cx)),
            None => x.clone(),
        };
        cx.scope(self.last_name, |cx| self.last.add_relu(&y, &shortcut, cx))
    }

    fn plan(&self, path: &str, input: &Shape, plan: &mut Summary) -> Result<Shape, Error> {
        let y = self.inner.plan(path, input, plan)?;
        let y = self.last.plan(&join(path, self.last_name), &y, plan)?;
        if let Some(downsample) = &self.downsample {
            downsample.plan(&join(path, "downsample"), input, plan)?;
        }
        plan.row(&Activation::Relu, &join(path, "relu"), "Add, Relu", y, 2 * y.numel() as u64)
    }
}
