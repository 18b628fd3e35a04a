//! Padding: constant, reflected, replicated.

use kernels::layout::Fill;

use crate::dtype::dispatch;
use crate::kinds::linear::{Linear, linear};
use crate::sample::{Input, Sample};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// The values of the border.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Padding {
    /// This constant.
    Constant(f64),
    /// The mirror image without the edge itself: c b | a b c | b a.
    Reflect,
    /// The nearest element: a a | a b c | c c.
    Replicate,
}

impl Padding {
    fn fill<T: kernels::Element>(self) -> Fill<T> {
        match self {
            Padding::Constant(v) => Fill::Constant(T::from_f64(v)),
            Padding::Reflect => Fill::Reflect,
            Padding::Replicate => Fill::Replicate,
        }
    }
}

/// The padded tensor. With a constant other than 0 the map is affine; its linear part is that of 0.
#[derive(Clone, Debug)]
struct Pad {
    input: Shape,
    output: Shape,
    before: Vec<usize>,
    after: Vec<usize>,
    padding: Padding,
}

/// Each element added to the one it was copied from.
#[derive(Clone, Debug)]
struct PadAdjoint(Pad);

impl Linear for Pad {
    type Adjoint = PadAdjoint;
    const NAME: &'static str = "pad";
    fn apply(&self, x: &Tensor) -> Tensor {
        let (dims, fill) = (&self.input, self.padding);
        dispatch!(x.dtype(), T => Tensor::build::<T>(self.output, |out| {
            kernels::layout::pad(x.slice::<T>(), dims, &self.before, &self.after, fill.fill(), out);
        }))
    }
    fn adjoint(&self) -> PadAdjoint {
        let padding = match self.padding {
            Padding::Constant(_) => Padding::Constant(0.0),
            copying => copying,
        };
        PadAdjoint(Pad { padding, ..self.clone() })
    }
}

impl Linear for PadAdjoint {
    type Adjoint = Pad;
    const NAME: &'static str = "pad_adjoint";
    fn apply(&self, g: &Tensor) -> Tensor {
        let p = &self.0;
        dispatch!(g.dtype(), T => Tensor::build::<T>(p.input, |out| {
            kernels::layout::pad_adjoint(g.slice::<T>(), &p.input, &p.before, &p.after, p.padding.fill(), out);
        }))
    }
    fn adjoint(&self) -> Pad {
        self.0.clone()
    }
}

impl Tensor {
    /// Adds a border. `widths` are (before, after) of the last axes, in the order of the axes:
    /// `x.pad(&[(1, 1), (2, 2)], Padding::Constant(0.0))` pads an image by a row and two columns on every side.
    ///
    /// ```
    /// use autograd::{Padding, Tensor};
    /// let x = Tensor::from([1.0, 2.0, 3.0]);
    /// assert_eq!(x.pad(&[(2, 1)], Padding::Reflect).to_vec::<f64>(), [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]);
    /// ```
    ///
    /// # Panics
    /// If there are more widths than axes, an axis of size n would be reflected over more than n - 1, or an
    /// empty axis replicated.
    #[track_caller]
    pub fn pad(&self, widths: &[(usize, usize)], padding: Padding) -> Tensor {
        let input = *self.shape();
        assert!(
            widths.len() <= input.rank(),
            "pad: {} widths are more than shape {input} has axes",
            widths.len()
        );
        let lead = input.rank() - widths.len();
        let width = |a: usize| if a < lead { (0, 0) } else { widths[a - lead] };
        let mut output = input;
        for axis in 0..input.rank() {
            let (before, after) = width(axis);
            let (n, most) = (input[axis], before.max(after));
            match padding {
                Padding::Constant(_) => {}
                Padding::Reflect => assert!(
                    most == 0 || most < n,
                    "pad: axis {axis} of shape {input} can be reflected over {} elements at most, not {most}",
                    n.saturating_sub(1)
                ),
                Padding::Replicate => {
                    assert!(most == 0 || n > 0, "pad: axis {axis} of shape {input} has nothing to replicate");
                }
            }
            let Some(size) = before.checked_add(n).and_then(|size| size.checked_add(after)) else {
                panic!("pad: axis {axis} of shape {input} cannot grow by {before} and {after}");
            };
            output = output.with(axis, size);
        }
        let (before, after) = (0..input.rank()).map(width).unzip();
        linear(Pad { input, output, before, after, padding }, self)
    }
}

pub(crate) fn samples() -> Vec<Sample> {
    let pad = |case: &str, shape: &[usize], widths: &'static [(usize, usize)], padding| {
        Sample::new("pad", case, [Input::normal(shape)], move |x| x[0].pad(widths, padding))
    };
    vec![
        pad("zeros around an image", &[2, 3, 4], &[(1, 1), (2, 2)], Padding::Constant(0.0)),
        pad("a constant on one side", &[2, 3], &[(0, 2), (1, 0)], Padding::Constant(-1.5)),
        pad("reflected", &[2, 3, 4], &[(2, 1), (3, 2)], Padding::Reflect),
        pad("replicated", &[2, 3, 4], &[(2, 1), (3, 0)], Padding::Replicate),
        pad("all axes replicated", &[2, 2], &[(1, 2), (1, 1)], Padding::Replicate),
        pad("nothing with zeros", &[0, 2], &[(1, 1), (0, 1)], Padding::Constant(0.0)),
        pad("no widths", &[2, 3], &[], Padding::Reflect),
        pad("a scalar", &[], &[], Padding::Constant(1.0)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;

    #[test]
    fn borders_hold_what_they_promise() {
        let x = Tensor::from([[1.0f32, 2.0], [3.0, 4.0]]);
        let row = |padding| x.pad(&[(1, 2)], padding).to_vec::<f32>()[..5].to_vec();
        assert_eq!(row(Padding::Constant(9.0)), [9.0, 1.0, 2.0, 9.0, 9.0]);
        assert_eq!(row(Padding::Replicate), [1.0, 1.0, 2.0, 2.0, 2.0]);
        let mirrored = x.pad(&[(1, 0), (1, 1)], Padding::Reflect);
        assert_eq!(*mirrored.shape(), [3, 4]);
        assert_eq!(mirrored.to_vec::<f32>()[..8], [4.0, 3.0, 4.0, 3.0, 2.0, 1.0, 2.0, 1.0]);
    }

    #[test]
    #[should_panic(expected = "pad: axis 1 of shape [2, 3] can be reflected over 2 elements at most, not 3")]
    fn a_mirror_is_no_longer_than_the_axis() {
        let _ = Tensor::zeros([2, 3], DType::F32).pad(&[(0, 3)], Padding::Reflect);
    }

    #[test]
    #[should_panic(expected = "pad: axis 0 of shape [0] has nothing to replicate")]
    fn nothing_cannot_be_replicated() {
        let _ = Tensor::zeros([0], DType::F32).pad(&[(0, 3)], Padding::Replicate);
    }

    #[test]
    #[should_panic(expected = "pad: 2 widths are more than shape [4] has axes")]
    fn widths_belong_to_axes() {
        let _ = Tensor::zeros([4], DType::F32).pad(&[(0, 3), (1, 1)], Padding::Constant(0.0));
    }
}
