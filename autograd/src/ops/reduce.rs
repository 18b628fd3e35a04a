//! Sums over axes, and the broadcasting that is their adjoint.

use crate::axis::{Axes, keep};
use crate::dtype::dispatch;
use crate::kinds::linear::{Linear, linear};
use crate::reduction::Reduction;
use crate::sample::{Input, Sample};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// The sum over some axes.
#[derive(Clone, Copy, Debug)]
struct Sum(Reduction);
/// Each element repeated along the axes that [`Sum`] sums over.
#[derive(Clone, Copy, Debug)]
struct Broadcast(Reduction);

impl Linear for Sum {
    type Adjoint = Broadcast;
    const NAME: &'static str = "sum";
    fn apply(&self, x: &Tensor) -> Tensor {
        let r = &self.0;
        dispatch!(x.dtype(), T => Tensor::build::<T>(r.output, |out| {
            kernels::reduce::sum(x.slice(), &r.input, &r.reduced[..r.input.rank()], out);
        }))
    }
    fn adjoint(&self) -> Broadcast {
        Broadcast(self.0)
    }
}

impl Linear for Broadcast {
    type Adjoint = Sum;
    const NAME: &'static str = "broadcast";
    fn apply(&self, x: &Tensor) -> Tensor {
        let r = &self.0;
        dispatch!(x.dtype(), T => Tensor::build::<T>(r.input, |out| {
            kernels::layout::broadcast_to(x.slice::<T>(), &r.kept, &r.input, out);
        }))
    }
    fn adjoint(&self) -> Sum {
        Sum(self.0)
    }
}

#[track_caller]
pub(crate) fn reduction(name: &str, x: &Tensor, axes: impl Into<Axes>) -> Reduction {
    match Reduction::new(x.shape(), &axes.into()) {
        Ok(r) => r,
        Err(e) => panic!("{name}: {e}"),
    }
}

/// The sum that a resolved reduction describes.
#[track_caller]
pub(crate) fn sum_over(r: Reduction, x: &Tensor) -> Tensor {
    linear(Sum(r), x)
}

/// # Reductions
impl Tensor {
    /// The sum over `axes` (`..` for all of them): `x.sum(0)`, `x.sum([0, 2])`, `x.sum(keep(-1))`.
    ///
    /// # Panics
    /// If an axis is outside the shape or named twice.
    #[track_caller]
    #[doc(alias = "sum_axis")]
    pub fn sum(&self, axes: impl Into<Axes>) -> Tensor {
        linear(Sum(reduction("sum", self, axes)), self)
    }

    /// The mean over `axes`; NaN over no elements.
    ///
    /// # Panics
    /// As [`Tensor::sum`].
    #[track_caller]
    #[doc(alias = "mean_axis")]
    pub fn mean(&self, axes: impl Into<Axes>) -> Tensor {
        let r = reduction("mean", self, axes);
        linear(Sum(r), self) / r.count() as f64
    }

    /// The variance over `axes`: the sum of squared deviations from the mean, divided by the number of elements
    /// less `correction` (0 for the biased estimate, 1 for the unbiased one).
    ///
    /// # Panics
    /// As [`Tensor::sum`], or if there are not more elements than `correction`.
    #[track_caller]
    #[doc(alias = "var_axis")]
    pub fn var(&self, axes: impl Into<Axes>, correction: usize) -> Tensor {
        let r = reduction("var", self, axes);
        let n = r.count();
        assert!(
            n > correction,
            "var: {n} elements of {} are too few for correction {correction}",
            self.shape()
        );
        let mean = linear(Sum(r.keeping()), self) / n as f64;
        let deviation = self - mean;
        linear(Sum(r), &(&deviation * &deviation)) / (n - correction) as f64
    }

    /// The standard deviation over `axes`: the square root of [`Tensor::var`] (whose `correction` is 1 by default in
    /// PyTorch). Where all elements are equal it is 0, with gradient 0; PyTorch's is NaN there.
    ///
    /// ```
    /// # use autograd::Tensor;
    /// let x = Tensor::from([[1.0, 3.0], [5.0, 5.0]]).requires_grad();
    /// let y = x.std(1, 0);
    /// assert_eq!(y.to_vec::<f64>(), [1.0, 0.0]);
    /// let dx = y.sum(..).grad(&x); // [[-1/2, 1/2], [0, 0]]
    /// assert!((dx.at(&[0, 1]) - 0.5).abs() < 1e-15 && dx.at(&[1, 0]) == 0.0);
    /// ```
    ///
    /// # Panics
    /// As [`Tensor::var`].
    #[track_caller]
    #[doc(alias = "std_axis")]
    pub fn std(&self, axes: impl Into<Axes>, correction: usize) -> Tensor {
        let axes = axes.into();
        let r = reduction("std", self, axes.clone());
        let n = r.count();
        assert!(
            n > correction,
            "std: {n} elements of {} are too few for correction {correction}",
            self.shape()
        );
        let mean = linear(Sum(r.keeping()), self) / n as f64;
        (self - mean).norm(axes) / ((n - correction) as f64).sqrt()
    }

    /// This tensor repeated to `shape`: axes are aligned at the last one, and those of size 1 or missing repeat.
    ///
    /// # Panics
    /// If the shape does not broadcast to `shape`.
    #[track_caller]
    #[doc(alias = "expand")]
    pub fn broadcast_to(&self, shape: impl Into<Shape>) -> Tensor {
        let shape = shape.into();
        match self.shape().broadcast(&shape) {
            Ok(result) if result == shape => {}
            _ => panic!("broadcast_to: shape {} does not broadcast to {shape}", self.shape()),
        }
        linear(Broadcast(Reduction::unbroadcast(self.shape(), &shape)), self)
    }

    /// The adjoint of [`Tensor::broadcast_to`]: sums the repeated axes back to `shape`.
    #[track_caller]
    pub(crate) fn sum_to(&self, shape: &Shape) -> Tensor {
        linear(Sum(Reduction::unbroadcast(shape, self.shape())), self)
    }
}

/// The axes of a reduction, to be kept.
pub(super) fn axes_of(r: &Reduction) -> Axes {
    keep((0..r.input.rank()).filter(|&a| r.reduced[a]).collect::<Vec<usize>>())
}

pub(crate) fn samples() -> Vec<Sample> {
    let x = || Input::normal([2, 3, 4]);
    vec![
        Sample::new("sum", "all", [x()], |x| x[0].sum(..)),
        Sample::new("sum", "first", [x()], |x| x[0].sum(0)),
        Sample::new("sum", "last", [x()], |x| x[0].sum(-1)),
        Sample::new("sum", "outer two, kept", [x()], |x| x[0].sum(keep([0, 2]))),
        Sample::new("sum", "no axes", [x()], |x| x[0].sum(())),
        Sample::new("sum", "no elements", [Input::normal([0, 3])], |x| x[0].sum(0)),
        Sample::new("mean", "all", [x()], |x| x[0].mean(..)),
        Sample::new("mean", "middle", [x()], |x| x[0].mean(1)),
        Sample::new("var", "biased", [x()], |x| x[0].var([0, 2], 0)),
        Sample::new("var", "unbiased", [x()], |x| x[0].var(.., 1)),
        Sample::new("var", "one element", [x()], |x| x[0].var((), 0)),
        Sample::new("std", "biased, kept", [x()], |x| x[0].std(keep([0, 2]), 0)),
        Sample::new("std", "unbiased", [x()], |x| x[0].std(.., 1)),
        Sample::new("std", "x standardised", [x()], |x| &x[0] / x[0].std(keep([0, 2]), 0)),
        Sample::new("broadcast_to", "", [Input::normal([3, 1])], |x| x[0].broadcast_to([2, 3, 4])),
        Sample::new("broadcast_to", "no elements", [Input::normal([3, 1])], |x| x[0].broadcast_to([3, 0])),
    ]
}
