//! Pooling and flattening.

use autograd::{Shape, Tensor, pool2d_shape};

use super::misfit;
use crate::error::Error;
use crate::module::{Context, Module};
use crate::summary::Summary;
use crate::tensors;

/// The largest value of each window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPool2d {
    /// The window's height and width.
    pub kernel: [usize; 2],
    /// Positions between windows.
    pub stride: [usize; 2],
    /// The padding, which is never selected.
    pub padding: [usize; 2],
}

impl MaxPool2d {
    /// Square windows side by side.
    pub fn new(kernel: usize) -> MaxPool2d {
        MaxPool2d { kernel: [kernel; 2], stride: [kernel; 2], padding: [0; 2] }
    }
}

impl Module for MaxPool2d {
    tensors!();

    fn forward(&mut self, x: &Tensor, _: &mut Context) -> Tensor {
        x.max_pool2d(self.kernel, self.stride, self.padding)
    }

    fn plan(&self, path: &str, input: &Shape, plan: &mut Summary) -> Result<Shape, Error> {
        let MaxPool2d { kernel, stride, padding } = *self;
        let layer = format!("MaxPool2d {}x{}", kernel[0], kernel[1]);
        match pool2d_shape(input, kernel, stride, padding) {
            Ok(output) => {
                plan.row(self, path, layer, output, (output.numel() * kernel[0] * kernel[1]) as u64)
            }
            Err(rule) => misfit(path, &layer, rule),
        }
    }
}

/// The mean of each window; the border counts as zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvgPool2d {
    /// The window's height and width.
    pub kernel: [usize; 2],
    /// Positions between windows.
    pub stride: [usize; 2],
    /// Zeros around the image.
    pub padding: [usize; 2],
}

impl AvgPool2d {
    /// Square windows side by side.
    pub fn new(kernel: usize) -> AvgPool2d {
        AvgPool2d { kernel: [kernel; 2], stride: [kernel; 2], padding: [0; 2] }
    }
}

impl Module for AvgPool2d {
    tensors!();

    fn forward(&mut self, x: &Tensor, _: &mut Context) -> Tensor {
        x.avg_pool2d(self.kernel, self.stride, self.padding, true)
    }

    fn plan(&self, path: &str, input: &Shape, plan: &mut Summary) -> Result<Shape, Error> {
        let AvgPool2d { kernel, stride, padding } = *self;
        let layer = format!("AvgPool2d {}x{}", kernel[0], kernel[1]);
        match pool2d_shape(input, kernel, stride, padding) {
            Ok(output) => {
                plan.row(self, path, layer, output, (output.numel() * kernel[0] * kernel[1]) as u64)
            }
            Err(rule) => misfit(path, &layer, rule),
        }
    }
}

/// The mean over each channel of an image: [N, C, H, W] to [N, C].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GlobalAvgPool;

impl Module for GlobalAvgPool {
    tensors!();

    fn forward(&mut self, x: &Tensor, _: &mut Context) -> Tensor {
        x.global_avg_pool2d()
    }

    fn plan(&self, path: &str, input: &Shape, plan: &mut Summary) -> Result<Shape, Error> {
        if input.rank() != 4 {
            return misfit(path, "GlobalAvgPool", format_args!("input {input}: [N, C, H, W] is needed"));
        }
        plan.row(self, path, "GlobalAvgPool", Shape::new(&input[..2]), input.numel() as u64)
    }
}

/// The largest value of each channel of an image: [N, C, H, W] to [N, C].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GlobalMaxPool;

impl Module for GlobalMaxPool {
    tensors!();

    fn forward(&mut self, x: &Tensor, _: &mut Context) -> Tensor {
        x.flatten(2).max(-1)
    }

    fn plan(&self, path: &str, input: &Shape, plan: &mut Summary) -> Result<Shape, Error> {
        if input.rank() != 4 || input[2] * input[3] == 0 {
            return misfit(
                path,
                "GlobalMaxPool",
                format_args!("input {input}: [N, C, H, W] with pixels is needed"),
            );
        }
        plan.row(self, path, "GlobalMaxPool", Shape::new(&input[..2]), input.numel() as u64)
    }
}

/// All axes of an item joined into one: [N, C, H, W] to [N, C H W].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flatten;

impl Module for Flatten {
    tensors!();

    fn forward(&mut self, x: &Tensor, _: &mut Context) -> Tensor {
        x.flatten(1)
    }

    fn plan(&self, path: &str, input: &Shape, plan: &mut Summary) -> Result<Shape, Error> {
        if input.rank() < 2 {
            return misfit(path, "Flatten", format_args!("input {input}: [N, ..] is needed"));
        }
        let output = Shape::new(&[input[0], input[1..].iter().product()]);
        plan.row(self, path, "Flatten", output, 0)
    }
}
