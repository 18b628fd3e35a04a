//! Lp norms over axes.

use crate::axis::{Axes, keep};
use crate::dtype::DType;
use crate::ops::reduce::{reduction, sum_over};
use crate::sample::{Input, Sample};
use crate::tensor::Tensor;

impl Tensor {
    /// The Lp norm over `axes`, (sum |x|^p)^(1/p): for p = 2 the Euclidean norm, [`Tensor::norm`]; for p = infinity the
    /// largest |x|, for p = -infinity the smallest; for p = 0 the number of elements that are not 0. 0 over no elements.
    ///
    /// Powers neither overflow nor underflow: the largest |x| is factored out. An element that is 0 has gradient 0, at
    /// every order and for every p, also below 1, where the derivative next to 0 is infinite. Of several elements with
    /// the largest (or smallest) |x| the first receives the gradient.
    ///
    /// ```
    /// # use autograd::{Tensor, keep};
    /// let x = Tensor::from([[3.0, -4.0], [0.0, 1.0]]);
    /// assert_eq!(x.vector_norm(1.0, 1).to_vec::<f64>(), [7.0, 1.0]);
    /// assert_eq!(x.vector_norm(f64::INFINITY, keep(..)).item(), 4.0);
    /// ```
    ///
    /// # Panics
    /// As [`Tensor::sum`], or if p is NaN or a negative number that is not -infinity, or -infinity over no elements.
    #[track_caller]
    #[doc(alias("lp_norm", "norm_l1", "norm_max"))]
    pub fn vector_norm(&self, p: f64, axes: impl Into<Axes>) -> Tensor {
        let axes = axes.into();
        let r = reduction("vector_norm", self, axes.clone());
        assert!(
            p >= 0.0 || p == f64::NEG_INFINITY,
            "vector_norm: the order p = {p} must be at least 0, or -infinity"
        );
        if p == f64::NEG_INFINITY {
            return self.abs().min(axes);
        }
        if r.count() == 0 {
            return sum_over(r, self);
        }
        if p == 0.0 {
            return sum_over(r, &self.sign().abs());
        } else if p == 1.0 {
            return sum_over(r, &self.abs());
        } else if p == 2.0 {
            return self.norm(axes);
        } else if p == f64::INFINITY {
            return self.abs().max(axes);
        }
        let (least, most) = match self.dtype() {
            DType::F32 => (f32::MIN_POSITIVE.into(), f32::MAX.into()),
            DType::F64 => (f64::MIN_POSITIVE, f64::MAX),
        };
        // The scale is a constant: it cancels, in all derivatives too.
        let scale = self.value().abs().max(keep(axes)).clamp(least, most);
        // Elements that are 0 are left out of the power, and so are its derivatives there, which may be infinite.
        let ratio = (self / &scale).abs();
        let absent = ratio.eq(0.0);
        let power = ratio.masked_fill(&absent, 1.0).powf(p).masked_fill(&absent, 0.0);
        let sum = sum_over(r.keeping(), &power);
        // Rows of zeros: the derivative of the root at 0 is not evaluated.
        let zero = sum.eq(0.0);
        let root = sum.masked_fill(&zero, 1.0).powf(1.0 / p).masked_fill(&zero, 0.0);
        (root * scale).reshape(r.output)
    }
}

pub(crate) fn samples() -> Vec<Sample> {
    let x = || Input::away_from(0.0, 0.2, [2, 3, 4]);
    let mut list = vec![
        Sample::new("vector_norm", "p = 3, all, kept", [x()], |x| x[0].vector_norm(3.0, keep(..))),
        Sample::new("vector_norm", "x made unit", [x()], |x| &x[0] / x[0].vector_norm(3.0, keep(2))),
        Sample::new("vector_norm", "no elements", [Input::normal([2, 0])], |x| x[0].vector_norm(3.0, 1)),
        Sample::new("vector_norm", "one element", [Input::away_from(0.0, 0.2, [3, 1])], |x| {
            x[0].vector_norm(1.5, 1)
        }),
        Sample::new("vector_norm", "p = infinity", [Input::apart([2, 3, 4], 1)], |x| {
            (&x[0] + 20.0).vector_norm(f64::INFINITY, -1)
        }),
        Sample::new("vector_norm", "p = -infinity", [Input::apart([2, 3, 4], 1)], |x| {
            (&x[0] - 20.0).vector_norm(f64::NEG_INFINITY, -1)
        }),
    ];
    for p in [0.5, 1.0, 1.5, 2.0, 4.0] {
        list.push(Sample::new("vector_norm", format!("p = {p}"), [x()], move |x| x[0].vector_norm(p, 1)));
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norms_are_those_of_their_order_at_every_magnitude() {
        for scale in [1e-300, 1.0, 1e300] {
            let x = Tensor::from([3.0 * scale, -4.0 * scale, 0.0]);
            for (p, exact) in [
                (1.0, 7.0),
                (2.0, 5.0),
                (3.0, 91f64.cbrt()),
                (0.5, (3f64.sqrt() + 2.0).powi(2)),
                (f64::INFINITY, 4.0),
                (f64::NEG_INFINITY, 0.0),
            ] {
                let found = x.vector_norm(p, ..).item();
                assert!((found - exact * scale).abs() <= 1e-15 * exact * scale, "{p}: {found:e}");
            }
            assert_eq!(x.vector_norm(0.0, 0).item(), 2.0);
        }
    }

    #[test]
    fn zeros_have_gradient_0_at_every_order() {
        for p in [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, f64::INFINITY] {
            for data in [[0.0, 0.0], [0.0, 2.0]] {
                let x = Tensor::from(data).requires_grad();
                let y = x.vector_norm(p, ..);
                for d in [y.grad(&x), y.recorded().grad(&x)] {
                    assert!(d.at(&[0]) == 0.0 && d.is_finite(), "{p}, {data:?}: {d:?}");
                }
                let d = y.recorded().grad(&x).sum(..);
                assert!(!d.is_tracked() || d.grad(&x).is_finite(), "{p}, {data:?}");
            }
        }
    }

    #[test]
    fn nan_and_infinity_stay_in_their_row() {
        let x = Tensor::from([[f64::NAN, 1.0], [f64::INFINITY, 1.0], [1.0, 1.0]]);
        for p in [1.0, 2.0, 3.0, f64::INFINITY] {
            let y = x.vector_norm(p, 1).to_vec::<f64>();
            assert!(y[0].is_nan() && y[1] == f64::INFINITY && y[2].is_finite(), "{p}: {y:?}");
        }
    }

    #[test]
    #[should_panic(expected = "vector_norm: the order p = -1 must be at least 0, or -infinity")]
    fn negative_orders_are_refused() {
        let _ = Tensor::from([1.0]).vector_norm(-1.0, ..);
    }
}
