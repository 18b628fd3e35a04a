//! Softmax and its logarithm, over any axis.

use kernels::softmax;

use crate::axis::Axis;
use crate::axis::keep;
use crate::dtype::dispatch;
use crate::kinds::fused::{Fused, fused};
use crate::ops::reduce::reduction;
use crate::sample::{Input, Sample};
use crate::tensor::Tensor;

/// e^x_i / sum_j e^x_j over the last axis.
#[derive(Clone, Copy, Debug)]
struct Softmax;
/// x_i - ln sum_j e^x_j over the last axis.
#[derive(Clone, Copy, Debug)]
struct LogSoftmax;

impl Fused for Softmax {
    /// The value.
    type Kept = Tensor;
    const NAME: &'static str = "softmax";

    fn definition(&self, x: &[Tensor]) -> Tensor {
        let e = (&x[0] - largest(&x[0].value())).exp();
        &e / e.sum(keep(-1))
    }

    fn forward(&self, x: &[Tensor]) -> (Tensor, Tensor) {
        let x = &x[0];
        let y = dispatch!(x.dtype(), T => Tensor::build::<T>(*x.shape(), |y| {
            softmax::softmax_forward(x.slice(), classes(x), y);
        }));
        (y.clone(), y)
    }

    fn backward(&self, _: &[Tensor], y: &Tensor, g: &Tensor, _: &[bool]) -> Vec<Option<Tensor>> {
        vec![Some(dispatch!(y.dtype(), T => Tensor::build::<T>(*y.shape(), |dx| {
            softmax::softmax_backward(y.slice(), g.slice(), classes(y), dx);
        })))]
    }

    fn recorded(&self, x: &[Tensor], _: &Tensor, g: &Tensor, _: &[bool]) -> Option<Vec<Option<Tensor>>> {
        let y = x[0].softmax(-1);
        let dx = &y * (g - (g * &y).sum(keep(-1)));
        Some(vec![Some(balanced(dx, &y))])
    }
}

impl Fused for LogSoftmax {
    /// The value.
    type Kept = Tensor;
    const NAME: &'static str = "log_softmax";

    fn definition(&self, x: &[Tensor]) -> Tensor {
        let d = &x[0] - largest(&x[0].value());
        &d - d.exp().sum(keep(-1)).log()
    }

    fn forward(&self, x: &[Tensor]) -> (Tensor, Tensor) {
        let x = &x[0];
        let y = dispatch!(x.dtype(), T => Tensor::build::<T>(*x.shape(), |y| {
            softmax::log_softmax_forward(x.slice(), classes(x), y);
        }));
        (y.clone(), y)
    }

    fn backward(&self, _: &[Tensor], y: &Tensor, g: &Tensor, _: &[bool]) -> Vec<Option<Tensor>> {
        vec![Some(dispatch!(y.dtype(), T => Tensor::build::<T>(*y.shape(), |dx| {
            softmax::log_softmax_backward(y.slice(), g.slice(), classes(y), dx);
        })))]
    }

    fn recorded(&self, x: &[Tensor], _: &Tensor, g: &Tensor, _: &[bool]) -> Option<Vec<Option<Tensor>>> {
        let p = x[0].softmax(-1);
        let dx = g - &p * g.sum(keep(-1));
        Some(vec![Some(balanced(dx, &p))])
    }
}

/// Gradients whose rows sum to 0: an entry with most of the probability p is replaced by minus the sum of the others,
/// since 1 - p has fewer correct digits than the sum of the other probabilities. The kernels do the same.
fn balanced(dx: Tensor, p: &Tensor) -> Tensor {
    let sure = p.gt(0.75);
    if !sure.any() {
        return dx;
    }
    let others = dx.masked_fill(&sure, 0.0);
    sure.select(&-others.sum(keep(-1)), &others)
}

/// The length of the last axis.
fn classes(x: &Tensor) -> usize {
    x.shape()[x.rank() - 1]
}

/// The largest element along the last axis, kept as an axis of size 1; x is outside every graph. (Softmax does
/// not change when a constant is subtracted from x: this one keeps e^x from overflowing.)
pub(super) fn largest(x: &Tensor) -> Tensor {
    let r = reduction("max", x, keep(-1));
    if x.numel() == 0 {
        return Tensor::zeros(r.output, x.dtype());
    }
    let mut winners = vec![0; r.output.numel()];
    dispatch!(x.dtype(), T => Tensor::build::<T>(r.output, |out| {
        kernels::reduce::max(x.slice(), &r.input, &r.reduced[..r.input.rank()], out, &mut winners);
    }))
}

/// # Softmax
impl Tensor {
    /// e^x_i / sum_j e^x_j along `axis`: positive numbers that sum to 1, without overflow.
    ///
    /// An element of -infinity gets 0; a row of nothing else, or with +infinity or NaN, is NaN.
    ///
    /// # Panics
    /// If `axis` is not an axis.
    ///
    /// ```
    /// # use autograd::Tensor;
    /// let y = Tensor::from([[0.0, 3f64.ln()]]).softmax(1);
    /// assert!((y.at(&[0, 1]) - 0.75).abs() < 1e-15);
    /// ```
    #[track_caller]
    pub fn softmax(&self, axis: impl Into<Axis>) -> Tensor {
        let axis = self.axis("softmax", axis);
        along(axis, self, |x| fused(Softmax, &[x]))
    }

    /// x_i - ln sum_j e^x_j along `axis`: the logarithm of [`Tensor::softmax`], accurate even where that rounds to 0 or
    /// 1.
    ///
    /// # Panics
    /// If `axis` is not an axis.
    #[track_caller]
    pub fn log_softmax(&self, axis: impl Into<Axis>) -> Tensor {
        let axis = self.axis("log_softmax", axis);
        along(axis, self, |x| fused(LogSoftmax, &[x]))
    }
}

/// Applies `f`, which acts on the last axis, along `axis`.
#[track_caller]
fn along(axis: usize, x: &Tensor, f: impl FnOnce(&Tensor) -> Tensor) -> Tensor {
    if axis + 1 == x.rank() {
        return f(x);
    }
    f(&x.transpose(axis as isize, -1)).transpose(axis as isize, -1)
}

pub(crate) fn samples() -> Vec<Sample> {
    let mut list = vec![];
    for (case, dims, axis) in [
        ("last axis", &[3, 4][..], -1),
        ("first axis", &[3, 4], 0),
        ("middle axis", &[2, 3, 2], 1),
        ("vector", &[5], 0),
        ("long rows", &[1, 37], 1),
        ("one element", &[3, 1], 1),
        ("no rows", &[0, 3], 1),
        ("empty rows", &[3, 0], 1),
    ] {
        let x = || [Input::normal(dims)];
        list.push(Sample::new("softmax", case, x(), move |x| x[0].softmax(axis)));
        list.push(Sample::new("log_softmax", case, x(), move |x| x[0].log_softmax(axis)));
    }
    list.push(Sample::new("softmax", "of its square", [Input::normal([2, 3])], |x| {
        (&x[0] * &x[0]).softmax(1) * &x[0]
    }));
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck;

    #[test]
    fn large_and_infinite_elements() {
        let x = Tensor::from([[1000.0, 1000.0], [-1000.0, 0.0], [f64::NEG_INFINITY, 5.0]]).requires_grad();
        let (p, l) = (x.softmax(1), x.log_softmax(1));
        assert_eq!(p.to_vec::<f64>(), [0.5, 0.5, 0.0, 1.0, 0.0, 1.0]);
        let half = 0.5f64.ln();
        assert_eq!(l.to_vec::<f64>(), [half, half, -1000.0, 0.0, f64::NEG_INFINITY, 0.0]);
        let g = Tensor::from([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]);
        assert_eq!(l.vjp(&g, &[&x])[0].to_vec::<f64>(), [0.5, -0.5, 1.0, -1.0, 0.0, 0.0]);
        assert!(l.recorded().vjp(&g, &[&x])[0].is_finite());
    }

    #[test]
    fn gradients_of_a_sure_row_have_all_their_digits() {
        let p = (-37.43f64).exp() / (1.0 + (-37.43f64).exp());
        let x = Tensor::from([[37.43, 0.0], [0.0, 37.43]]).requires_grad();
        let g = Tensor::from([[1.0, 0.0]; 2]);
        let cases = [(x.log_softmax(1), [p, -p, 1.0 - p, p - 1.0]), (x.softmax(1), [p, -p, p, -p])];
        for (y, exact) in cases {
            for d in [y.vjp(&g, &[&x]), y.recorded().vjp(&g, &[&x])] {
                let d = d[0].to_vec::<f64>();
                assert!(
                    d.iter().zip(exact).all(|(d, exact)| (d / exact - 1.0).abs() < 1e-14),
                    "{d:?}, not {exact:?}"
                );
            }
        }
    }

    #[test]
    fn the_third_order_of_a_sure_row_is_right_too() {
        let x = Tensor::from([[3.0, 0.5, -0.4], [0.1, 0.2, 0.3]]);
        gradcheck(|x| x[0].softmax(1), std::slice::from_ref(&x), 3).assert();
        gradcheck(|x| x[0].log_softmax(1), std::slice::from_ref(&x), 3).assert();
    }

    #[test]
    #[should_panic(expected = "softmax: axis 2 is outside shape [2, 3], which has 2 axes")]
    fn the_axis_must_exist() {
        let _ = Tensor::from([[0.0; 3]; 2]).softmax(2);
    }
}
