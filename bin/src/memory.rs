//! How much memory a training step takes.

use autograd::DType;
use nn::{Model, Role, Row, Weight};

use crate::config::Config;
use crate::failure::Failure;
use crate::system;

/// Whether a training step fits into memory: every layer's output and its gradient, and weights four times over
/// (themselves, gradients, momentum, and a copy while the step runs).
pub fn check(model: &Model, width: usize, images: usize, dtype: DType) -> Result<(), Failure> {
    let numbers = 2.0 * outputs(model).iter().sum::<f64>() * images as f64 + 4.0 * weights(model);
    let what = format!("a step of {} of width {width} on {images} images", model.name);
    system::check_memory(dtype.bytes() as f64 * numbers, &what, "take a smaller --batch-size or --width")
}

/// Whether a network of some width fits into memory at all, before it is built: while it is, its weights are there about
/// four times. Their number grows as a w^2 + b w, as narrow networks show.
pub fn check_weights(
    width: usize,
    dtype: DType,
    of_width: impl Fn(usize) -> Result<Model, nn::Error>,
) -> Result<(), Failure> {
    if width <= 2 {
        return Ok(());
    }
    let narrow = of_width(1)?;
    let (one, two, w) = (weights(&narrow), weights(&of_width(2)?), width as f64);
    let square = 0.5 * two - one;
    let numbers = (square * w + one - square) * w;
    let what = format!("{} of width {width}", narrow.name);
    system::check_memory(4.0 * dtype.bytes() as f64 * numbers, &what, "take a smaller --width")
}

/// What convolutions work in, in bytes: the values of two million numbers that a weight's gradient takes at a time.
const KERNELS: f64 = (8 << 20) as f64;

/// What a training step takes in bytes beside the weights: every layer's output, two gradients of the largest one,
/// gradient and momentum of the weights, what convolutions work in, and what the regulariser keeps.
pub fn step(model: &Model, images: usize, config: &Config, dtype: DType) -> f64 {
    let each = outputs(model);
    let largest = each.iter().copied().fold(0.0, f64::max);
    let rows = model.summary().rows;
    let kernels = if rows.iter().any(|row| row.layer.starts_with("Conv2d")) { KERNELS } else { 0.0 };
    let network = (each.iter().sum::<f64>() + 2.0 * largest) * images as f64 + 2.0 * weights(model);
    dtype.bytes() as f64 * (network + regulariser(&model.weights(), config)) + kernels
}

/// Numbers that a regulariser keeps until the reverse pass has met it. Of N neurons in d dimensions: rows, directions and
/// the gradient of these, each of the weight's size, and cosines of pairs. Of C random projections to k dimensions: the
/// matrices, new ones and those of the step before, and of each neuron under each the product, sorted by projection, as
/// direction, and the gradient of that; bilateral ones project the set of neurons in the same way. MGD does all in f64, and
/// OCNN has overlaps of pairs at all shifts. With the network's, within 15 % of measured peaks of lenet, mlp, cnn9 and
/// resnet20 of widths 1 to 8.
fn regulariser(weights: &[Weight], config: &Config) -> f64 {
    let columns = (config.reg_c * config.k()) as f64;
    let of = |weight: &Weight| {
        let n = weight.value.shape()[0] as f64;
        let d = weight.value.numel() as f64 / n;
        let projected = weight.role != Role::Classifier && d > config.k() as f64;
        let shifts = |axis: usize| {
            let stride = config.reg_stride.unwrap_or(weight.stride[axis]).max(1);
            weight.value.shape().get(2 + axis).map_or(1, |kernel| 2 * ((kernel - 1) / stride) + 1) as f64
        };
        match config.reg.as_str() {
            "rp" if projected => columns * (2.0 * d + 4.0 * n),
            "bilateral" if projected => columns * 6.0 * (d + n),
            "so" | "dso" | "srip" => 2.0 * n * d + n * n,
            "ocnn" => 3.0 * n * n * shifts(0) * shifts(1),
            "mgd" => 10.0 * n * d + 6.0 * n * n,
            _ => 3.0 * n * d + n * n,
        }
    };
    if ["none", "decay"].contains(&config.reg.as_str()) { 0.0 } else { weights.iter().map(of).sum() }
}

/// How many numbers each layer gives for an image.
fn outputs(model: &Model) -> Vec<f64> {
    let each = |row: &Row| row.output[1..].iter().map(|&n| n as f64).product::<f64>();
    model.summary().rows.iter().map(each).collect()
}

/// How many numbers the weights are.
fn weights(model: &Model) -> f64 {
    model.weights().iter().map(|w| w.value.numel() as f64).sum()
}
