//! Pooling: the maximum or mean of windows of an image.

use kernels::pool::{self, Pool2d};

use crate::buffer::Buffer;
use crate::dtype::dispatch;
use crate::kinds::linear::{Linear, linear, linear_known};
use crate::ops::conv::too_large;
use crate::ops::index::Index;
use crate::sample::{Input, Sample};
use crate::shape::{Shape, ShapeError};
use crate::tensor::Tensor;

/// Windows over images of shape `input`.
#[derive(Clone, Copy, Debug)]
struct Windows {
    pool: Pool2d,
    input: Shape,
    output: Shape,
}

/// Reads the maximum of each window, given by its row-major position.
#[derive(Clone, Debug)]
struct MaxPool {
    windows: Windows,
    winners: Index,
}
/// Adds to the maxima; an element may be the maximum of several windows.
#[derive(Clone, Debug)]
struct MaxPoolAdjoint(MaxPool);

impl Linear for MaxPool {
    type Adjoint = MaxPoolAdjoint;
    const NAME: &'static str = "max_pool2d";
    fn apply(&self, x: &Tensor) -> Tensor {
        dispatch!(x.dtype(), T => Tensor::build::<T>(self.windows.output, |out| {
            kernels::layout::take(x.slice::<T>(), self.winners.data(), out);
        }))
    }
    fn adjoint(&self) -> MaxPoolAdjoint {
        MaxPoolAdjoint(self.clone())
    }
    fn kept_bytes(&self) -> usize {
        self.winners.bytes()
    }
}

impl Linear for MaxPoolAdjoint {
    type Adjoint = MaxPool;
    const NAME: &'static str = "max_pool2d_adjoint";
    fn apply(&self, g: &Tensor) -> Tensor {
        let MaxPool { windows, winners } = &self.0;
        dispatch!(g.dtype(), T => Tensor::build::<T>(windows.input, |out| {
            windows.pool.max_adjoint(g.slice::<T>(), winners.data(), out);
        }))
    }
    fn adjoint(&self) -> MaxPool {
        self.0.clone()
    }
    fn kept_bytes(&self) -> usize {
        self.0.winners.bytes()
    }
}

/// The mean of each window.
#[derive(Clone, Copy, Debug)]
struct AvgPool {
    windows: Windows,
    count_border: bool,
}
/// The share of each mean added to every element of its window.
#[derive(Clone, Copy, Debug)]
struct AvgPoolAdjoint(AvgPool);

impl Linear for AvgPool {
    type Adjoint = AvgPoolAdjoint;
    const NAME: &'static str = "avg_pool2d";
    fn apply(&self, x: &Tensor) -> Tensor {
        dispatch!(x.dtype(), T => Tensor::build::<T>(self.windows.output, |out| {
            self.windows.pool.average(x.slice::<T>(), self.count_border, out);
        }))
    }
    fn adjoint(&self) -> AvgPoolAdjoint {
        AvgPoolAdjoint(*self)
    }
}

impl Linear for AvgPoolAdjoint {
    type Adjoint = AvgPool;
    const NAME: &'static str = "avg_pool2d_adjoint";
    fn apply(&self, g: &Tensor) -> Tensor {
        let AvgPool { windows, count_border } = &self.0;
        dispatch!(g.dtype(), T => Tensor::build::<T>(windows.input, |out| {
            windows.pool.average_adjoint(g.slice::<T>(), *count_border, out);
        }))
    }
    fn adjoint(&self) -> AvgPool {
        self.0
    }
}

/// The mean of each of the windows that cover an image.
#[derive(Clone, Copy, Debug)]
struct AdaptivePool {
    input: Shape,
    output: Shape,
}
/// The share of each mean added to every element of its window.
#[derive(Clone, Copy, Debug)]
struct AdaptivePoolAdjoint(AdaptivePool);

impl Linear for AdaptivePool {
    type Adjoint = AdaptivePoolAdjoint;
    const NAME: &'static str = "adaptive_avg_pool2d";
    fn apply(&self, x: &Tensor) -> Tensor {
        let ((planes, input), (_, output)) = (images(&self.input), images(&self.output));
        dispatch!(x.dtype(), T => Tensor::build::<T>(self.output, |out| {
            pool::adaptive_average(x.slice::<T>(), planes, input, output, out);
        }))
    }
    fn adjoint(&self) -> AdaptivePoolAdjoint {
        AdaptivePoolAdjoint(*self)
    }
}

impl Linear for AdaptivePoolAdjoint {
    type Adjoint = AdaptivePool;
    const NAME: &'static str = "adaptive_avg_pool2d_adjoint";
    fn apply(&self, g: &Tensor) -> Tensor {
        let ((planes, input), (_, output)) = (images(&self.0.input), images(&self.0.output));
        dispatch!(g.dtype(), T => Tensor::build::<T>(self.0.input, |out| {
            pool::adaptive_average_adjoint(g.slice::<T>(), planes, input, output, out);
        }))
    }
    fn adjoint(&self) -> AdaptivePool {
        self.0
    }
}

/// The number of images in a shape [.., H, W], and their height and width.
fn images(shape: &Shape) -> (usize, [usize; 2]) {
    let (planes, size) = shape.split_at(shape.rank() - 2);
    (planes.iter().product(), [size[0], size[1]])
}

/// A shape [.., H, W] with another height and width.
fn resized(shape: &Shape, [h, w]: [usize; 2]) -> Result<Shape, ShapeError> {
    let mut dims = shape.to_vec();
    dims.splice(shape.rank() - 2.., [h, w]);
    Shape::checked(&dims)
}

fn windows(
    input: &Shape,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
) -> Result<Windows, ShapeError> {
    let fail = |rule: String| Err(ShapeError(format!("input {input}, kernel {kernel:?}: {rule}")));
    if input.rank() < 2 {
        return fail("images need two axes, [.., H, W]".into());
    }
    if kernel.contains(&0) || stride.contains(&0) {
        return fail(format!("kernel and stride {stride:?} must be at least 1"));
    }
    if let Some(large) = too_large([&input[input.rank() - 2..], &kernel, &stride, &padding]) {
        return fail(format!("{large} is larger than sizes and options can be, 2^31"));
    }
    let (planes, size) = images(input);
    for axis in 0..2 {
        if padding[axis] > kernel[axis] / 2 {
            return fail(format!("padding {padding:?} is more than half of the kernel"));
        }
        let padded = size[axis] + 2 * padding[axis];
        if size[axis] == 0 || kernel[axis] > padded {
            return fail(format!("the padded image has {padded} positions, too few for a window"));
        }
    }
    let pool = Pool2d { planes, input: size, kernel, stride, padding };
    match resized(input, pool.output()) {
        Ok(output) => Ok(Windows { pool, input: *input, output }),
        Err(e) => fail(format!("the result's {e}")),
    }
}

/// The shape of the result of [`Tensor::max_pool2d`] and [`Tensor::avg_pool2d`].
///
/// # Errors
/// If the window does not fit; the message says which rule is broken.
pub fn pool2d_shape(
    input: &Shape,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
) -> Result<Shape, ShapeError> {
    windows(input, kernel, stride, padding).map(|w| w.output)
}

/// # Pooling
///
/// Images are [N, C, H, W], or have any other axes before H and W; all pairs are (height, width). A window of
/// `kernel` elements moves by `stride`, over an image with a border of `padding` on every side, at most half a window:
/// H' = (H + 2 padding - kernel) / stride + 1, rounded down.
impl Tensor {
    /// The largest element of each window; the border is never selected. Of equal elements the first in row-major order
    /// is selected and receives the whole gradient; a NaN is selected over every number.
    ///
    /// # Panics
    /// If a window does not fit; the message says which rule is broken.
    #[track_caller]
    pub fn max_pool2d(&self, kernel: [usize; 2], stride: [usize; 2], padding: [usize; 2]) -> Tensor {
        let windows = match windows(self.shape(), kernel, stride, padding) {
            Ok(windows) => windows,
            Err(e) => panic!("max_pool2d: {e}"),
        };
        assert!(
            self.numel() as u64 <= 1 << 32,
            "max_pool2d: shape {} has more than 2^32 elements",
            self.shape()
        );
        let mut winners = Buffer::uninit::<u32>(windows.output.numel());
        let places = winners.unique_mut::<u32>().expect("new buffers have one owner");
        let value = dispatch!(self.dtype(), T => Tensor::build::<T>(windows.output, |out| {
            windows.pool.max(self.slice::<T>(), out, places);
        }));
        let winners = Index::from_buffer(winners, windows.output);
        linear_known(MaxPool { windows, winners }, self, value)
    }

    /// The mean of each window. With `count_include_pad` the border counts as zeros and every sum is divided by
    /// the window's size; without, by the number of elements that the window covers.
    ///
    /// # Panics
    /// If a window does not fit; the message says which rule is broken.
    #[track_caller]
    pub fn avg_pool2d(
        &self,
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 2],
        count_include_pad: bool,
    ) -> Tensor {
        match windows(self.shape(), kernel, stride, padding) {
            Ok(windows) => linear(AvgPool { windows, count_border: count_include_pad }, self),
            Err(e) => panic!("avg_pool2d: {e}"),
        }
    }

    /// The means of `output[0]` x `output[1]` windows that cover the image: window i of n over m elements reaches
    /// from floor(i m / n) to ceil((i + 1) m / n), so that windows may overlap.
    ///
    /// # Panics
    /// If there are fewer than two axes, or the images are empty.
    #[track_caller]
    pub fn adaptive_avg_pool2d(&self, output: [usize; 2]) -> Tensor {
        let input = *self.shape();
        let full = input.rank() >= 2 && images(&input).1.iter().all(|&n| n > 0);
        assert!(
            full,
            "adaptive_avg_pool2d: shape {input} holds no images [.., H, W] of at least one element"
        );
        match resized(&input, output) {
            Ok(output) => linear(AdaptivePool { input, output }, self),
            Err(e) => panic!("adaptive_avg_pool2d: the result's {e}"),
        }
    }

    /// The mean of each image: [N, C, H, W] gives [N, C].
    ///
    /// # Panics
    /// If there are fewer than two axes.
    #[track_caller]
    pub fn global_avg_pool2d(&self) -> Tensor {
        assert!(self.rank() >= 2, "global_avg_pool2d: shape {} holds no images [.., H, W]", self.shape());
        self.mean([-2, -1])
    }
}

pub(crate) fn samples() -> Vec<Sample> {
    let image = || Input::normal([2, 1, 5, 6]);
    let apart = |shape: [usize; 4]| Input::apart(shape, 0);
    let max = |case: &str, shape: [usize; 4], k, s, p| {
        Sample::new("max_pool2d", case, [apart(shape)], move |x| x[0].max_pool2d(k, s, p))
    };
    let avg = |case: &str, k, s, p, count| {
        Sample::new("avg_pool2d", case, [image()], move |x| x[0].avg_pool2d(k, s, p, count))
    };
    vec![
        max("halves", [2, 1, 4, 6], [2, 2], [2, 2], [0, 0]),
        max("halves, odd image", [1, 2, 5, 3], [2, 2], [2, 2], [0, 0]),
        max("overlapping, padded", [1, 2, 5, 6], [3, 3], [2, 2], [1, 1]),
        max("unequal sides", [1, 1, 5, 6], [2, 3], [1, 3], [1, 0]),
        max("gaps between windows", [1, 1, 7, 7], [2, 2], [3, 4], [0, 1]),
        max("one element", [1, 1, 1, 1], [1, 1], [1, 1], [0, 0]),
        max("no images", [0, 2, 4, 4], [2, 2], [2, 2], [0, 0]),
        Sample::new("max_pool2d", "times x", [apart([1, 1, 3, 3])], |x| {
            x[0].max_pool2d([3, 3], [1, 1], [1, 1]) * &x[0]
        }),
        avg("halves", [2, 2], [2, 2], [0, 0], true),
        avg("overlapping, border counted", [3, 3], [2, 2], [1, 1], true),
        avg("overlapping, border not counted", [3, 3], [2, 2], [1, 1], false),
        avg("unequal sides", [2, 3], [3, 1], [0, 1], false),
        Sample::new("avg_pool2d", "no images", [Input::normal([0, 4, 4])], |x| {
            x[0].avg_pool2d([2, 2], [2, 2], [0, 0], true)
        }),
        Sample::new("adaptive_avg_pool2d", "overlapping", [Input::normal([2, 3, 5])], |x| {
            x[0].adaptive_avg_pool2d([2, 3])
        }),
        Sample::new("adaptive_avg_pool2d", "more than elements", [Input::normal([2, 3])], |x| {
            x[0].adaptive_avg_pool2d([3, 5])
        }),
        Sample::new("global_avg_pool2d", "", [image()], |x| x[0].global_avg_pool2d()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;

    #[test]
    fn the_first_of_equals_takes_the_gradient_of_its_windows() {
        let x = Tensor::zeros([1, 1, 2, 3], DType::F64).requires_grad();
        let y = x.max_pool2d([2, 2], [1, 1], [0, 0]);
        let g = Tensor::new(&[1.0, 10.0], [1, 1, 1, 2]);
        assert_eq!(y.vjp(&g, &[&x])[0].to_vec::<f64>(), [1.0, 10.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn the_border_never_wins_and_nan_does() {
        let x = Tensor::from([[-1.0f32, -2.0], [-3.0, f32::NAN]]);
        let y = x.max_pool2d([2, 2], [2, 2], [1, 1]).to_vec::<f32>();
        assert_eq!(y[..3], [-1.0, -2.0, -3.0]);
        assert!(y[3].is_nan());
    }

    #[test]
    fn the_border_counts_or_not() {
        let x = Tensor::from([[4.0, 8.0]]);
        let mean = |count| x.avg_pool2d([2, 2], [2, 2], [1, 1], count).to_vec::<f64>();
        assert_eq!(mean(true), [1.0, 2.0]);
        assert_eq!(mean(false), [4.0, 8.0]);
        assert_eq!(x.adaptive_avg_pool2d([1, 1]).item(), 6.0);
        assert_eq!(x.global_avg_pool2d().item(), 6.0);
    }

    #[test]
    fn shapes_are_known_beforehand() {
        let shape = |h, k, s, p| pool2d_shape(&Shape::new(&[2, 3, h, 9]), [k; 2], [s; 2], [p; 2]);
        assert_eq!(shape(8, 3, 2, 1).unwrap(), [2, 3, 4, 5]);
        assert_eq!(
            shape(2, 3, 2, 0).unwrap_err().0,
            "input [2, 3, 2, 9], kernel [3, 3]: the padded image has 2 positions, too few for a window"
        );
        let largest = Shape::new(&[1 << 30, 1 << 29]);
        let larger = pool2d_shape(&largest, [2, 2], [1, 1], [1, 1]);
        assert!(larger.is_ok());
        let larger = pool2d_shape(&Shape::new(&[1 << 30, (1 << 30) - 1]), [2, 2], [1, 1], [1, 1]);
        assert!(larger.unwrap_err().0.ends_with("is larger than the address space"));
    }

    #[test]
    #[should_panic(
        expected = "max_pool2d: input [4, 4], kernel [3, 3]: padding [2, 2] is more than half of the kernel"
    )]
    fn a_window_holds_an_element() {
        let _ = Tensor::zeros([4, 4], DType::F32).max_pool2d([3, 3], [1, 1], [2, 2]);
    }

    #[test]
    #[should_panic(
        expected = "avg_pool2d: input [4, 4], kernel [2, 2]: kernel and stride [0, 1] must be at least 1"
    )]
    fn windows_move() {
        let _ = Tensor::zeros([4, 4], DType::F32).avg_pool2d([2, 2], [0, 1], [0, 0], true);
    }

    #[test]
    #[should_panic(expected = "adaptive_avg_pool2d: shape [3, 0, 2] holds no images")]
    fn images_are_not_empty() {
        let _ = Tensor::zeros([3, 0, 2], DType::F32).adaptive_avg_pool2d([1, 1]);
    }
}
