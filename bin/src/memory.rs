//! How much memory a training step takes.

use autograd::DType;
use comhe::REGULARISERS;
use nn::{Model, Row};

use crate::config::Config;
use crate::failure::Failure;
use crate::{setup, system};

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
/// gradient of the weights, what optimiser and method keep, what convolutions work in, and what the regulariser keeps.
/// Within 15 % of measured peaks of lenet, mlp, cnn9 and resnet20 of widths 1 to 8.
pub fn step(model: &Model, images: usize, config: &Config, dtype: DType) -> Result<f64, Failure> {
    let each = outputs(model);
    let largest = each.iter().copied().fold(0.0, f64::max);
    let rows = model.summary().rows;
    let kernels = if rows.iter().any(|row| row.layer.starts_with("Conv2d")) { KERNELS } else { 0.0 };
    let copies = 1.0 + config.optimizer.make.copies + config.method.make.copies;
    let network = (each.iter().sum::<f64>() + 2.0 * largest) * images as f64 + copies * weights(model);
    let options = setup::options(config)?;
    let row = registry::find(REGULARISERS, "regulariser", &config.reg).map_err(Failure::usage)?;
    let regulariser: f64 = model.weights().iter().map(|weight| (row.make.memory)(weight, &options)).sum();
    Ok(dtype.bytes() as f64 * (network + regulariser) + kernels)
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
