//! The blocks of BaseNet and BoolNet.

use autograd::{DType, Shape, Tensor};

use super::{BinaryConv, MultiSign, interleave, or, xnor};
use crate::error::Error;
use crate::layers::{BatchNorm, MaxPool2d};
use crate::module::{Change, Context, Module, See, join};
use crate::summary::Summary;

/// The sizes of a [`Block`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSpec {
    /// S.
    pub slices: usize,
    /// Channels that it works on.
    pub channels: usize,
    /// Filters of its convolutions.
    pub filters: usize,
    /// The stride of its first convolution.
    pub stride: usize,
    /// Dilation of both convolutions.
    pub dilation: [usize; 2],
    /// Whether the shortcut has a convolution of its own.
    pub downsample: bool,
    /// Whether the input has a second half that only passes through.
    pub split: bool,
    /// Whether the output has a second half: of the input, or the shortcut if there is none (BoolNet).
    pub doubled: bool,
    /// Whether it is the last block, with real outputs.
    pub last: bool,
}

/// Called with the name and the accumulators of each convolution.
pub(super) type Watch<'a> = &'a mut dyn FnMut(&str, &Tensor);

/// A block on signs x, with r = downsample(x) or x, MS the multi-slice sign and two logic shortcuts (arXiv 2106.06991,
/// figure 3):
///
///   a = XNOR(MS(BN_1(conv_1 x)), r),   z = OR(MS(BN_2(conv_2 a)), r)
///
/// In BaseNet the output is z. In BoolNet x is the first half of the input, and the output is z interleaved with the
/// second half (with r where the input has none). The last block gives the real BN_2(conv_2 a) + BN_3(mean of a over its
/// slices), [N, C, H, W].
#[derive(Clone)]
pub struct Block {
    pub(super) spec: BlockSpec,
    pub(super) conv1: BinaryConv,
    pub(super) bn1: BatchNorm,
    pub(super) conv2: BinaryConv,
    pub(super) bn2: BatchNorm,
    pub(super) downsample: Option<Downsample>,
    pub(super) bn3: Option<BatchNorm>,
    pub(super) sign: MultiSign,
}

/// The shortcut's binary 1x1 convolution of all slices together, max pooling, batch norm, multi-slice sign.
#[derive(Clone)]
pub(super) struct Downsample {
    pub conv: BinaryConv,
    pub bn: BatchNorm,
}

impl Block {
    /// A block whose binary weights are 0.
    ///
    /// # Errors
    /// If the number of slices is neither 1 nor even, or does not divide the filters.
    pub fn new(spec: BlockSpec, dtype: DType) -> Result<Block, Error> {
        let BlockSpec { slices, channels, filters, stride, dilation: [first, second], .. } = spec;
        let sign = MultiSign::new(slices)?;
        if !filters.is_multiple_of(slices) {
            return Err(Error::Config(format!(
                "block: {filters} filters are no multiple of {slices} slices"
            )));
        }
        let norm = || BatchNorm::new(filters, dtype);
        let downsample = spec.downsample.then(|| Downsample {
            conv: BinaryConv::joined(slices * channels, filters, 1, dtype),
            bn: norm(),
        });
        Ok(Block {
            spec,
            conv1: BinaryConv::new(slices, channels, filters, 3, dtype).strided(stride, first),
            bn1: norm(),
            conv2: BinaryConv::new(slices, filters, filters, 3, dtype).strided(1, second),
            bn2: norm(),
            downsample,
            bn3: spec.last.then(norm),
            sign,
        })
    }

    /// The output, telling `watch` the accumulators of each convolution.
    pub(super) fn run(&mut self, x: &Tensor, cx: &mut Context, watch: Watch<'_>) -> Tensor {
        let channels = self.spec.channels;
        let (x, kept) = match self.spec.split {
            true => (x.slice_axis(2, ..channels), Some(x.slice_axis(2, channels..))),
            false => (x.clone(), None),
        };
        let shortcut = self.shortcut(&x, cx, watch);
        let y = self.conv1.accumulate(&x, cx.train);
        watch("conv1", &y);
        let y = self.bn1.forward(&self.conv1.scaled(&y), cx);
        let a = xnor(&self.sign.apply(&y), &shortcut);
        let y = self.conv2.accumulate(&a, cx.train);
        watch("conv2", &y);
        let y = self.bn2.forward(&self.conv2.scaled(&y), cx);
        if let Some(bn3) = &mut self.bn3 {
            return y + bn3.forward(&a.mean(1), cx);
        }
        let z = or(&self.sign.apply(&y), &shortcut);
        if self.spec.doubled { interleave(&z, kept.as_ref().unwrap_or(&shortcut)) } else { z }
    }

    fn shortcut(&mut self, x: &Tensor, cx: &mut Context, watch: Watch<'_>) -> Tensor {
        let Some(Downsample { conv, bn }) = &mut self.downsample else { return x.clone() };
        let mut y = conv.accumulate(x, cx.train);
        watch("downsample.conv", &y);
        y = conv.scaled(&y);
        if self.spec.stride > 1 {
            y = y.max_pool2d([2, 2], [2, 2], [0, 0]);
        }
        self.sign.apply(&bn.forward(&y, cx))
    }
}

impl Module for Block {
    fn forward(&mut self, x: &Tensor, cx: &mut Context) -> Tensor {
        self.run(x, cx, &mut |_, _| {})
    }

    fn visit<'a>(&'a self, see: See<'_, 'a>) {
        let mut child = |prefix: &str, module: &'a dyn Module| {
            module.visit(&mut |name, t, kind| see(&join(prefix, name), t, kind));
        };
        child("conv1", &self.conv1);
        child("bn1", &self.bn1);
        child("conv2", &self.conv2);
        child("bn2", &self.bn2);
        if let Some(Downsample { conv, bn }) = &self.downsample {
            child("downsample.conv", conv);
            child("downsample.bn", bn);
        }
        if let Some(bn3) = &self.bn3 {
            child("bn3", bn3);
        }
    }

    fn visit_mut<'a>(&'a mut self, change: Change<'_, 'a>) {
        let mut child = |prefix: &str, module: &'a mut dyn Module| {
            module.visit_mut(&mut |name, t, kind| change(&join(prefix, name), t, kind));
        };
        child("conv1", &mut self.conv1);
        child("bn1", &mut self.bn1);
        child("conv2", &mut self.conv2);
        child("bn2", &mut self.bn2);
        if let Some(Downsample { conv, bn }) = &mut self.downsample {
            child("downsample.conv", conv);
            child("downsample.bn", bn);
        }
        if let Some(bn3) = &mut self.bn3 {
            child("bn3", bn3);
        }
    }

    fn plan(&self, path: &str, input: &Shape, plan: &mut Summary) -> Result<Shape, Error> {
        let at = |name: &str| join(path, name);
        let mut dims = input.to_vec();
        if input.rank() == 5 {
            dims[2] = self.spec.channels;
        }
        let x = Shape::new(&dims);
        if let Some(Downsample { conv, bn }) = &self.downsample {
            let mut y = conv.plan(&at("downsample.conv"), &x, plan)?;
            if self.spec.stride > 1 {
                y = MaxPool2d::new(2).plan(&at("downsample.pool"), &y, plan)?;
            }
            bn.plan(&at("downsample.bn"), &y, plan)?;
        }
        let y = self.conv1.plan(&at("conv1"), &x, plan)?;
        self.bn1.plan(&at("bn1"), &y, plan)?;
        let a = self.sign.plan(&at("xnor"), &y, plan)?;
        let y = self.conv2.plan(&at("conv2"), &a, plan)?;
        self.bn2.plan(&at("bn2"), &y, plan)?;
        if let Some(bn3) = &self.bn3 {
            return bn3.plan(&at("bn3"), &y, plan);
        }
        let mut output = self.sign.shape(&y).to_vec();
        output[2] *= 1 + usize::from(self.spec.doubled);
        plan.row(&self.sign, &at("or"), "MultiSign, Or", Shape::new(&output), y.numel() as u64)
    }
}
