//! Functions of one and two numbers: exp, tanh, clamp, atan2, …

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use kernels::Real;

use crate::kinds::elementwise::{Unary, binary, unary};
use crate::ops::op_macros::{binary_ops, unary_ops};
use crate::sample::{Input, Sample};
use crate::tensor::Tensor;

unary_ops! {
    /// e^x; y' = y
    Exp "exp": |x, y| x.exp(); y;
    /// e^x - 1; y' = e^x
    Expm1 "expm1": |x, _y| x.exp_m1(); x.exp();
    /// ln x; y' = 1 / x
    Log "log": |x, _y| x.ln(); x.c(1.0) / x;
    /// ln(1 + x); y' = 1 / (1 + x)
    Log1p "log1p": |x, _y| x.ln_1p(); x.c(1.0) / (x.c(1.0) + x);
    /// sqrt x; y' = 1 / (2 sqrt x)
    Sqrt "sqrt": |x, _y| x.sqrt(); x.c(0.5) * x.rsqrt();
    /// 1 / sqrt x; y' = -y / (2 x)
    Rsqrt "rsqrt": |x, y| x.rsqrt(); y.c(-0.5) * y / x;
    /// |x|; y' = sign x
    Abs "abs": |x, _y| x.abs(); x.sign();
    /// the power of two at or below |x|, without gradient
    Binade "binade": |x, _y| x.binade(); x.c(0.0);
    /// sign x, without gradient
    Sign "sign": |x, _y| x.sign(); x.c(0.0);
    /// the largest integer at or below x, without gradient
    Floor "floor": |x, _y| x.floor(); x.c(0.0);
    /// the smallest integer at or above x, without gradient
    Ceil "ceil": |x, _y| x.ceil(); x.c(0.0);
    /// the nearest integer, without gradient
    Round "round": |x, _y| x.round(); x.c(0.0);
    /// 1 where x > 0 else 0, without gradient
    Step "step": |x, _y| x.step(); x.c(0.0);
    /// tanh x; y' = 1 - y^2 = 4 s(2 x) s(-2 x), s the sigmoid
    Tanh "tanh": |x, _y| x.tanh(); x.c(4.0) * (x.c(2.0) * x).map(LogisticDensity);
    /// s(x) = 1 / (1 + e^-x); y' = s(x) s(-x)
    Sigmoid "sigmoid": |x, _y| x.sigmoid(); x.map(LogisticDensity);
    /// s(x) s(-x), s the sigmoid: t / (1 + t)^2 with t = e^-|x|; y' = -y tanh(x / 2)
    LogisticDensity "logistic_density": |x, y| {
            let t = (-x.abs()).exp();
            let s = t.c(1.0) + t.clone();
            t / (s.clone() * s)
        };
        -(y * (x.c(0.5) * x).tanh());
    /// max(x, 0); y' = 1 where y > 0
    Relu "relu": |x, y| x.relu(); y.step();
    /// ln(1 + e^x); y' = sigmoid x
    Softplus "softplus": |x, _y| x.softplus(); x.sigmoid();
    /// the error function; y' = 2 / sqrt(pi) e^(-x^2)
    Erf "erf": |x, _y| x.erf(); x.c(FRAC_2_SQRT_PI) * x.map(Gaussian(1.0));
    /// 1 - erf x; y' = -2 / sqrt(pi) e^(-x^2)
    Erfc "erfc": |x, _y| x.erfc(); x.c(-FRAC_2_SQRT_PI) * x.map(Gaussian(1.0));
    /// Phi(x), the normal distribution function; y' = e^(-x^2 / 2) / sqrt(2 pi)
    NormalCdf "normal_cdf": |x, _y| x.normal_cdf(); normal_density(x);
    /// x Phi(x); y' = Phi(x) + x phi(x), phi the normal density
    Gelu "gelu": |x, _y| x.clone().map(Clamp { lo: -GAUSSIAN_END, hi: f64::INFINITY }) * x.map(NormalCdf);
        x.clone().map(NormalCdf) + x.clone().map(GAUSSIAN_SUPPORT) * normal_density(x);
    /// sin x; y' = cos x
    Sin "sin": |x, _y| x.sin(); x.cos();
    /// cos x; y' = -sin x
    Cos "cos": |x, _y| x.cos(); -x.sin();
    /// tan x; y' = 1 / cos(x)^2
    Tan "tan": |x, _y| x.tan(); x.map(Secant2);
    /// 1 / cos(x)^2; y' = 2 y tan x
    Secant2 "secant_squared": |x, y| {
            let c = x.cos();
            c.c(1.0) / (c.clone() * c)
        };
        y.c(2.0) * y * x.tan();
    /// arccos x; y' = -1 / sqrt(1 - x^2) inside (-1, 1), and 0 at and beyond the ends
    Acos "acos": |x, _y| x.acos(); -x.map(AcosSlope);
    /// 1 / sqrt(1 - x^2) inside (-1, 1), and 0 at and beyond the ends; y' = x y / (1 - x^2)
    AcosSlope "acos_slope": |x, y| {
            let (t, inside) = above_circle(x);
            inside * t.rsqrt()
        };
        x.clone() * y / above_circle(x).0;
}

binary_ops! {
    /// the angle of the point (b, a); by a: b / (a^2 + b^2), by b: -a / (a^2 + b^2), both 0 at the origin
    Atan2 "atan2": |a, b, _y| a.atan2(b);
        a.map2(b, AtanSlope);
        -b.map2(a, AtanSlope);
    /// b / (a^2 + b^2); by a: -2 a b / (a^2 + b^2)^2, by b: (a^2 - b^2) / (a^2 + b^2)^2, all 0 at the origin
    AtanSlope "atan_slope": |a, b, _y| over_square(b.clone(), a, b);
        a.c(-2.0) * over_square(a.clone(), a.clone(), b.clone()) * over_square(b.clone(), a, b);
        over_square(a.clone() - b.clone(), a.clone(), b.clone()) * over_square(a.clone() + b.clone(), a, b);
    /// the larger; the gradient goes to it, and to a if they are equal
    Maximum "maximum": |a, b, _y| a.max(b); a.c(1.0) - (b - a).step(); (b - a).step();
    /// the smaller; the gradient goes to it, and to a if they are equal
    Minimum "minimum": |a, b, _y| a.min(b); a.c(1.0) - (a - b).step(); (a - b).step();
}

/// n / (a^2 + b^2) without squares that over- or underflow; 0 at the origin, where n must be 0.
#[inline(always)]
fn over_square<R: Real>(n: R, a: R, b: R) -> R {
    let scale = a.clone().abs().max(b.clone().abs()).binade();
    let (a, b) = (a / scale.clone(), b / scale.clone());
    let square = a.clone() * a + b.clone() * b;
    let square = square.clone() + (square.c(1.0) - square.step());
    n / scale.clone() / square / scale
}

/// 1 - x^2 inside (-1, 1) and 1 elsewhere; 1 inside and 0 elsewhere. The factors keep the digits that are lost in x^2.
#[inline(always)]
fn above_circle<R: Real>(x: R) -> (R, R) {
    let t = (x.c(1.0) - x.clone()) * (x.c(1.0) + x);
    let inside = t.clone().step();
    (t * inside.clone() + (inside.c(1.0) - inside.clone()), inside)
}

/// e^(-x^2 / 2) / sqrt(2 pi)
#[inline(always)]
fn normal_density<R: Real>(x: R) -> R {
    x.c(0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2) * x.map(Gaussian(0.5))
}

/// For |x| from this value on e^(-x^2 / 2) is 0. Factors x are clamped to it, since 0 times infinity is NaN.
const GAUSSIAN_END: f64 = 40.0;
const GAUSSIAN_SUPPORT: Clamp = Clamp { lo: -GAUSSIAN_END, hi: GAUSSIAN_END };

/// e^(-c x^2) for a power of two c, at least 1/2
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gaussian(pub f64);
impl Unary for Gaussian {
    const NAME: &'static str = "gaussian";
    #[inline(always)]
    fn f<R: Real>(&self, x: R) -> R {
        x.gaussian(self.0)
    }
    #[inline(always)]
    fn d<R: Real>(&self, x: R, y: R) -> R {
        x.c(-2.0 * self.0) * x.map(GAUSSIAN_SUPPORT) * y
    }
}

/// x, but at least lo and at most hi; derivative 1 strictly inside, else 0
#[derive(Clone, Copy, Debug)]
pub(super) struct Clamp {
    pub lo: f64,
    pub hi: f64,
}
impl Unary for Clamp {
    const NAME: &'static str = "clamp";
    #[inline(always)]
    fn f<R: Real>(&self, x: R) -> R {
        let (lo, hi) = (x.c(self.lo), x.c(self.hi));
        x.max(lo).min(hi)
    }
    #[inline(always)]
    fn d<R: Real>(&self, x: R, _: R) -> R {
        let (lo, hi) = (x.c(self.lo), x.c(self.hi));
        (x.clone() - lo).step() * (hi - x).step()
    }
}

macro_rules! methods {
    ($($(#[$doc:meta])* $f:ident $op:ident;)*) => {
        /// # Elementwise functions
        impl Tensor {
            $($(#[$doc])*
            #[track_caller]
            pub fn $f(&self) -> Tensor {
                unary($op, self.clone())
            })*
        }
    };
}
/// # Functions used by derivatives
impl Tensor {
    /// The power of two of each element's magnitude, [`Real::binade`].
    pub(crate) fn binade(&self) -> Tensor {
        unary(Binade, self.clone())
    }

    /// e^(-c x^2), [`Real::gaussian`].
    pub(crate) fn gaussian(&self, c: f64) -> Tensor {
        unary(Gaussian(c), self.clone())
    }

    /// The distribution function of the standard normal.
    pub(crate) fn normal_cdf(&self) -> Tensor {
        unary(NormalCdf, self.clone())
    }
}

methods! {
    /// e^x.
    exp Exp;
    /// e^x - 1, exact for small x.
    #[doc(alias = "exp_m1")]
    expm1 Expm1;
    /// The natural logarithm: -infinity at 0, NaN below.
    #[doc(alias = "ln")]
    log Log;
    /// ln(1 + x), exact for small x.
    #[doc(alias = "ln_1p")]
    log1p Log1p;
    /// The square root; its derivative at 0 is infinite. For the length of a vector use [`Tensor::norm`], which
    /// has a gradient everywhere.
    sqrt Sqrt;
    /// 1 / sqrt(x).
    rsqrt Rsqrt;
    /// The absolute value, with derivative 0 at 0.
    abs Abs;
    /// -1, 0 or 1: piecewise constant, so its gradient is 0 everywhere.
    sign Sign;
    /// The largest integer that is not above x: piecewise constant, so its gradient is 0 everywhere.
    floor Floor;
    /// The smallest integer that is not below x: piecewise constant, so its gradient is 0 everywhere.
    ceil Ceil;
    /// The nearest integer, with halves rounded to even, as in PyTorch and NumPy (Rust's `f64::round` rounds halves
    /// away from 0): piecewise constant, so its gradient is 0 everywhere.
    #[doc(alias("round_ties_even", "rint"))]
    round Round;
    /// 1 where x > 0, else 0: piecewise constant, so its gradient is 0 everywhere.
    #[doc(alias = "heaviside")]
    step Step;
    /// The hyperbolic tangent.
    tanh Tanh;
    /// 1 / (1 + e^-x).
    sigmoid Sigmoid;
    /// max(x, 0), with derivative 0 at 0.
    relu Relu;
    /// ln(1 + e^x), without overflow.
    softplus Softplus;
    /// The error function 2 / sqrt(pi) * integral from 0 to x of e^(-t^2).
    erf Erf;
    /// The complementary error function 1 - erf(x), accurate where erf rounds to 1.
    erfc Erfc;
    /// x Phi(x), Phi the distribution function of the standard normal: the exact form of the Gaussian error
    /// linear unit (Hendrycks and Gimpel 2016, arXiv 1606.08415).
    gelu Gelu;
    /// The sine of radians.
    sin Sin;
    /// The cosine of radians.
    cos Cos;
    /// The tangent of radians.
    tan Tan;
    /// The arc cosine, in 0..=pi; NaN outside -1..=1. The derivative at -1 and 1 is taken as 0.
    acos Acos;
}

impl Tensor {
    /// At least `lo`, at most `hi`. The derivative is 1 strictly inside and 0 elsewhere, as in PyTorch.
    ///
    /// # Panics
    /// If `lo` > `hi` or either is NaN.
    #[track_caller]
    pub fn clamp(&self, lo: f64, hi: f64) -> Tensor {
        assert!(lo <= hi, "clamp: the bounds {lo} and {hi} must be numbers, the lower one first");
        unary(Clamp { lo, hi }, self.clone())
    }

    /// The angle of the point (`x`, `self`) in -pi..=pi, broadcasting. The gradient at the origin is 0.
    #[track_caller]
    pub fn atan2(&self, x: &Tensor) -> Tensor {
        binary(Atan2, self.into(), x.into())
    }

    /// The larger of two elements, broadcasting; NaN if either is. Where they are equal, `self` gets the gradient.
    #[track_caller]
    pub fn maximum(&self, other: &Tensor) -> Tensor {
        binary(Maximum, self.into(), other.into())
    }

    /// The smaller of two elements, broadcasting; NaN if either is. Where they are equal, `self` gets the gradient.
    #[track_caller]
    pub fn minimum(&self, other: &Tensor) -> Tensor {
        binary(Minimum, self.into(), other.into())
    }
}

pub(crate) fn samples() -> Vec<Sample> {
    let any = || Input::normal([3, 4]);
    let positive = || Input::uniform(0.3, 2.5, [3, 4]);
    let kinked = || Input::away_from(0.0, 0.2, [3, 4]);
    vec![
        Sample::new("exp", "", [any()], |x| x[0].exp()),
        Sample::new("expm1", "", [any()], |x| x[0].expm1()),
        Sample::new("log", "", [positive()], |x| x[0].log()),
        Sample::new("log1p", "", [Input::uniform(-0.7, 2.0, [3, 4])], |x| x[0].log1p()),
        Sample::new("sqrt", "", [positive()], |x| x[0].sqrt()),
        Sample::new("rsqrt", "", [positive()], |x| x[0].rsqrt()),
        Sample::new("abs", "", [kinked()], |x| x[0].abs()),
        Sample::new("sign", "times x", [kinked()], |x| x[0].sign() * &x[0]),
        Sample::new("floor", "times x", [Input::uniform(0.1, 0.9, [3, 4])], |x| {
            (&x[0] + 3.0).floor() * &x[0]
        }),
        Sample::new("ceil", "times x", [Input::uniform(0.1, 0.9, [3, 4])], |x| x[0].ceil() * &x[0]),
        Sample::new("round", "times x", [Input::uniform(0.6, 1.4, [3, 4])], |x| x[0].round() * &x[0]),
        Sample::new("tanh", "", [any()], |x| x[0].tanh()),
        Sample::new("sigmoid", "", [any()], |x| x[0].sigmoid()),
        Sample::new("relu", "", [kinked()], |x| x[0].relu()),
        Sample::new("relu", "squared", [kinked()], |x| x[0].relu() * x[0].relu()),
        Sample::new("softplus", "", [any()], |x| x[0].softplus()),
        Sample::new("erf", "", [any()], |x| x[0].erf()),
        Sample::new("erfc", "", [any()], |x| x[0].erfc()),
        Sample::new("gelu", "", [any()], |x| x[0].gelu()),
        Sample::new("sin", "", [any()], |x| x[0].sin()),
        Sample::new("cos", "", [any()], |x| x[0].cos()),
        Sample::new("tan", "", [Input::uniform(-1.2, 1.2, [3, 4])], |x| x[0].tan()),
        Sample::new("acos", "", [Input::uniform(-0.8, 0.8, [3, 4])], |x| x[0].acos()),
        Sample::new("clamp", "", [Input::away_from(0.5, 0.2, [3, 4])], |x| x[0].clamp(-5.0, 0.5)),
        Sample::new("atan2", "", [any(), Input::away_from(0.0, 0.4, [3, 4])], |x| x[0].atan2(&x[1])),
        Sample::new("atan2", "row", [any(), Input::away_from(0.0, 0.4, [4])], |x| x[0].atan2(&x[1])),
        Sample::new("maximum", "", [Input::apart([3, 4], 0), Input::apart([3, 4], 1)], |x| {
            x[0].maximum(&x[1])
        }),
        Sample::new("minimum", "row", [Input::apart([3, 4], 0), Input::apart([4], 1)], |x| {
            x[0].minimum(&x[1])
        }),
        Sample::new("exp", "no elements", [Input::normal([0])], |x| x[0].exp()),
        Sample::new("exp", "scalar", [Input::normal([])], |x| x[0].exp()),
    ]
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{DType, gradcheck};

    #[track_caller]
    pub(in crate::ops) fn first_and_second(f: impl Fn(&Tensor) -> Tensor, at: f64) -> [f64; 3] {
        let x = Tensor::from(at).requires_grad();
        let y = f(&x);
        let d = y.recorded().grad(&[&x]).remove(0);
        let dd = if d.is_tracked() { d.grad(&[&x])[0].item() } else { 0.0 };
        [y.item(), d.item(), dd]
    }

    #[test]
    fn infinities_and_nan_stay_in_their_element() {
        let inf = f64::INFINITY;
        let x = [-inf, inf, f64::NAN];
        let of = |f: fn(&Tensor) -> Tensor| x.map(|x| first_and_second(f, x));
        for (found, low, high) in [
            (of(Tensor::expm1), [-1.0, 0.0, 0.0], [inf; 3]),
            (of(Tensor::erfc), [2.0, 0.0, 0.0], [0.0; 3]),
            (of(Tensor::round), [-inf, 0.0, 0.0], [inf, 0.0, 0.0]),
            (of(Tensor::floor), [-inf, 0.0, 0.0], [inf, 0.0, 0.0]),
        ] {
            assert_eq!([found[0], found[1]], [low, high]);
            assert!(found[2][0].is_nan(), "{found:?}");
        }
        assert!(Tensor::from(inf).tan().item().is_nan());
    }

    #[test]
    fn singular_points_are_finite_at_every_order() {
        assert_eq!(first_and_second(|x| x.relu(), 0.0), [0.0, 0.0, 0.0]);
        assert_eq!(first_and_second(|x| x.abs(), 0.0), [0.0, 0.0, 0.0]);
        assert_eq!(first_and_second(|x| x.expm1(), 0.0), [0.0, 1.0, 1.0]);
        assert_eq!(first_and_second(|x| x.tan(), 0.0), [0.0, 1.0, 0.0]);
        for x in [-2.5, -0.5, 0.0, 0.5, 1.5] {
            assert_eq!(first_and_second(|x| x.round(), x), [f64::round_ties_even(x), 0.0, 0.0]);
            assert_eq!(first_and_second(|x| x.floor(), x), [f64::floor(x), 0.0, 0.0]);
            assert_eq!(first_and_second(|x| x.ceil(), x), [f64::ceil(x), 0.0, 0.0]);
        }
        assert_eq!(first_and_second(|x| x.clamp(-1.0, 1.0), 1.0), [1.0, 0.0, 0.0]);
        assert_eq!(first_and_second(|x| x.powf(0.0), 0.0), [1.0, 0.0, 0.0]);
        assert_eq!(first_and_second(|x| x.powf(1.0), 0.0), [0.0, 1.0, 0.0]);
        assert_eq!(first_and_second(|x| x.powf(2.0), 0.0), [0.0, 0.0, 2.0]);
        assert_eq!(first_and_second(|x| x.powi(2), 0.0), [0.0, 0.0, 2.0]);
        for end in [-1.0, 1.0] {
            let [y, d, dd] = first_and_second(|x| x.acos(), end);
            assert_eq!((y, d, dd), (end.acos(), 0.0, 0.0));
        }
        let zero = Tensor::from(0.0).requires_grad();
        let other = Tensor::from(0.0).requires_grad();
        let grads = zero.atan2(&other).grad(&[&zero, &other]);
        assert_eq!((grads[0].item(), grads[1].item()), (0.0, 0.0));
    }

    #[test]
    fn derivatives_in_the_tails_are_those_of_the_function() {
        let near =
            |found: f64, exact: f64| assert!((found / exact - 1.0).abs() < 1e-3, "{found:e}, not {exact:e}");
        let d = |f: fn(&Tensor) -> Tensor, at| first_and_second(f, at);
        near(d(Tensor::sigmoid, 37.43)[1], 5.551e-17);
        near(d(Tensor::tanh, 20.0)[1], 1.699e-17);
        near(d(Tensor::softplus, 40.0)[2], 4.248e-18);
        near(d(Tensor::gelu, -9.0)[0], -1.0158e-18);
        let x = Tensor::from([-5.5f32, -0.99988]);
        near(x.gelu().at(&[0]), -1.0444e-7);
        // The number that -0.99988 is in f32.
        let exact = -1.0 / (1.0 - x.at(&[1]) * x.at(&[1])).sqrt();
        let x = x.requires_grad();
        let found = x.acos().sum(..).grad(&[&x])[0].at(&[1]);
        assert!((found / exact - 1.0).abs() < 2e-7, "{found:e}, not {exact:e}");
    }

    #[test]
    fn functions_at_infinity_are_their_limits() {
        let inf = f64::INFINITY;
        assert_eq!(first_and_second(Tensor::gelu, -inf), [0.0, 0.0, 0.0]);
        assert_eq!(first_and_second(Tensor::gelu, inf), [inf, 1.0, 0.0]);
        assert_eq!(first_and_second(Tensor::erf, -inf), [-1.0, 0.0, 0.0]);
        assert_eq!(first_and_second(Tensor::sigmoid, -inf), [0.0, 0.0, 0.0]);
        assert_eq!(first_and_second(Tensor::tanh, inf), [1.0, 0.0, 0.0]);
        assert_eq!(first_and_second(Tensor::softplus, inf), [inf, 1.0, 0.0]);
        assert_eq!(first_and_second(|x| x.leaky_relu(0.0), -inf), [0.0, 0.0, 0.0]);
    }

    #[test]
    fn the_angle_has_derivatives_at_every_radius_and_the_same_mixed_ones() {
        for (radius, dtype) in
            [(1e-23, DType::F32), (1e20, DType::F32), (1e-200, DType::F64), (1e200, DType::F64)]
        {
            let a = Tensor::scalar(radius, dtype).requires_grad();
            let b = Tensor::scalar(-radius, dtype).requires_grad();
            let d = a.atan2(&b).grad(&[&a, &b]);
            for d in d {
                assert!((d.item() * radius + 0.5).abs() < 1e-6, "{d:?} at {radius}");
            }
        }
        for at in [[0.0, 0.0], [3.0, -4.0], [-1e-3, 1.0]] {
            let [a, b] = at.map(|v| Tensor::from(v).requires_grad());
            let d = a.atan2(&b).recorded().grad(&[&a, &b]);
            let [ab, ba] = [d[0].grad(&[&b])[0].item(), d[1].grad(&[&a])[0].item()];
            let square = at[0] * at[0] + at[1] * at[1];
            let exact = if square == 0.0 { 0.0 } else { (at[0] * at[0] - at[1] * at[1]) / (square * square) };
            assert!(ab == ba && (ab - exact).abs() <= 1e-15 * exact.abs(), "{ab:e}, {ba:e}, not {exact:e}");
        }
    }

    #[test]
    fn third_orders_are_right_too() {
        let x = Tensor::from([-1.7, -0.3, 0.4, 1.1]);
        for f in [Tensor::tanh, Tensor::sigmoid, Tensor::softplus, Tensor::erf, Tensor::gelu] {
            gradcheck(|x| f(&x[0]), std::slice::from_ref(&x), 3).assert();
        }
        let inside = &x * 0.5;
        gradcheck(|x| x[0].acos(), std::slice::from_ref(&inside), 3).assert();
        gradcheck(|x| x[0].atan2(&x[1]), &[x, inside + 0.9], 3).assert();
    }

    #[test]
    fn ties_go_to_the_first_operand() {
        let a = Tensor::from([1.0, 2.0]).requires_grad();
        let b = Tensor::from([1.0, 3.0]).requires_grad();
        let grads = a.maximum(&b).sum(..).backward();
        assert_eq!(grads[&a].to_vec::<f64>(), [1.0, 0.0]);
        assert_eq!(grads[&b].to_vec::<f64>(), [0.0, 1.0]);
    }

    #[test]
    fn saturated_functions_do_not_overflow() {
        assert_eq!(first_and_second(|x| x.softplus(), 1000.0), [1000.0, 1.0, 0.0]);
        assert_eq!(first_and_second(|x| x.sigmoid(), -1000.0), [0.0, 0.0, 0.0]);
        assert_eq!(first_and_second(|x| x.tanh(), 1000.0), [1.0, 0.0, 0.0]);
    }

    #[test]
    #[should_panic(expected = "clamp: the bounds 2 and 1 must be numbers, the lower one first")]
    fn a_clamp_needs_ordered_bounds() {
        let _ = Tensor::from(0.0).clamp(2.0, 1.0);
    }

    #[test]
    #[should_panic(expected = "add: shapes [3] and [4] do not broadcast: 3 against 4 at axis -1")]
    fn shapes_must_broadcast() {
        let _ = Tensor::from([0.0; 3]) + Tensor::from([0.0; 4]);
    }

    #[test]
    #[should_panic(expected = "mul: the operands are f64 [3] and f32 [3]; convert one with to_dtype")]
    fn dtypes_must_not_mix() {
        let _ = Tensor::from([0.0f64; 3]) * Tensor::from([0.0f32; 3]);
    }
}
