//! Numbers: the two element types, and the abstract number that formulas are written for.

use std::fmt::Debug;
use std::marker::PhantomData;
use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::aligned::Zeroable;
use crate::math::Math;

/// What a formula needs of a number. Implemented by f32, f64, the SIMD lanes of both ([`Num`]) and, one crate
/// up, by tensors: a derivative is written once for both the fast loop and the graph.
///
/// There are no comparisons, since a tensor has no single truth value: formulas are branch-free, with
/// [`Real::step`] and [`Real::sign`] where cases must be distinguished.
pub trait Real:
    Clone + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> + Neg<Output = Self>
{
    /// The constant `v`, of the same kind as `self`.
    fn c(&self, v: f64) -> Self;
    /// e^x.
    fn exp(self) -> Self;
    /// e^x - 1, exact for small x.
    fn exp_m1(self) -> Self;
    /// The natural logarithm.
    fn ln(self) -> Self;
    /// ln(1 + x), exact for small x.
    fn ln_1p(self) -> Self;
    /// The square root.
    fn sqrt(self) -> Self;
    /// 1 / sqrt(x).
    fn rsqrt(self) -> Self;
    /// |x|.
    fn abs(self) -> Self;
    /// The largest power of two that is not above |x|, but at least the smallest normal number: numbers near x are
    /// divided by it without rounding. Its derivative is 0 everywhere.
    fn binade(self) -> Self;
    /// -1, 0 or 1. Its derivative is 0 everywhere.
    fn sign(self) -> Self;
    /// 1 where x > 0, else 0. Its derivative is 0 everywhere.
    fn step(self) -> Self;
    /// The largest integer that is not above x. Its derivative is 0 everywhere.
    fn floor(self) -> Self;
    /// The smallest integer that is not below x. Its derivative is 0 everywhere.
    fn ceil(self) -> Self;
    /// The nearest integer, with halves rounded to even. Its derivative is 0 everywhere.
    fn round(self) -> Self;
    /// max(x, 0), with derivative 0 at 0. NaN gives NaN.
    fn relu(self) -> Self;
    /// The hyperbolic tangent.
    fn tanh(self) -> Self;
    /// 1 / (1 + e^-x).
    fn sigmoid(self) -> Self;
    /// ln(1 + e^x), without overflow.
    fn softplus(self) -> Self;
    /// The error function 2/sqrt(pi) * integral of e^(-t^2) from 0 to x.
    fn erf(self) -> Self;
    /// The complementary error function 1 - erf x, accurate in its tail.
    fn erfc(self) -> Self;
    /// Sine of radians.
    fn sin(self) -> Self;
    /// Cosine of radians.
    fn cos(self) -> Self;
    /// Tangent of radians.
    fn tan(self) -> Self;
    /// Arc cosine, in 0..=pi.
    fn acos(self) -> Self;
    /// The angle of the point (x, y) = (other, self), in -pi..=pi.
    fn atan2(self, other: Self) -> Self;
    /// e^(-c x^2) for a constant c, a power of two that is at least 1/2.
    fn gaussian(self, c: f64) -> Self;
    /// The distribution function of the standard normal, (1 + erf(x / sqrt 2)) / 2, accurate in its lower tail.
    fn normal_cdf(self) -> Self;
    /// x^p for a constant p. x^0 = 1 for every x, and p = 1, 2, -1 are exact products and quotients.
    fn powf(self, p: f64) -> Self;
    /// self^other. x^0 = 1 for every x.
    fn pow(self, other: Self) -> Self;
    /// The larger of two numbers; NaN if either is.
    fn max(self, other: Self) -> Self;
    /// The smaller of two numbers; NaN if either is.
    fn min(self, other: Self) -> Self;
    /// self * d for a piecewise constant d, and 0 where d is 0, also where `self` is infinite or NaN. The derivative by
    /// d is 0 everywhere.
    fn gate(self, d: Self) -> Self;
    /// The value of another function, as a step of this formula. A derivative of this formula uses the declared
    /// derivative of the other function, which may be more accurate than differentiating its formula.
    #[inline(always)]
    fn map<F: Unary>(self, f: F) -> Self {
        f.f(self)
    }
    /// [`Real::map`] for a function of two numbers.
    #[inline(always)]
    fn map2<F: Binary>(self, other: Self, f: F) -> Self {
        f.f(self, other)
    }
}

/// A function of one number and its derivative. Implement it, `#[inline(always)]`, from outside this crate too.
pub trait Unary: Copy + Debug + Send + Sync + 'static {
    /// For errors and graph pictures.
    const NAME: &'static str;
    /// The value at x.
    fn f<R: Real>(&self, x: R) -> R;
    /// The derivative at x, where y = f(x): use whichever is cheaper, but not the rounded y where the derivative is
    /// sensitive to it.
    fn d<R: Real>(&self, x: R, y: R) -> R;
}

/// A function of two numbers, as [`Unary`].
pub trait Binary: Copy + Debug + Send + Sync + 'static {
    /// For errors and graph pictures.
    const NAME: &'static str;
    /// The value at (a, b).
    fn f<R: Real>(&self, a: R, b: R) -> R;
    /// The derivative with respect to a, where y = f(a, b).
    fn da<R: Real>(&self, a: R, b: R, y: R) -> R;
    /// The derivative with respect to b, where y = f(a, b).
    fn db<R: Real>(&self, a: R, b: R, y: R) -> R;
}

/// Seals [`Element`]: only the types that have kernels implement it.
mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// An element of a tensor: f32 or f64, and no other type.
pub trait Element:
    sealed::Sealed
    + Real
    + Math
    + Copy
    + Zeroable
    + PartialOrd
    + Debug
    + Default
    + Send
    + Sync
    + std::iter::Sum
    + 'static
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// A quiet NaN.
    const NAN: Self;
    /// +infinity.
    const INFINITY: Self;
    /// The name a user sees: "f32" or "f64".
    const NAME: &'static str;
    /// Rounds to this type.
    fn from_f64(v: f64) -> Self;
    /// Exact.
    fn to_f64(self) -> f64;
    /// Neither infinite nor NaN.
    fn is_finite(self) -> bool;
    /// Self * a + b with one rounding, in one instruction where the surrounding function enables it.
    fn fma(self, a: Self, b: Self) -> Self;
}

macro_rules! element {
    ($t:ident) => {
        impl Element for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const NAN: Self = $t::NAN;
            const INFINITY: Self = $t::INFINITY;
            const NAME: &'static str = stringify!($t);
            #[inline(always)]
            fn from_f64(v: f64) -> Self {
                v as $t
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn is_finite(self) -> bool {
                $t::is_finite(self)
            }
            #[inline(always)]
            fn fma(self, a: Self, b: Self) -> Self {
                self.mul_add(a, b)
            }
        }
    };
}
element!(f32);
element!(f64);

/// Whether a multiply-add is one instruction here. Chosen by [`crate::simd::dispatch`].
pub trait Arithmetic: Copy + Debug + Send + Sync + 'static {
    /// a * b + c.
    fn mul_add<T: Element>(a: T, b: T, c: T) -> T;
}

/// Multiply-add with one rounding, on machines that have it.
#[derive(Clone, Copy, Debug)]
pub struct Fused;
/// Multiply, then add.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

impl Arithmetic for Fused {
    #[inline(always)]
    fn mul_add<T: Element>(a: T, b: T, c: T) -> T {
        a.fma(b, c)
    }
}
impl Arithmetic for Plain {
    #[inline(always)]
    fn mul_add<T: Element>(a: T, b: T, c: T) -> T {
        a * b + c
    }
}

/// One lane of a SIMD loop: an element together with the arithmetic of the instruction set it runs on, which
/// the polynomials behind exp, ln, tanh, … use.
#[derive(Clone, Copy, Debug)]
pub struct Num<T, A>(pub T, PhantomData<A>);

impl<T, A> Num<T, A> {
    /// Wraps an element.
    #[inline(always)]
    pub fn new(v: T) -> Self {
        Num(v, PhantomData)
    }
}

macro_rules! num_op {
    ($($tr:ident $f:ident),*) => {$(
        impl<T: Element, A: Arithmetic> $tr for Num<T, A> {
            type Output = Self;
            #[inline(always)]
            fn $f(self, o: Self) -> Self {
                Num::new(self.0.$f(o.0))
            }
        }
    )*};
}
num_op!(Add add, Sub sub, Mul mul, Div div);
impl<T: Element, A: Arithmetic> Neg for Num<T, A> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Num::new(-self.0)
    }
}

/// The functions of [`Real`] for a plain element (no fused arithmetic) and for a lane, from one list.
macro_rules! real_fns {
    ($arith:ty, $wrap:expr, $get:expr) => {
        #[inline(always)]
        fn c(&self, v: f64) -> Self {
            $wrap(Element::from_f64(v))
        }
        real_fns!(@unary $arith, $wrap, $get, exp exp_m1 ln ln_1p sqrt rsqrt abs binade sign step floor ceil round relu tanh sigmoid softplus erf erfc
            normal_cdf sin cos tan acos);
        real_fns!(@binary $arith, $wrap, $get, atan2 pow max min gate);
        #[inline(always)]
        fn powf(self, p: f64) -> Self {
            $wrap(Math::powf::<$arith>($get(self), p))
        }
        #[inline(always)]
        fn gaussian(self, c: f64) -> Self {
            $wrap(Math::gaussian::<$arith>($get(self), c))
        }
    };
    (@unary $arith:ty, $wrap:expr, $get:expr, $($f:ident)*) => {$(
        #[inline(always)]
        fn $f(self) -> Self {
            $wrap(Math::$f::<$arith>($get(self)))
        }
    )*};
    (@binary $arith:ty, $wrap:expr, $get:expr, $($f:ident)*) => {$(
        #[inline(always)]
        fn $f(self, other: Self) -> Self {
            $wrap(Math::$f::<$arith>($get(self), $get(other)))
        }
    )*};
}

impl Real for f32 {
    real_fns!(Plain, std::convert::identity, std::convert::identity);
}
impl Real for f64 {
    real_fns!(Plain, std::convert::identity, std::convert::identity);
}
impl<T: Element, A: Arithmetic> Real for Num<T, A> {
    real_fns!(A, Num::new, |n: Self| n.0);
}
