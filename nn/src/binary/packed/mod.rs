//! Inference on packed signs: products by XNOR and popcount, batch norm and sign as comparisons of integers.
//!
//! `map.rs` holds signs, `conv.rs` convolves them, `fold.rs` packs a trained network, `file.rs` stores it.

mod conv;
mod file;
mod fold;
mod map;

use autograd::{DType, Shape, Tensor, parallel_map};

use self::conv::Conv;
use self::map::Map;
use super::block::BlockSpec;
use super::net::Design;
use super::sign::offsets;
use crate::error::Error;
use crate::layers::{BatchNorm, Sequential, misfit};
use crate::models::Model;
use crate::module::{Context, Module};
use crate::summary::Summary;
use crate::tensors;

/// A trained one-bit network for inference: signs of weights, integer thresholds, and the real stem and head.
///
/// Batch norm and sign, sign(gamma (a x - mu) / sqrt(v + eps) + beta + o_s) of an integer x, is the comparison of x with
/// a threshold for each channel and slice, and a flip for each channel with gamma < 0 (arXiv 2106.06991, section 3.6).
/// The thresholds are found by evaluating the real layers at every integer, so that ties and rounding are theirs: all
/// integers and all logits are those of the network in evaluation mode.
///
/// It is a [`Module`] without parameters. [`Packed::into_model`] makes a [`Model`] of it, which evaluations take.
///
/// ```
/// use autograd::{DType, Key, Tensor};
/// use nn::{Context, Module, binary::Packed};
/// let mut model = nn::models::build("boolnet-small-k4", [1, 14, 14], 10, 1, Key::new(0), DType::F32)?;
/// let mut packed = Packed::new(&model)?;
/// let images = Tensor::normal([3, 1, 14, 14], DType::F32, Key::new(1));
/// let (a, b) = (packed.forward(&images, &mut Context::eval()), model.forward(&images, &mut Context::eval()));
/// assert_eq!(a.to_vec::<f32>(), b.to_vec::<f32>());
/// # Ok::<(), nn::Error>(())
/// ```
#[derive(Clone)]
pub struct Packed {
    name: String,
    design: Design,
    input: [usize; 3],
    classes: usize,
    width: usize,
    dtype: DType,
    stem: Sequential,
    blocks: Vec<(String, Block)>,
    tail: Tail,
    head: Sequential,
}

/// A block on packed signs: see [`super::Block`].
#[derive(Clone)]
struct Block {
    spec: BlockSpec,
    conv1: Conv,
    conv2: Conv,
    downsample: Option<Conv>,
}

/// The end of the last block: BN_2(scale x) + BN_3(mean of a over its slices).
#[derive(Clone)]
struct Tail {
    scale: Tensor,
    bn2: BatchNorm,
    bn3: BatchNorm,
}

/// Integers of one convolution: its name, the size of the map, the pixels of each filter.
type Integers = (String, [usize; 2], Vec<i32>);

/// The signs a of the last block and the integers after them.
struct Last {
    a: Map,
    sums: Vec<i32>,
}

/// What a block gives.
enum Output {
    Signs(Map),
    Real(Last),
}

impl Packed {
    /// The name of the network that was packed.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The real layers before the first sign, which no packing makes faster.
    pub fn stem(&self) -> &Sequential {
        &self.stem
    }

    /// The network as a model, for evaluations.
    ///
    /// # Errors
    /// If the network does not take its own input shape.
    pub fn into_model(self) -> Result<Model, Error> {
        let (name, input, classes) = (self.name.clone(), self.input, self.classes);
        Model::new(name, input, classes, Sequential::new().with("packed", self))
    }

    /// The logits of images [N, C, H, W], and the integers of each image if they are wanted.
    fn run(&self, images: &Tensor, traced: bool) -> (Tensor, Vec<Vec<Integers>>) {
        let mut cx = Context::eval();
        let x = self.stem.clone().forward(&images.to_dtype(self.dtype), &mut cx);
        let offsets = offsets(self.design.slices).expect("the slices of a design are even");
        let one = |i| {
            let mut trace = Vec::new();
            let last = self.blocks(Map::new(&x, i, &offsets), &mut |integers| {
                if traced {
                    trace.push(integers());
                }
            });
            (last, trace)
        };
        let (lasts, traces): (Vec<Last>, Vec<_>) = parallel_map(images.shape()[0], one).into_iter().unzip();
        let y = self.tail(&lasts, x.shape(), &mut cx);
        let logits = self.head.clone().forward(&y, &mut cx).to_dtype(images.dtype());
        (logits, traces)
    }

    /// All blocks on one image; `see` is told the integers of each convolution.
    fn blocks(&self, mut x: Map, see: &mut dyn FnMut(&dyn Fn() -> Integers)) -> Last {
        for (path, block) in &self.blocks {
            match block.run(&x, path, see) {
                Output::Signs(y) => x = y,
                Output::Real(last) => return last,
            }
        }
        unreachable!("the last block ends a network")
    }

    /// The real end of the last block, for all images.
    fn tail(&self, lasts: &[Last], stem: &Shape, cx: &mut Context) -> Tensor {
        let Tail { scale, mut bn2, mut bn3 } = self.tail.clone();
        let filters = scale.numel();
        let halvings = self.blocks.iter().map(|(_, block)| block.spec.stride).product::<usize>();
        let [h, w] = [stem[2] / halvings, stem[3] / halvings];
        let real = |values: Vec<f64>| Tensor::new(&values, [lasts.len(), filters, h, w]).to_dtype(self.dtype);
        let sums = real(lasts.iter().flat_map(|last| &last.sums).map(|&sum| f64::from(sum)).collect());
        let means = real(lasts.iter().flat_map(|last| last.a.means()).collect());
        bn2.forward(&(sums * scale.reshape([filters, 1, 1])), cx) + bn3.forward(&means, cx)
    }
}

impl Block {
    /// The output on signs; of the last block what its real end needs.
    fn run(&self, x: &Map, path: &str, see: &mut dyn FnMut(&dyn Fn() -> Integers)) -> Output {
        let BlockSpec { split, doubled, channels, .. } = self.spec;
        let halves = split.then(|| x.split(channels));
        let (x, kept) = match &halves {
            Some([first, second]) => (first, Some(second)),
            None => (x, None),
        };
        let mut signs = |conv: &Conv, name: &str, x: &Map| {
            see(&|| {
                let (sums, size) = conv.accumulate(x);
                (format!("{path}.{name}"), size, sums)
            });
            conv.signs.is_some().then(|| conv.signs(x))
        };
        let shortcut = self.downsample.as_ref().map(|conv| signs(conv, "downsample.conv", x).expect("signs"));
        let shortcut = shortcut.as_ref().unwrap_or(x);
        let mut a = signs(&self.conv1, "conv1", x).expect("signs");
        a.xnor(shortcut);
        let Some(mut z) = signs(&self.conv2, "conv2", &a) else {
            return Output::Real(Last { sums: self.conv2.accumulate(&a).0, a });
        };
        z.or(shortcut);
        Output::Signs(if doubled { z.interleave(kept.unwrap_or(shortcut)) } else { z })
    }
}

impl Module for Packed {
    tensors!();

    fn forward(&mut self, x: &Tensor, _: &mut Context) -> Tensor {
        self.run(&x.detach(), false).0
    }

    fn plan(&self, path: &str, input: &Shape, plan: &mut Summary) -> Result<Shape, Error> {
        if input.rank() != 4 || input[1..] != self.input {
            return misfit(path, "Packed", format_args!("input {input}: images {:?} are needed", self.input));
        }
        let layer = format!("Packed {}", self.name);
        plan.row(self, path, layer, Shape::new(&[input[0], self.classes]), 0)
    }
}

#[cfg(test)]
mod tests;
