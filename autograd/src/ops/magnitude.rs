//! Two reductions that take care of magnitudes: the log of a sum of exponentials, and the Euclidean norm.

use crate::axis::{Axes, keep};
use crate::check::{Input, Sample};
use crate::dtype::{DType, dispatch};
use crate::kinds::fused::{Fused, fused};
use crate::ops::reduce::{reduction, sum_over};
use crate::shape::Reduction;
use crate::tensor::Tensor;

/// ln sum e^x over axes with at least one element.
#[derive(Clone, Copy, Debug)]
struct LogSumExp(Reduction);

impl Fused for LogSumExp {
    /// The value.
    type Kept = Tensor;
    const NAME: &'static str = "logsumexp";

    /// m + ln sum e^(x - m), where m is the maximum as a constant: m cancels, in all derivatives too.
    fn definition(&self, x: &[Tensor]) -> Tensor {
        let (x, r) = (&x[0], self.0.keeping());
        let max = x.value().max(axes_of(&r));
        let m = max.masked_fill(&max.abs().lt(f64::INFINITY).not(), 0.0);
        let sum = sum_over(r, &(x - &m).exp());
        // Rows of -infinity: the logarithm is never asked for its derivative at 0.
        let none = sum.eq(0.0);
        let log = sum.masked_fill(&none, 1.0).log().masked_fill(&none, f64::NEG_INFINITY);
        (log + m).reshape(self.0.output)
    }

    fn forward(&self, x: &[Tensor]) -> (Tensor, Tensor) {
        let r = &self.0;
        let y = dispatch!(x[0].dtype(), T => Tensor::build::<T>(r.output, |out| {
            kernels::reduce::logsumexp(x[0].slice::<T>(), &r.input, &r.reduced[..r.input.rank()], out);
        }));
        (y.clone(), y)
    }

    /// g e^(x - y) / sum e^(x - y), the softmax: in the quotient the rounding of y cancels.
    fn backward(&self, x: &[Tensor], y: &Tensor, g: &Tensor, _: &[bool]) -> Vec<Option<Tensor>> {
        let y = y.reshape(self.0.kept);
        let y = y.masked_fill(&y.eq(f64::NEG_INFINITY), 0.0);
        let e = (&x[0] - y).exp();
        let sum = sum_over(self.0.keeping(), &e);
        // 0 in rows of -infinity, NaN in those with +infinity.
        let sum = sum.masked_fill(&sum.gt(0.0).not(), 1.0);
        vec![Some(e * (g.reshape(self.0.kept) / sum))]
    }
}

/// sqrt sum x^2 over axes with at least one element.
#[derive(Clone, Copy, Debug)]
struct Norm(Reduction);

impl Fused for Norm {
    /// The value.
    type Kept = Tensor;
    const NAME: &'static str = "norm";

    /// s sqrt sum (x / s)^2, where s is the largest |x| as a constant: s cancels, in all derivatives too.
    fn definition(&self, x: &[Tensor]) -> Tensor {
        let (x, r) = (&x[0], self.0.keeping());
        let (least, most) = match x.dtype() {
            DType::F32 => (f32::MIN_POSITIVE.into(), f32::MAX.into()),
            DType::F64 => (f64::MIN_POSITIVE, f64::MAX),
        };
        let s = x.value().abs().max(axes_of(&r)).clamp(least, most);
        let scaled = x / &s;
        let squares = sum_over(r, &(&scaled * &scaled));
        // Rows of zeros: the root is never asked for its derivative at 0.
        let zero = squares.eq(0.0);
        let root = squares.masked_fill(&zero, 1.0).sqrt().masked_fill(&zero, 0.0);
        (root * s).reshape(self.0.output)
    }

    fn forward(&self, x: &[Tensor]) -> (Tensor, Tensor) {
        let r = &self.0;
        let y = dispatch!(x[0].dtype(), T => Tensor::build::<T>(r.output, |out| {
            kernels::reduce::norm(x[0].slice::<T>(), &r.input, &r.reduced[..r.input.rank()], out);
        }));
        (y.clone(), y)
    }

    /// g x / y, and 0 where y is
    fn backward(&self, x: &[Tensor], y: &Tensor, g: &Tensor, _: &[bool]) -> Vec<Option<Tensor>> {
        let y = y.reshape(self.0.kept);
        let y = y.masked_fill(&y.eq(0.0), 1.0);
        vec![Some(&x[0] / y * g.reshape(self.0.kept))]
    }
}

/// The axes of a reduction, to be kept.
fn axes_of(r: &Reduction) -> Axes {
    keep((0..r.input.rank()).filter(|&a| r.reduced[a]).collect::<Vec<usize>>())
}

impl Tensor {
    /// ln of the sum of e^x over `axes`, without overflow. Over elements that are all -infinity it is -infinity
    /// with gradient 0, over no elements -infinity; with a +infinity among them it is +infinity, and the
    /// gradient there is NaN.
    ///
    /// ```
    /// use autograd::Tensor;
    /// let x = Tensor::from([1000.0, 1000.0]);
    /// assert_eq!(x.logsumexp(..).item(), 1000.0 + 2f64.ln());
    /// ```
    ///
    /// # Panics
    /// As [`Tensor::sum`].
    #[track_caller]
    pub fn logsumexp(&self, axes: impl Into<Axes>) -> Tensor {
        let r = reduction("logsumexp", self, axes);
        if r.count() == 0 {
            return sum_over(r, self) + f64::NEG_INFINITY;
        }
        fused(LogSumExp(r), &[self])
    }

    /// The Euclidean norm over `axes`: the root of the sum of squares. Squares neither overflow nor vanish.
    /// Where all elements are 0 the gradient is 0, and so are all further derivatives. (The norm has none there. Those of its
    /// square do exist, but no rule for the norm alone can give them: for a second derivative of |x|^2 that is right at 0
    /// write `(&x * &x).sum(..)`.)
    ///
    /// # Panics
    /// As [`Tensor::sum`].
    #[track_caller]
    #[doc(alias = "norm_l2")]
    pub fn norm(&self, axes: impl Into<Axes>) -> Tensor {
        let r = reduction("norm", self, axes);
        if r.count() == 0 {
            return sum_over(r, self);
        }
        fused(Norm(r), &[self])
    }
}

pub(crate) fn samples() -> Vec<Sample> {
    let x = || Input::normal([2, 3, 4]);
    vec![
        Sample::new("logsumexp", "all", [x()], |x| x[0].logsumexp(..)),
        Sample::new("logsumexp", "last", [x()], |x| x[0].logsumexp(-1)),
        Sample::new("logsumexp", "outer two, kept", [x()], |x| x[0].logsumexp(keep([0, 2]))),
        Sample::new("logsumexp", "less x", [x()], |x| &x[0] - x[0].logsumexp(keep(1))),
        Sample::new("logsumexp", "far from 0", [Input::uniform(8.0, 10.0, [3, 2])], |x| x[0].logsumexp(1)),
        Sample::new("logsumexp", "some -infinity", [Input::normal([2, 3])], |x| {
            x[0].pad(&[(1, 0), (0, 1)], crate::Padding::Constant(f64::NEG_INFINITY))
                .logsumexp(0)
                .slice_axis(0, ..3)
        }),
        Sample::new("logsumexp", "no elements", [Input::normal([0, 3])], |x| x[0].logsumexp(1)),
        Sample::new("norm", "all", [x()], |x| x[0].norm(..)),
        Sample::new("norm", "last", [x()], |x| x[0].norm(-1)),
        Sample::new("norm", "outer two, kept", [x()], |x| x[0].norm(keep([0, 2]))),
        Sample::new("norm", "x made unit", [x()], |x| &x[0] / x[0].norm(keep(2))),
        Sample::new("norm", "one element", [Input::away_from(0.0, 0.2, [3])], |x| x[0].norm(())),
        Sample::new("norm", "of nothing", [Input::normal([2, 0])], |x| x[0].norm(1)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value's sum, and first to third derivatives in the direction of all ones.
    fn orders(x: &Tensor, f: impl Fn(&Tensor) -> Tensor) -> Vec<Vec<f64>> {
        let x = x.requires_grad();
        let y = f(&x);
        let mut list = vec![y.to_vec::<f64>()];
        let mut sum = y.sum(..);
        for _ in 0..3 {
            let d = sum.recorded().grad(&[&x]).remove(0);
            list.push(d.to_vec());
            sum = d.sum(..);
        }
        list
    }

    #[test]
    fn the_norm_of_zeros_is_flat_at_every_order() {
        for dtype in [DType::F32, DType::F64] {
            let x = Tensor::new(&[0.0, 0.0, 3.0, 4.0], [2, 2]).to_dtype(dtype);
            let found = orders(&x, |x| x.norm(1));
            assert_eq!(found[0], [0.0, 5.0]);
            for d in &found[1..] {
                assert_eq!(d[..2], [0.0, 0.0], "{found:?}");
                assert!(d.iter().all(|v| v.is_finite()), "{found:?}");
            }
            let x = x.requires_grad();
            let fast = x.norm(1).sum(..).backward()[&x].to_vec::<f64>();
            for (v, expected) in fast.iter().zip([0.0, 0.0, 0.6, 0.8]) {
                assert!((v - expected).abs() < 1e-7);
            }
        }
    }

    #[test]
    fn the_square_of_the_norm_is_as_documented_at_zeros() {
        let x = Tensor::zeros([2], DType::F64);
        assert_eq!(orders(&x, |x| x.norm(..) * x.norm(..))[2], [0.0, 0.0]);
        assert_eq!(orders(&x, |x| (x * x).sum(..))[2], [2.0, 2.0]);
    }

    #[test]
    fn tiny_and_huge_norms_keep_their_digits() {
        for scale in [1e-42f32, 1e-30, 1e-20, 1.0, 1e20, 1e30, 5e37] {
            let data = [3.0 * scale, -4.0 * scale];
            let x = Tensor::from(data).requires_grad();
            let near = |v: f64, e: f64| (v - e).abs() <= 1e-6 * e.abs() + f64::from(f32::from_bits(1));
            // Subnormal numbers have few digits: what is expected follows the data.
            let [a, b] = data.map(f64::from);
            let y = a.hypot(b);
            assert!(near(x.norm(..).item(), y), "{scale}: {}", x.norm(..).item());
            let loose = if scale < 1e-37 { 1e-2 } else { 1e-6 };
            let fast = x.norm(..).backward()[&x].to_vec::<f64>();
            let recorded = x.norm(..).recorded().grad(&[&x]).remove(0).to_vec::<f64>();
            for found in [fast, recorded] {
                assert!(
                    (found[0] - a / y).abs() < loose && (found[1] - b / y).abs() < loose,
                    "{scale}: {found:?}"
                );
            }
        }
    }

    #[test]
    fn rows_of_minus_infinity_have_no_gradient() {
        let inf = f64::INFINITY;
        let x = Tensor::from([[-inf, -inf], [0.0, -inf], [1.0, 1.0]]);
        let found = orders(&x, |x| x.logsumexp(1));
        assert_eq!(found[0], [-inf, 0.0, 1.0 + 2f64.ln()]);
        assert_eq!(found[1], [0.0, 0.0, 1.0, 0.0, 0.5, 0.5]);
        for d in &found[2..] {
            assert!(d.iter().all(|v| v.abs() < 1e-15), "{found:?}");
        }
        let x = x.requires_grad();
        let fast = x.logsumexp(1).sum(..).backward()[&x].to_vec::<f64>();
        assert_eq!(fast[..4], [0.0, 0.0, 1.0, 0.0]);
        assert!((fast[4] - 0.5).abs() < 1e-15 && (fast[5] - 0.5).abs() < 1e-15);
    }

    #[test]
    fn the_gradient_does_not_have_the_rounding_of_the_value() {
        for size in [1e4f32, 1e7, 1e30] {
            let x = Tensor::from([[size, size, -size], [-size, -size, -2.0 * size]]).requires_grad();
            let y = x.logsumexp(1).sum(..);
            for d in [y.grad(&[&x]), y.recorded().grad(&[&x])] {
                let d = d[0].to_vec::<f64>();
                let near = |(d, exact): (&f64, f64)| (d - exact).abs() < 6e-8 * exact + 1e-300;
                assert!(d.iter().zip([0.5, 0.5, 0.0, 0.5, 0.5, 0.0]).all(near), "{size:e}: {d:?}");
            }
        }
        // Finite entries beside an infinite one have no part in it.
        let x = Tensor::from([f64::INFINITY, 1.0]).requires_grad();
        let d = x.logsumexp(..).grad(&[&x])[0].to_vec::<f64>();
        assert!(d[0].is_nan() && d[1] == 0.0, "{d:?}");
    }

    #[test]
    fn large_exponents_do_not_overflow() {
        let x = Tensor::from([1e4f32, 1e4, -1e4]).requires_grad();
        let y = x.logsumexp(..);
        assert!((y.item() - (1e4 + 2f64.ln())).abs() < 2e-3);
        for recording in [false, true] {
            let d = if recording { y.recorded().grad(&[&x]) } else { y.grad(&[&x]) };
            for (v, expected) in d[0].to_vec::<f64>().iter().zip([0.5, 0.5, 0.0]) {
                assert!((v - expected).abs() < 1e-3, "{d:?}");
            }
        }
        assert_eq!(Tensor::from([f64::INFINITY, 0.0]).logsumexp(..).item(), f64::INFINITY);
        assert!(Tensor::from([f64::NAN, 0.0]).logsumexp(..).item().is_nan());
        assert_eq!(Tensor::zeros([0, 2], DType::F64).logsumexp(0).to_vec::<f64>(), [f64::NEG_INFINITY; 2]);
    }

    #[test]
    fn kernels_agree_with_definitions_where_there_is_no_number() {
        let inf = f64::INFINITY;
        for row in [[inf, 1.0], [-inf, 2.0], [f64::NAN, 1.0], [inf, -inf], [0.0, -0.0]] {
            let x = [Tensor::from(row)];
            let r = reduction("", &x[0], ..);
            let same = |a: f64, b: f64| a == b || a.is_nan() && b.is_nan() || (a - b).abs() < 1e-15;
            for (fast, slow) in [
                (LogSumExp(r).forward(&x).0, LogSumExp(r).definition(&x)),
                (Norm(r).forward(&x).0, Norm(r).definition(&x)),
            ] {
                assert!(same(fast.item(), slow.item()), "{row:?}: {fast:?}, {slow:?}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "norm: axis 2 is outside shape [2, 3], which has 2 axes")]
    fn the_axes_exist() {
        let _ = Tensor::zeros([2, 3], DType::F32).norm(2);
    }
}
