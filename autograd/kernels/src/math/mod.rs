//! Elementary functions of one lane, branch-free where speed matters so that loops over them vectorise.
//!
//! [`single`] holds the polynomials for f32 (`turn` its sine and cosine), [`double`] those for f64, `normal` the normal
//! distribution for both; all state their
//! largest errors, in units in the last place (ulp) of the true value, and their tests assert them. Where a function is
//! missing from them it is the standard library's or libm's, a call for each lane.

use crate::real::{Arithmetic, Element};

pub mod double;
mod normal;
pub mod single;
mod turn;

/// The elementary functions of an element type, given the arithmetic of the instruction set.
///
/// The meaning of each is in [`crate::Real`].
#[allow(missing_docs)]
pub trait Math: Copy {
    fn exp<A: Arithmetic>(self) -> Self;
    fn exp_m1<A: Arithmetic>(self) -> Self;
    fn ln<A: Arithmetic>(self) -> Self;
    fn ln_1p<A: Arithmetic>(self) -> Self;
    fn sqrt<A: Arithmetic>(self) -> Self;
    fn rsqrt<A: Arithmetic>(self) -> Self;
    fn abs<A: Arithmetic>(self) -> Self;
    fn binade<A: Arithmetic>(self) -> Self;
    fn sign<A: Arithmetic>(self) -> Self;
    fn step<A: Arithmetic>(self) -> Self;
    fn floor<A: Arithmetic>(self) -> Self;
    fn ceil<A: Arithmetic>(self) -> Self;
    fn round<A: Arithmetic>(self) -> Self;
    fn relu<A: Arithmetic>(self) -> Self;
    fn tanh<A: Arithmetic>(self) -> Self;
    fn sigmoid<A: Arithmetic>(self) -> Self;
    fn softplus<A: Arithmetic>(self) -> Self;
    fn erf<A: Arithmetic>(self) -> Self;
    fn erfc<A: Arithmetic>(self) -> Self;
    fn gaussian<A: Arithmetic>(self, c: f64) -> Self;
    fn normal_cdf<A: Arithmetic>(self) -> Self;
    fn sin<A: Arithmetic>(self) -> Self;
    fn cos<A: Arithmetic>(self) -> Self;
    fn tan<A: Arithmetic>(self) -> Self;
    fn acos<A: Arithmetic>(self) -> Self;
    fn atan2<A: Arithmetic>(self, x: Self) -> Self;
    fn max<A: Arithmetic>(self, o: Self) -> Self;
    fn min<A: Arithmetic>(self, o: Self) -> Self;
    fn gate<A: Arithmetic>(self, d: Self) -> Self;
    fn pow<A: Arithmetic>(self, p: Self) -> Self;
    fn powf<A: Arithmetic>(self, p: f64) -> Self;
}

/// c[0] + c[1] x + c[2] x^2 + … (Horner).
#[inline(always)]
pub(crate) fn polynomial<T: Element, A: Arithmetic, const N: usize>(x: T, c: [T; N]) -> T {
    let mut sum = c[N - 1];
    for i in (0..N - 1).rev() {
        sum = A::mul_add(sum, x, c[i]);
    }
    sum
}

macro_rules! math {
    ($t:ident, $poly:ident, $normal:ident) => {
        impl Math for $t {
            #[inline(always)]
            fn exp<A: Arithmetic>(self) -> Self {
                $poly::exp::<A>(self)
            }
            #[inline(always)]
            fn exp_m1<A: Arithmetic>(self) -> Self {
                $poly::exp_m1::<A>(self)
            }
            #[inline(always)]
            fn ln<A: Arithmetic>(self) -> Self {
                $poly::ln::<A>(self)
            }
            #[inline(always)]
            fn ln_1p<A: Arithmetic>(self) -> Self {
                $poly::ln_1p::<A>(self)
            }
            #[inline(always)]
            fn sqrt<A: Arithmetic>(self) -> Self {
                $t::sqrt(self)
            }
            #[inline(always)]
            fn rsqrt<A: Arithmetic>(self) -> Self {
                1.0 / $t::sqrt(self)
            }
            #[inline(always)]
            fn abs<A: Arithmetic>(self) -> Self {
                $t::abs(self)
            }
            #[inline(always)]
            fn binade<A: Arithmetic>(self) -> Self {
                let exponent = self.to_bits() & $t::INFINITY.to_bits();
                $t::from_bits(exponent.max($t::MIN_POSITIVE.to_bits()))
            }
            #[inline(always)]
            fn sign<A: Arithmetic>(self) -> Self {
                if self > 0.0 {
                    1.0
                } else if self < 0.0 {
                    -1.0
                } else {
                    self // keeps 0 and NaN
                }
            }
            #[inline(always)]
            fn step<A: Arithmetic>(self) -> Self {
                if self > 0.0 { 1.0 } else { 0.0 }
            }
            #[inline(always)]
            fn floor<A: Arithmetic>(self) -> Self {
                $t::floor(self)
            }
            #[inline(always)]
            fn ceil<A: Arithmetic>(self) -> Self {
                $t::ceil(self)
            }
            #[inline(always)]
            fn round<A: Arithmetic>(self) -> Self {
                self.round_ties_even()
            }
            #[inline(always)]
            fn relu<A: Arithmetic>(self) -> Self {
                if self < 0.0 { 0.0 } else { self }
            }
            #[inline(always)]
            fn tanh<A: Arithmetic>(self) -> Self {
                $poly::tanh::<A>(self)
            }
            #[inline(always)]
            fn sigmoid<A: Arithmetic>(self) -> Self {
                // Within 2.5 ulp. The exponential of a number <= 0 cannot overflow, and keeps the small tail accurate.
                let tail = Math::exp::<A>(-$t::abs(self));
                let top = if self < 0.0 { tail } else { 1.0 };
                top / (1.0 + tail)
            }
            #[inline(always)]
            fn softplus<A: Arithmetic>(self) -> Self {
                Math::relu::<A>(self) + Math::ln_1p::<A>(Math::exp::<A>(-$t::abs(self)))
            }
            #[inline(always)]
            fn erf<A: Arithmetic>(self) -> Self {
                $poly::erf::<A>(self)
            }
            #[inline(always)]
            fn erfc<A: Arithmetic>(self) -> Self {
                $poly::erfc::<A>(self)
            }
            #[inline(always)]
            fn gaussian<A: Arithmetic>(self, c: f64) -> Self {
                normal::$normal::gaussian::<A>(self, c as $t)
            }
            #[inline(always)]
            fn normal_cdf<A: Arithmetic>(self) -> Self {
                normal::$normal::normal_cdf::<A>(self)
            }
            #[inline(always)]
            fn sin<A: Arithmetic>(self) -> Self {
                $poly::sin::<A>(self)
            }
            #[inline(always)]
            fn cos<A: Arithmetic>(self) -> Self {
                $poly::cos::<A>(self)
            }
            #[inline(always)]
            fn tan<A: Arithmetic>(self) -> Self {
                $poly::tan::<A>(self)
            }
            #[inline(always)]
            fn acos<A: Arithmetic>(self) -> Self {
                $t::acos(self)
            }
            #[inline(always)]
            fn atan2<A: Arithmetic>(self, x: Self) -> Self {
                $t::atan2(self, x)
            }
            #[inline(always)]
            fn max<A: Arithmetic>(self, o: Self) -> Self {
                if self >= o || self.is_nan() { self } else { o }
            }
            #[inline(always)]
            fn min<A: Arithmetic>(self, o: Self) -> Self {
                if self <= o || self.is_nan() { self } else { o }
            }
            #[inline(always)]
            fn gate<A: Arithmetic>(self, d: Self) -> Self {
                if d == 0.0 { 0.0 } else { self * d }
            }
            #[inline(always)]
            fn pow<A: Arithmetic>(self, p: Self) -> Self {
                let y = $poly::powf::<A>(self, f64::from(p));
                if p == 0.0 { 1.0 } else { y }
            }
            #[inline(always)]
            fn powf<A: Arithmetic>(self, p: f64) -> Self {
                // One branch on p, which compilers hoist out of a loop; four of them they do not hoist.
                if ![-1.0, 0.0, 1.0, 2.0].contains(&p) {
                    return $poly::powf::<A>(self, p);
                }
                let y = if p == 2.0 { self * self } else { self };
                let y = if p == -1.0 { 1.0 / self } else { y };
                if p == 0.0 { 1.0 } else { y }
            }
        }
    };
}
math!(f32, single, in_single);
math!(f64, double, in_double);

#[cfg(test)]
mod tests {
    use super::Math;
    use crate::real::Plain;

    #[test]
    fn comparisons_keep_nan() {
        let nan = f32::NAN;
        assert!(Math::relu::<Plain>(nan).is_nan() && Math::sign::<Plain>(nan).is_nan());
        for f in [Math::max::<Plain> as fn(f32, f32) -> f32, Math::min::<Plain>] {
            assert!(f(nan, 1.0).is_nan() && f(1.0, nan).is_nan());
        }
        assert_eq!([Math::max::<Plain>(1.0, 2.0), Math::min::<Plain>(1.0, 2.0f32)], [2.0, 1.0]);
        assert_eq!([-1.0, 0.0, 2.0].map(Math::relu::<Plain>), [0.0, 0.0, 2.0]);
        assert_eq!([-3.0, 0.0, 2.0].map(Math::sign::<Plain>), [-1.0, 0.0, 1.0]);
        assert_eq!([-3.0, 0.0, 2.0].map(Math::step::<Plain>), [0.0, 0.0, 1.0]);
        assert_eq!([-3.0f32, 0.75, 2.0].map(Math::binade::<Plain>), [2.0, 0.5, 2.0]);
        assert_eq!([0.0f64, 1e-310].map(Math::binade::<Plain>), [f64::MIN_POSITIVE; 2]);
    }

    #[test]
    fn a_gate_is_a_choice() {
        for x in [2.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
            assert_eq!([0.0, -0.0].map(|d| Math::gate::<Plain>(x, d)), [0.0, 0.0]);
            assert_eq!(Math::gate::<Plain>(x, -3.0).to_bits(), (x * -3.0).to_bits());
        }
    }

    #[test]
    fn some_powers_are_exact() {
        assert_eq!(Math::powf::<Plain>(0.0f32, 0.0), 1.0);
        assert_eq!(Math::powf::<Plain>(-3.0f32, 1.0), -3.0);
        assert_eq!(Math::powf::<Plain>(-3.0f32, 2.0), 9.0);
        assert_eq!(Math::powf::<Plain>(-4.0f64, -1.0), -0.25);
    }
}
