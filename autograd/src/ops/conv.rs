//! Convolution: the trilinear form sum of input, weight and output over all positions.

use kernels::conv::Conv2d;

use crate::dtype::dispatch;
use crate::kinds::elementwise::same_dtype;
use crate::kinds::trilinear::{Slot, Trilinear, contract};
use crate::ops::Padding;
use crate::sample::{Input, Sample};
use crate::shape::{Shape, ShapeError};
use crate::tensor::Tensor;

/// Stride, padding, dilation and groups of a convolution. All pairs are (height, width).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvOptions {
    /// Input positions between neighbouring outputs.
    pub stride: [usize; 2],
    /// Zeros added on every side.
    pub padding: [usize; 2],
    /// Input positions between neighbouring kernel elements.
    pub dilation: [usize; 2],
    /// The number of groups of channels that are convolved separately; both channel counts must be multiples of it.
    pub groups: usize,
}

impl Default for ConvOptions {
    fn default() -> ConvOptions {
        ConvOptions { stride: [1, 1], padding: [0, 0], dilation: [1, 1], groups: 1 }
    }
}

/// T(x, w, y) = sum over images, channels and positions of x w y: slot A is the input, B the weight, C the output.
#[derive(Clone, Copy, Debug)]
struct Conv(Conv2d);

impl Conv {
    fn shape(&self, slot: Slot) -> Shape {
        let c = &self.0;
        match slot {
            Slot::A => Shape::new(&[c.batch, c.in_channels, c.input[0], c.input[1]]),
            Slot::B => Shape::new(&[c.out_channels, c.in_channels / c.groups, c.kernel[0], c.kernel[1]]),
            Slot::C => {
                let [h, w] = c.output();
                Shape::new(&[c.batch, c.out_channels, h, w])
            }
        }
    }
}

impl Trilinear for Conv {
    fn name(&self, open: Slot) -> &'static str {
        match open {
            Slot::A => "conv_transpose2d",
            Slot::B => "conv2d_weight",
            Slot::C => "conv2d",
        }
    }

    fn contract(&self, open: Slot, p: &Tensor, q: &Tensor) -> Tensor {
        dispatch!(p.dtype(), T => Tensor::build::<T>(self.shape(open), |out| {
            let (p, q) = (p.slice::<T>(), q.slice::<T>());
            match open {
                Slot::A => self.0.grad_input(q, p, out), // given the weight and the output
                Slot::B => self.0.grad_weight(p, q, out), // given the input and the output
                Slot::C => self.0.forward(p, q, out),
            }
        }))
    }

    fn flops(&self) -> u64 {
        self.0.flops()
    }
}

/// The shape of `conv2d`'s result.
///
/// # Errors
/// If the shapes do not fit each other or the options: the message says which rule is broken.
pub fn conv2d_shape(x: &Shape, w: &Shape, options: &ConvOptions) -> Result<Shape, ShapeError> {
    geometry(x, w, options).map(|c| Conv(c).shape(Slot::C))
}

fn geometry(x: &Shape, w: &Shape, o: &ConvOptions) -> Result<Conv2d, ShapeError> {
    let fail = |rule: String| Err(ShapeError(format!("input {x}, weight {w}: {rule}")));
    if x.rank() != 4 || w.rank() != 4 {
        return fail("both need four axes, [N, C, H, W] and [K, C / groups, kh, kw]".into());
    }
    if o.groups == 0 || o.stride.contains(&0) || o.dilation.contains(&0) || w[2] == 0 || w[3] == 0 {
        return fail(format!("groups, stride, dilation and kernel must be at least 1; options are {o:?}"));
    }
    if let Some(large) = too_large([&x[2..], &w[2..], &o.stride, &o.padding, &o.dilation]) {
        return fail(format!("{large} is larger than sizes and options can be, 2^31; options are {o:?}"));
    }
    if !w[0].is_multiple_of(o.groups) || !x[1].is_multiple_of(o.groups) {
        return fail(format!(
            "{} input and {} output channels must be multiples of {} groups",
            x[1], w[0], o.groups
        ));
    }
    if x[1] / o.groups != w[1] {
        return fail(format!(
            "the input has {} channels a group ({} / {} groups) but the weight {}",
            x[1] / o.groups,
            x[1],
            o.groups,
            w[1]
        ));
    }
    for axis in 0..2 {
        let (size, reach) = (x[2 + axis] + 2 * o.padding[axis], o.dilation[axis] * (w[2 + axis] - 1) + 1);
        if reach > size {
            return fail(format!(
                "the kernel reaches over {reach} positions but the padded input has only {size}"
            ));
        }
    }
    let conv = Conv2d {
        batch: x[0],
        groups: o.groups,
        in_channels: x[1],
        out_channels: w[0],
        input: [x[2], x[3]],
        kernel: [w[2], w[3]],
        stride: o.stride,
        padding: o.padding,
        dilation: o.dilation,
    };
    let [rows, columns] = conv.output();
    match Shape::checked(&[x[0], w[0], rows, columns]) {
        Ok(_) => Ok(conv),
        Err(e) => fail(format!("the result's {e}")),
    }
}

/// A number with which positions in a padded image could overflow.
pub(crate) fn too_large<const N: usize>(numbers: [&[usize]; N]) -> Option<usize> {
    numbers.iter().flat_map(|n| n.iter()).copied().find(|&n| n > 1 << 31)
}

impl Tensor {
    /// Two-dimensional convolution (cross-correlation, as in all neural networks): input [N, C, H, W] and
    /// `weight` [K, C / groups, kh, kw] give [N, K, H', W'] with
    /// H' = (H + 2 padding - dilation (kh - 1) - 1) / stride + 1, rounded down.
    ///
    /// # Panics
    /// If the shapes do not fit; the message says which rule is broken.
    #[track_caller]
    pub fn conv2d(&self, weight: &Tensor, options: ConvOptions) -> Tensor {
        same_dtype("conv2d", self, weight);
        match geometry(self.shape(), weight.shape(), &options) {
            Ok(c) => contract(Conv(c), Slot::C, self, weight),
            Err(e) => panic!("conv2d: {e}"),
        }
    }

    /// Transposed convolution: input [N, K, H', W'] and `weight` [K, C / groups, kh, kw] give [N, C, H, W] with
    /// H = (H' - 1) stride - 2 padding + dilation (kh - 1) + 1 + output_padding. It is the adjoint of
    /// [`Tensor::conv2d`] with the same weight and options.
    ///
    /// # Panics
    /// If the shapes do not fit, or `output_padding` is below neither stride nor dilation.
    #[track_caller]
    pub fn conv_transpose2d(
        &self,
        weight: &Tensor,
        output_padding: [usize; 2],
        options: ConvOptions,
    ) -> Tensor {
        same_dtype("conv_transpose2d", self, weight);
        let (y, w, o) = (self.shape(), weight.shape(), &options);
        assert!(
            y.rank() == 4 && w.rank() == 4 && y[1] == w[0],
            "conv_transpose2d: input {y} and weight {w} must be [N, K, H, W] and [K, C / groups, kh, kw]"
        );
        if let Some(large) =
            too_large([&y[2..], &w[2..], &o.stride, &o.padding, &o.dilation, &output_padding, &[o.groups]])
        {
            panic!(
                "conv_transpose2d: input {y}, weight {w}: {large} is larger than sizes and options can be, 2^31"
            );
        }
        let mut dims = [y[0], w[1] * o.groups, 0, 0];
        for axis in 0..2 {
            assert!(
                output_padding[axis] < o.stride[axis].max(o.dilation[axis]),
                "conv_transpose2d: output_padding {output_padding:?} must be below stride {:?} or dilation {:?}",
                o.stride,
                o.dilation
            );
            let reach = o.dilation[axis] * w[2 + axis].saturating_sub(1) + 1 + output_padding[axis];
            let full = y[2 + axis].saturating_sub(1) * o.stride[axis] + reach;
            assert!(
                full > 2 * o.padding[axis],
                "conv_transpose2d: padding {:?} leaves nothing of a result of {full} positions",
                o.padding
            );
            dims[2 + axis] = full - 2 * o.padding[axis];
        }
        let c = match geometry(&Shape::new(&dims), w, o) {
            Ok(c) => c,
            Err(e) => panic!("conv_transpose2d: {e}"),
        };
        // Output padding beyond the stride leaves room for more outputs of conv2d than `self` has: those are 0.
        let full = Conv(c).shape(Slot::C);
        let missing = |axis: usize| (0, full[axis] - y[axis]);
        let y = if full == *y {
            self.clone()
        } else {
            self.pad(&[(0, 0), (0, 0), missing(2), missing(3)], Padding::Constant(0.0))
        };
        contract(Conv(c), Slot::A, weight, &y)
    }

    /// One-dimensional convolution: input [N, C, L] and `weight` [K, C / groups, k] give [N, K, L'].
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[track_caller]
    pub fn conv1d(
        &self,
        weight: &Tensor,
        stride: usize,
        padding: usize,
        dilation: usize,
        groups: usize,
    ) -> Tensor {
        assert!(
            self.rank() == 3 && weight.rank() == 3,
            "conv1d: input {} and weight {} need three axes, [N, C, L] and [K, C / groups, k]",
            self.shape(),
            weight.shape()
        );
        let options =
            ConvOptions { stride: [1, stride], padding: [0, padding], dilation: [1, dilation], groups };
        let y = self.unsqueeze(2).conv2d(&weight.unsqueeze(2), options);
        y.reshape([y.shape()[0], y.shape()[1], y.shape()[3]])
    }
}

pub(crate) fn samples() -> Vec<Sample> {
    let o = |stride, padding, dilation, groups| ConvOptions { stride, padding, dilation, groups };
    let conv = |case: &str, x: [usize; 4], w: [usize; 4], options: ConvOptions| {
        Sample::new("conv2d", case, [Input::normal(x), Input::normal(w)], move |x| {
            x[0].conv2d(&x[1], options)
        })
    };
    vec![
        conv("", [2, 2, 4, 5], [3, 2, 3, 2], ConvOptions::default()),
        conv("stride 2, padding 1", [1, 2, 5, 6], [2, 2, 3, 3], o([2, 2], [1, 1], [1, 1], 1)),
        conv("stride does not divide", [1, 1, 6, 7], [2, 1, 2, 3], o([3, 2], [1, 0], [1, 1], 1)),
        conv("dilated", [1, 1, 6, 6], [2, 1, 3, 2], o([1, 2], [1, 1], [2, 3], 1)),
        conv("groups", [1, 4, 4, 4], [6, 2, 3, 3], o([1, 1], [1, 1], [1, 1], 2)),
        conv("depthwise", [1, 3, 4, 4], [3, 1, 3, 3], o([2, 1], [1, 1], [1, 1], 3)),
        conv("1 x 1", [2, 3, 2, 2], [4, 3, 1, 1], ConvOptions::default()),
        conv("no images", [0, 2, 4, 4], [3, 2, 3, 3], ConvOptions::default()),
        Sample::new("conv2d", "weight from the input", [Input::normal([1, 1, 4, 4])], |x| {
            x[0].conv2d(&(&x[0] * &x[0]).reshape([4, 1, 2, 2]), ConvOptions::default())
        }),
        Sample::new(
            "conv_transpose2d",
            "",
            [Input::normal([1, 3, 3, 2]), Input::normal([3, 2, 3, 3])],
            |x| {
                let options = ConvOptions { stride: [2, 2], padding: [1, 1], ..Default::default() };
                x[0].conv_transpose2d(&x[1], [1, 0], options)
            },
        ),
        Sample::new("conv1d", "", [Input::normal([2, 2, 7]), Input::normal([3, 2, 3])], |x| {
            x[0].conv1d(&x[1], 2, 1, 1, 1)
        }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;

    #[test]
    #[should_panic(
        expected = "conv2d: input [1, 3, 8, 8], weight [4, 2, 3, 3]: the input has 3 channels a group (3 / 1 groups) but the weight 2"
    )]
    fn channels_must_agree() {
        let x = Tensor::zeros([1, 3, 8, 8], DType::F32);
        let _ = x.conv2d(&Tensor::zeros([4, 2, 3, 3], DType::F32), ConvOptions::default());
    }

    #[test]
    #[should_panic(expected = "the kernel reaches over 5 positions but the padded input has only 4")]
    fn the_kernel_must_fit() {
        let x = Tensor::zeros([1, 1, 4, 4], DType::F32);
        let _ = x.conv2d(&Tensor::zeros([1, 1, 5, 5], DType::F32), ConvOptions::default());
    }

    #[test]
    fn a_result_beyond_the_address_space_is_an_error() {
        let (x, w) = (Shape::new(&[1, 1, 3, 3]), Shape::new(&[1, 1, 3, 3]));
        let options = ConvOptions { padding: [1 << 31, 1 << 31], ..ConvOptions::default() };
        let message = conv2d_shape(&x, &w, &options).unwrap_err().0;
        assert!(message.ends_with("is larger than the address space"), "{message}");
        let options = ConvOptions { padding: [1 << 31, 0], ..ConvOptions::default() };
        assert_eq!(conv2d_shape(&x, &w, &options).unwrap(), [1, 1, (1 << 32) + 1, 1]);
    }

    #[test]
    fn positions_cannot_overflow() {
        let ones = || Tensor::ones([1, 1, 3, 3], DType::F64);
        let fails = |options: ConvOptions, transposed: bool| {
            let run = || match transposed {
                false => ones().conv2d(&ones(), options),
                true => ones().conv_transpose2d(&ones(), [0, 0], options),
            };
            let text = *std::panic::catch_unwind(std::panic::AssertUnwindSafe(run))
                .unwrap_err()
                .downcast::<String>()
                .unwrap();
            assert!(text.contains("larger than sizes and options can be"), "{text}");
        };
        for transposed in [false, true] {
            let large = [1 << 63, 1];
            fails(ConvOptions { dilation: large, ..ConvOptions::default() }, transposed);
            fails(ConvOptions { padding: large, ..ConvOptions::default() }, transposed);
            fails(ConvOptions { stride: large, ..ConvOptions::default() }, transposed);
        }
    }
}
