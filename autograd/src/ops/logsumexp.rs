//! The logarithm of a sum of exponentials.

use crate::axis::{Axes, keep};
use crate::dtype::dispatch;
use crate::kinds::fused::{Fused, fused};
use crate::ops::reduce::{axes_of, reduction, sum_over};
use crate::reduction::Reduction;
use crate::sample::{Input, Sample};
use crate::tensor::Tensor;

/// ln sum e^x over axes with at least one element.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogSumExp(pub Reduction);

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
        // Rows of -infinity: the derivative of the logarithm at 0 is not evaluated.
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
    ]
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::DType;

    /// The value's sum, and first to third derivatives in the direction of all ones.
    pub fn orders(x: &Tensor, f: impl Fn(&Tensor) -> Tensor) -> Vec<Vec<f64>> {
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
        // Finite entries beside an infinite one do not contribute.
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
}
