//! Functions of one and two numbers: exp, tanh, powf, clamp, atan2, …

use kernels::Real;

use crate::check::{Input, Sample};
use crate::kinds::elementwise::{Unary, binary, unary};
use crate::ops::table::{binary_ops, unary_ops};
use crate::tensor::Tensor;

/// 2 / sqrt(pi), the slope of erf at 0.
const TWO_OVER_SQRT_PI: f64 = std::f64::consts::FRAC_2_SQRT_PI;

unary_ops! {
    /// e^x; y' = y
    Exp "exp": |x, y| x.exp(); y;
    /// ln x; y' = 1 / x
    Log "log": |x, _y| x.ln(); x.c(1.0) / x;
    /// ln(1 + x); y' = 1 / (1 + x)
    Log1p "log1p": |x, _y| x.ln_1p(); x.c(1.0) / (x.c(1.0) + x);
    /// sqrt x; y' = 1 / (2 y)
    Sqrt "sqrt": |x, y| x.sqrt(); y.c(0.5) / y;
    /// 1 / sqrt x; y' = -y^3 / 2
    Rsqrt "rsqrt": |x, y| x.rsqrt(); y.c(-0.5) * y.clone() * y.clone() * y;
    /// |x|; y' = sign x
    Abs "abs": |x, _y| x.abs(); x.sign();
    /// sign x, without gradient
    Sign "sign": |x, _y| x.sign(); x.c(0.0);
    /// 1 where x > 0 else 0, without gradient
    Step "step": |x, _y| x.step(); x.c(0.0);
    /// tanh x; y' = 1 - y^2
    Tanh "tanh": |x, y| x.tanh(); y.c(1.0) - y.clone() * y;
    /// 1 / (1 + e^-x); y' = y (1 - y)
    Sigmoid "sigmoid": |x, y| x.sigmoid(); y.clone() * (y.c(1.0) - y);
    /// max(x, 0); y' = 1 where y > 0
    Relu "relu": |x, y| x.relu(); y.step();
    /// ln(1 + e^x); y' = sigmoid x
    Softplus "softplus": |x, _y| x.softplus(); x.sigmoid();
    /// the error function; y' = 2 / sqrt(pi) e^(-x^2)
    Erf "erf": |x, _y| x.erf(); x.c(TWO_OVER_SQRT_PI) * (-(x.clone() * x)).exp();
    /// x Phi(x), Phi the normal distribution function; y' = Phi(x) + x phi(x)
    Gelu "gelu": |x, _y| x.clone() * normal_cdf(x); normal_cdf(x.clone()) + x.clone() * normal_density(x);
    /// sin x; y' = cos x
    Sin "sin": |x, _y| x.sin(); x.cos();
    /// cos x; y' = -sin x
    Cos "cos": |x, _y| x.cos(); -x.sin();
    /// arccos x; y' = -1 / sqrt(1 - x^2) inside (-1, 1), and 0 at and beyond the ends
    Acos "acos": |x, _y| x.acos(); {
        let t = x.c(1.0) - x.clone() * x.clone();
        let inside = t.clone().step();
        -(inside.clone() * (t.clone() * inside.clone() + (x.c(1.0) - inside)).rsqrt())
    };
}

binary_ops! {
    /// the angle of the point (b, a); by a: b / (a^2 + b^2), by b: -a / (a^2 + b^2), both 0 at the origin
    Atan2 "atan2": |a, b, _y| a.atan2(b);
        b.clone() / squared_radius(a, b);
        -(a.clone() / squared_radius(a, b));
    /// the larger; the gradient goes to it, and to a if they are equal
    Maximum "maximum": |a, b, _y| a.max(b); a.c(1.0) - (b - a).step(); (b - a).step();
    /// the smaller; the gradient goes to it, and to a if they are equal
    Minimum "minimum": |a, b, _y| a.min(b); a.c(1.0) - (a - b).step(); (a - b).step();
}

/// a^2 + b^2, and 1 where that is 0.
#[inline(always)]
fn squared_radius<R: Real>(a: R, b: R) -> R {
    let r = a.clone() * a + b.clone() * b;
    let zero = r.c(1.0) - r.clone().step();
    r + zero
}

/// (1 + erf(x / sqrt 2)) / 2
#[inline(always)]
fn normal_cdf<R: Real>(x: R) -> R {
    let one = x.c(1.0);
    x.c(0.5) * (one + (x.c(std::f64::consts::FRAC_1_SQRT_2) * x).erf())
}

/// e^(-x^2 / 2) / sqrt(2 pi)
#[inline(always)]
fn normal_density<R: Real>(x: R) -> R {
    let scale = 0.5 * TWO_OVER_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;
    x.c(scale) * (x.c(-0.5) * x.clone() * x).exp()
}

/// x^p
#[derive(Clone, Copy, Debug)]
struct Powf(f64);
impl Unary for Powf {
    const NAME: &'static str = "powf";
    #[inline(always)]
    fn f<R: Real>(&self, x: R) -> R {
        x.powf(self.0)
    }
    #[inline(always)]
    fn d<R: Real>(&self, x: R, _: R) -> R {
        // The constant function has derivative 0 also at x = 0, where x^-1 is infinite: 0 x^0.
        let less = if self.0 == 0.0 { 0.0 } else { self.0 - 1.0 };
        x.c(self.0) * x.powf(less)
    }
}

/// x^n for an integer n
#[derive(Clone, Copy, Debug)]
struct Powi(i32);
impl Unary for Powi {
    const NAME: &'static str = "powi";
    #[inline(always)]
    fn f<R: Real>(&self, x: R) -> R {
        x.powi(self.0)
    }
    #[inline(always)]
    fn d<R: Real>(&self, x: R, _: R) -> R {
        if self.0 == 0 { x.c(0.0) } else { x.c(f64::from(self.0)) * x.powi(self.0 - 1) }
    }
}

/// x where x > 0, slope * x elsewhere
#[derive(Clone, Copy, Debug)]
struct LeakyRelu(f64);
impl Unary for LeakyRelu {
    const NAME: &'static str = "leaky_relu";
    #[inline(always)]
    fn f<R: Real>(&self, x: R) -> R {
        x.clone().relu() - x.c(self.0) * (-x).relu()
    }
    #[inline(always)]
    fn d<R: Real>(&self, x: R, _: R) -> R {
        x.c(self.0) + x.c(1.0 - self.0) * x.step()
    }
}

/// x, but at least lo and at most hi; derivative 1 strictly inside, else 0
#[derive(Clone, Copy, Debug)]
struct Clamp {
    lo: f64,
    hi: f64,
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
        /// # Functions of every element
        impl Tensor {
            $($(#[$doc])*
            #[track_caller]
            pub fn $f(&self) -> Tensor {
                unary($op, self.clone())
            })*
        }
    };
}
methods! {
    /// e^x.
    exp Exp;
    /// The natural logarithm: -infinity at 0, NaN below.
    log Log;
    /// ln(1 + x), exact for small x.
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
    /// 1 where x > 0, else 0: piecewise constant, so its gradient is 0 everywhere.
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
    /// x Phi(x), Phi the distribution function of the standard normal: the exact form of the Gaussian error
    /// linear unit (Hendrycks and Gimpel 2016, arXiv 1606.08415).
    gelu Gelu;
    /// The sine of radians.
    sin Sin;
    /// The cosine of radians.
    cos Cos;
    /// The arc cosine, in 0..=pi; NaN outside -1..=1. The derivative at -1 and 1 is taken as 0.
    acos Acos;
}

impl Tensor {
    /// x^p for a constant p. x^0 is 1 with derivative 0 for every x; p = 1, 2 and -1 are exact. A negative x
    /// with a p that is not an integer gives NaN.
    #[track_caller]
    pub fn powf(&self, p: f64) -> Tensor {
        unary(Powf(p), self.clone())
    }

    /// x^n for an integer n.
    #[track_caller]
    pub fn powi(&self, n: i32) -> Tensor {
        unary(Powi(n), self.clone())
    }

    /// x where x > 0, `slope` * x elsewhere; the derivative at 0 is `slope`.
    #[track_caller]
    pub fn leaky_relu(&self, slope: f64) -> Tensor {
        unary(LeakyRelu(slope), self.clone())
    }

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
    let mut list = vec![
        Sample::new("exp", "", [any()], |x| x[0].exp()),
        Sample::new("log", "", [positive()], |x| x[0].log()),
        Sample::new("log1p", "", [Input::uniform(-0.7, 2.0, [3, 4])], |x| x[0].log1p()),
        Sample::new("sqrt", "", [positive()], |x| x[0].sqrt()),
        Sample::new("rsqrt", "", [positive()], |x| x[0].rsqrt()),
        Sample::new("abs", "", [kinked()], |x| x[0].abs()),
        Sample::new("sign", "times x", [kinked()], |x| x[0].sign() * &x[0]),
        Sample::new("tanh", "", [any()], |x| x[0].tanh()),
        Sample::new("sigmoid", "", [any()], |x| x[0].sigmoid()),
        Sample::new("relu", "", [kinked()], |x| x[0].relu()),
        Sample::new("relu", "squared", [kinked()], |x| x[0].relu() * x[0].relu()),
        Sample::new("leaky_relu", "", [kinked()], |x| x[0].leaky_relu(0.1)),
        Sample::new("softplus", "", [any()], |x| x[0].softplus()),
        Sample::new("erf", "", [any()], |x| x[0].erf()),
        Sample::new("gelu", "", [any()], |x| x[0].gelu()),
        Sample::new("sin", "", [any()], |x| x[0].sin()),
        Sample::new("cos", "", [any()], |x| x[0].cos()),
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
    ];
    for p in [0.0, 1.0, 2.0, -1.0, 3.0, 0.5, -1.7] {
        list.push(Sample::new("powf", format!("p = {p}"), [positive()], move |x| x[0].powf(p)));
    }
    for n in [0, 1, 2, 3, -1, -2] {
        list.push(Sample::new("powi", format!("n = {n}"), [kinked()], move |x| x[0].powi(n)));
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn first_and_second(f: impl Fn(&Tensor) -> Tensor, at: f64) -> [f64; 3] {
        let x = Tensor::from(at).requires_grad();
        let y = f(&x);
        let d = y.recorded().grad(&[&x]).remove(0);
        let dd = if d.is_tracked() { d.grad(&[&x])[0].item() } else { 0.0 };
        [y.item(), d.item(), dd]
    }

    #[test]
    fn singular_points_are_finite_at_every_order() {
        assert_eq!(first_and_second(|x| x.relu(), 0.0), [0.0, 0.0, 0.0]);
        assert_eq!(first_and_second(|x| x.abs(), 0.0), [0.0, 0.0, 0.0]);
        assert_eq!(first_and_second(|x| x.leaky_relu(0.1), 0.0), [0.0, 0.1, 0.0]);
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
        Tensor::from(0.0).clamp(2.0, 1.0);
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
