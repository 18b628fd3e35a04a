//! The Euclidean norm over axes.

use crate::axis::{Axes, keep};
use crate::dtype::{DType, dispatch};
use crate::kinds::fused::{Fused, fused};
use crate::ops::reduce::{axes_of, reduction, sum_over};
use crate::reduction::Reduction;
use crate::sample::{Input, Sample};
use crate::tensor::Tensor;

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
        // Rows of zeros: the derivative of the root at 0 is not evaluated.
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

    /// g x / y, and 0 where y is 0
    fn backward(&self, x: &[Tensor], y: &Tensor, g: &Tensor, _: &[bool]) -> Vec<Option<Tensor>> {
        let y = y.reshape(self.0.kept);
        let y = y.masked_fill(&y.eq(0.0), 1.0);
        vec![Some(&x[0] / y * g.reshape(self.0.kept))]
    }
}

impl Tensor {
    /// The Euclidean norm over `axes`: the root of the sum of squares. Squares neither overflow nor underflow. Where
    /// all elements are 0 the gradient is taken as 0, and so are all derivatives of higher order. (The norm is not
    /// differentiable there. Its square is, but a rule for the norm alone cannot give its derivatives: for a second
    /// derivative of |x|^2 that is correct at 0 write `(&x * &x).sum(..)`.)
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
    use crate::ops::logsumexp::LogSumExp;
    use crate::ops::logsumexp::tests::orders;

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
