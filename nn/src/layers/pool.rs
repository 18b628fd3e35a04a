//! Pooling, and the end of an image.

use autograd::{Shape, Tensor};

use super::misfit;
use crate::error::Error;
use crate::module::{Context, Module};
use crate::summary::Summary;
use crate::tensors;

/// The largest value of each window; no padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPool2d {
    /// The side of the square window.
    pub kernel: usize,
    /// Positions between windows.
    pub stride: usize,
}

impl MaxPool2d {
    /// Windows side by side.
    ///
    /// # Panics
    /// If `kernel` is 0.
    #[track_caller]
    pub fn new(kernel: usize) -> MaxPool2d {
        assert!(kernel > 0, "MaxPool2d: a window has at least one element");
        MaxPool2d { kernel, stride: kernel }
    }
}

impl Module for MaxPool2d {
    tensors!();

    fn forward(&mut self, x: &Tensor, _: &mut Context) -> Tensor {
        x.max_pool2d(window(self.kernel, self.stride))
    }

    fn plan(&self, path: &str, input: &Shape, plan: &mut Summary) -> Result<Shape, Error> {
        let layer = format!("MaxPool2d {0}x{0}", self.kernel);
        let output = pooled(path, &layer, input, self.kernel, self.stride)?;
        plan.row(self, path, layer, output, (output.numel() * self.kernel * self.kernel) as u64)
    }
}

/// The mean of each window; no padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvgPool2d {
    /// The side of the square window.
    pub kernel: usize,
    /// Positions between windows.
    pub stride: usize,
}

impl AvgPool2d {
    /// Windows side by side.
    ///
    /// # Panics
    /// If `kernel` is 0.
    #[track_caller]
    pub fn new(kernel: usize) -> AvgPool2d {
        assert!(kernel > 0, "AvgPool2d: a window has at least one element");
        AvgPool2d { kernel, stride: kernel }
    }
}

impl Module for AvgPool2d {
    tensors!();

    fn forward(&mut self, x: &Tensor, _: &mut Context) -> Tensor {
        x.avg_pool2d(window(self.kernel, self.stride))
    }

    fn plan(&self, path: &str, input: &Shape, plan: &mut Summary) -> Result<Shape, Error> {
        let layer = format!("AvgPool2d {0}x{0}", self.kernel);
        let output = pooled(path, &layer, input, self.kernel, self.stride)?;
        plan.row(self, path, layer, output, (output.numel() * self.kernel * self.kernel) as u64)
    }
}

fn pooled(path: &str, layer: &str, input: &Shape, kernel: usize, stride: usize) -> Result<Shape, Error> {
    if input.rank() != 4 {
        return misfit(path, layer, input, "[N, C, H, W] is needed");
    }
    if input[2] < kernel || input[3] < kernel {
        return misfit(path, layer, input, "the window is larger than the image");
    }
    let out = |size: usize| (size - kernel) / stride + 1;
    Ok(Shape::new(&[input[0], input[1], out(input[2]), out(input[3])]))
}

/// The mean over each channel of an image: [N, C, H, W] to [N, C].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GlobalAvgPool;

impl Module for GlobalAvgPool {
    tensors!();

    fn forward(&mut self, x: &Tensor, _: &mut Context) -> Tensor {
        x.mean([2, 3])
    }

    fn plan(&self, path: &str, input: &Shape, plan: &mut Summary) -> Result<Shape, Error> {
        if input.rank() != 4 {
            return misfit(path, "GlobalAvgPool", input, "[N, C, H, W] is needed");
        }
        plan.row(self, path, "GlobalAvgPool", Shape::new(&input[..2]), input.numel() as u64)
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
            return misfit(path, "Flatten", input, "[N, ..] is needed");
        }
        let output = Shape::new(&[input[0], input[1..].iter().product()]);
        plan.row(self, path, "Flatten", output, 0)
    }
}
