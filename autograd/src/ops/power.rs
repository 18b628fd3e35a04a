//! Elementwise powers.

use kernels::Real;

use crate::kinds::elementwise::{Unary, binary, unary};
use crate::ops::op_macros::binary_ops;
use crate::sample::{Input, Sample};
use crate::tensor::Tensor;

/// x^(p + low), where low is the rounding error of p
#[derive(Clone, Copy, Debug)]
struct Powf {
    p: f64,
    low: f64,
}
impl Powf {
    fn less_one(&self) -> Powf {
        let p = self.p - 1.0;
        // The error of a difference is representable (Knuth, The Art of Computer Programming 2, section 4.2.2).
        let one = self.p - p;
        let error = (self.p - (p + one)) + (one - 1.0);
        Powf { p, low: self.low + error }
    }
}
impl Unary for Powf {
    const NAME: &'static str = "powf";
    #[inline(always)]
    fn f<R: Real>(&self, x: R) -> R {
        if self.low == 0.0 {
            return x.powf(self.p);
        }
        // x^low = 1 + low ln x to sufficient precision; the bounds are for x = 0 and infinity.
        let lost = (x.c(self.low) * x.clone().abs().ln()).max(x.c(-0.5)).min(x.c(0.5));
        x.clone().powf(self.p) * (x.c(1.0) + lost)
    }
    #[inline(always)]
    fn d<R: Real>(&self, x: R, _: R) -> R {
        // The constant function has derivative 0 also at x = 0, where x^-1 is infinite.
        if self.p == 0.0 { x.c(0.0) } else { x.c(self.p) * x.map(self.less_one()) }
    }
}

/// x^n for an integer n: a product where it has at most four roundings
#[derive(Clone, Copy, Debug)]
struct Powi(i32);
impl Powi {
    const PRODUCTS: std::ops::RangeInclusive<i32> = -2..=5;
}
impl Unary for Powi {
    const NAME: &'static str = "powi";
    #[inline(always)]
    fn f<R: Real>(&self, x: R) -> R {
        if !Self::PRODUCTS.contains(&self.0) {
            return x.powf(self.0.into());
        }
        // Inverted first: the square of a large number can overflow where the square of its inverse does not.
        let x = if self.0 < 0 { x.c(1.0) / x } else { x };
        // Branches on n alone, which compilers hoist out of a loop one by one; a match they do not hoist.
        let size = self.0.abs();
        let y = if size >= 2 { x.clone() * x.clone() } else { x.clone() };
        let y = if size >= 4 { y.clone() * y } else { y };
        let y = if size == 3 || size == 5 { y * x.clone() } else { y };
        if size == 0 { x.c(1.0) } else { y }
    }
    #[inline(always)]
    fn d<R: Real>(&self, x: R, _: R) -> R {
        match self.0 {
            0 => x.c(0.0),
            i32::MIN => x.c(self.0.into()) * x.powf(f64::from(self.0) - 1.0),
            n => x.c(n.into()) * x.map(Powi(n - 1)),
        }
    }
}

binary_ops! {
    /// a^b; by a: b a^(b - 1), by b: y ln a
    Pow "pow": |a, b, y| a.pow(b);
        {
            let (p, low) = less_one(b.clone());
            // At a = b = 0 the factor b makes the derivative 0.
            let neither = absent(a.clone()) * absent(b.clone());
            let lost = (low * log_off_zero(a.clone().abs())).max(b.c(-0.5)).min(b.c(0.5));
            b * (a + neither.clone()).pow(p) * (neither.c(1.0) + lost)
        };
        y * log_off_zero(a);
}

/// 1 where x is 0, else 0
#[inline(always)]
fn absent<R: Real>(x: R) -> R {
    x.c(1.0) - x.abs().step()
}

/// b - 1 and its rounding error, as [`Powf::less_one`].
#[inline(always)]
fn less_one<R: Real>(b: R) -> (R, R) {
    let p = b.clone() - b.c(1.0);
    let one = b.clone() - p.clone();
    let low = (b - (p.clone() + one.clone())) + (one.clone() - one.c(1.0));
    (p, low)
}

/// ln a, but 0 at 0, and finite at infinity: a factor of it may be 0.
#[inline(always)]
fn log_off_zero<R: Real>(a: R) -> R {
    let end = a.c(1e3);
    (a.clone() + absent(a)).ln().min(end)
}

/// # Elementwise powers
impl Tensor {
    /// x^p for a constant p. x^0 is 1 with derivative 0 for every x; p = 1, 2 and -1 are exact. A negative number
    /// with a p that is not an integer gives NaN; infinities and p = infinity are those of C's pow.
    #[track_caller]
    pub fn powf(&self, p: f64) -> Tensor {
        unary(Powf { p, low: 0.0 }, self.clone())
    }

    /// self^exponent for a tensor of exponents, broadcasting. x^0 is 1 for every x; infinities and negative numbers are as
    /// in [`Tensor::powf`].
    ///
    /// The gradient by the base is p x^(p - 1): at x = 0 it is 0 for p = 0 and p > 1, and infinite for 0 < p < 1. The
    /// gradient by the exponent is y ln x: at x = 0 it is 0 for p >= 0, as in PyTorch, and for x < 0 it is NaN, also where
    /// y is a number. For one constant exponent, [`Tensor::powf`] is faster.
    ///
    /// ```
    /// # use autograd::Tensor;
    /// let x = Tensor::from([0.0, 2.0]).requires_grad();
    /// let p = Tensor::from([0.0, 3.0]).requires_grad();
    /// let y = x.pow(&p);
    /// assert_eq!(y.to_vec::<f64>(), [1.0, 8.0]);
    /// let [dx, dp] = y.sum(..).grad([&x, &p]);
    /// assert_eq!(dx.to_vec::<f64>(), [0.0, 12.0]);
    /// assert_eq!(dp.to_vec::<f64>(), [0.0, 8.0 * 2f64.ln()]);
    /// ```
    ///
    /// # Panics
    /// If the dtypes differ or the shapes do not broadcast.
    #[track_caller]
    pub fn pow(&self, exponent: &Tensor) -> Tensor {
        binary(Pow, self.into(), exponent.into())
    }

    /// x^n for an integer n, of negative x too. x^0 is 1 with derivative 0 for every x.
    #[track_caller]
    pub fn powi(&self, n: i32) -> Tensor {
        unary(Powi(n), self.clone())
    }
}

pub(crate) fn samples() -> Vec<Sample> {
    let positive = || Input::uniform(0.3, 2.5, [3, 4]);
    let kinked = || Input::away_from(0.0, 0.2, [3, 4]);
    let mut list = vec![];
    for p in [0.0, 1.0, 2.0, -1.0, 3.0, 0.5, -1.7] {
        list.push(Sample::new("powf", format!("p = {p}"), [positive()], move |x| x[0].powf(p)));
    }
    for n in [0, 1, 2, 3, 5, 6, -1, -2, -3] {
        list.push(Sample::new("powi", format!("n = {n}"), [kinked()], move |x| x[0].powi(n)));
    }
    list.push(Sample::new("pow", "", [positive(), Input::normal([3, 4])], |x| x[0].pow(&x[1])));
    list.push(Sample::new("pow", "row of exponents", [positive(), Input::normal([4])], |x| x[0].pow(&x[1])));
    list.push(Sample::new("pow", "with itself", [positive()], |x| x[0].pow(&x[0])));
    list.push(Sample::new("pow", "no elements", [Input::normal([0]), Input::normal([0])], |x| {
        x[0].pow(&x[1])
    }));
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;

    #[test]
    fn the_smallest_exponent_has_a_derivative() {
        for x in [Tensor::from([-1.0]), Tensor::from([-1f32])] {
            let x = x.requires_grad();
            assert_eq!(x.powi(i32::MIN).grad(&[&x])[0].item(), -f64::from(i32::MIN));
            assert_eq!(
                x.powi(i32::MAX).grad(&[&x])[0].item(),
                Tensor::scalar(i32::MAX.into(), x.dtype()).item()
            );
        }
    }

    #[test]
    fn singular_powers_have_the_stated_gradients() {
        let inf = f64::INFINITY;
        // base, exponent, value, by the base, by the exponent
        for [x, p, y, by_x, by_p] in [
            [0.0, 0.0, 1.0, 0.0, 0.0],
            [0.0, 1.0, 0.0, 1.0, 0.0],
            [0.0, 2.0, 0.0, 0.0, 0.0],
            [0.0, 0.5, 0.0, inf, 0.0],
            [3.0, 0.0, 1.0, 0.0, 3f64.ln()],
            [1.0, 5.0, 1.0, 5.0, 0.0],
            [inf, -1.0, 0.0, -0.0, 0.0],
            [-2.0, 3.0, -8.0, 12.0, f64::NAN],
            [-2.0, 0.5, f64::NAN, f64::NAN, f64::NAN],
        ] {
            for dtype in [DType::F32, DType::F64] {
                let [x, p] = [x, p].map(|v| Tensor::scalar(v, dtype).requires_grad());
                let z = x.pow(&p);
                for found in [z.grad([&x, &p]), z.recorded().grad([&x, &p])] {
                    let near =
                        |a: f64, b: f64| a == b || a.is_nan() && b.is_nan() || (a - b).abs() < 1e-6 * b.abs();
                    let found = [z.item(), found[0].item(), found[1].item()];
                    assert!(
                        found.iter().zip([y, by_x, by_p]).all(|(&a, b)| near(a, b)),
                        "{found:?} {y} {by_x} {by_p}"
                    );
                }
            }
        }
    }

    #[test]
    fn second_derivatives_at_base_0_are_finite_where_the_first_is_0() {
        for p in [0.0, 2.0, 3.0] {
            let [x, p] = [0.0, p].map(|v| Tensor::from(v).requires_grad());
            let [dx, dp] = x.pow(&p).recorded().grad([&x, &p]);
            for d in dx.grad([&x, &p]).iter().chain(&dp.grad([&x, &p])) {
                assert!(d.item().is_finite(), "{p:?}: {d:?}");
            }
        }
    }

    #[test]
    fn small_exponents_keep_the_digits_of_their_derivative() {
        // b - 1 loses b's last digits, which ln a multiplies by 80.
        let (a, b) = (1e35f32, 1.234_568e-3f32);
        let [x, p] = [a, b].map(|v| Tensor::from(v).requires_grad());
        let exact = f64::from(b) * f64::from(a).powf(f64::from(b) - 1.0);
        let found = x.pow(&p).grad(&x).item();
        assert!((found / exact - 1.0).abs() < 3.0 * 6e-8, "{found:e} {exact:e}");
    }

    #[test]
    fn infinite_bases_and_exponents_are_those_of_c() {
        for (x, p, exact) in
            [(-f32::INFINITY, 0.5, f64::INFINITY), (-f32::INFINITY, -0.5, 0.0), (1.0, f64::INFINITY, 1.0)]
        {
            assert_eq!(Tensor::from([x]).powf(p).item(), exact);
            assert_eq!(Tensor::from([f64::from(x)]).powf(p).item(), exact);
        }
    }
}
