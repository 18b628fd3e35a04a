//! Polynomials for f32: one rounding more or less from the true value, and no branches.

pub use super::normal::erfc;
pub use super::turn::{cos, sin, tan};
use super::{double, polynomial};
use crate::real::Arithmetic;

/// ln 2 in two parts: the first has few enough bits that its product with an exponent is exact.
const LN2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
/// Adding 1.5 * 2^23 leaves the nearest integer in the low bits of a number below 2^22.
const ROUND: f32 = 12_582_912.0;

/// e^x within 1.1 ulp; subnormal results within one of their steps. Overflows to infinity, underflows to 0.
///
/// x = n ln 2 + r with |r| <= ln(2)/2, and e^x = 2^n e^r.
#[inline(always)]
pub fn exp<A: Arithmetic>(x: f32) -> f32 {
    exp_less::<A>(x, 0.0)
}

/// e^(x - low), where low is below the last place of x.
#[inline(always)]
pub(super) fn exp_less<A: Arithmetic>(x: f32, low: f32) -> f32 {
    // The comparisons let NaN through. Both ends lie beyond the first and last finite results.
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -104.0 { -104.0 } else { x };
    let rounded = A::mul_add(x, std::f32::consts::LOG2_E, ROUND);
    let n = rounded - ROUND;
    let high = A::mul_add(n, -LN2[0], x) - low;
    let r = A::mul_add(n, -LN2[1], high);
    let tail = polynomial::<f32, A, 5>(
        r,
        [4.999_999_4e-1, 1.666_652e-1, 4.166_839e-2, 8.368_781e-3, 1.381_448_1e-3],
    );
    let y = 1.0 + A::mul_add(tail, r * r, r);
    // 2^n in two factors, since 2^128 and 2^-150 are not representable.
    let n = (rounded.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let half = n >> 1;
    y * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

/// e^x - 1 within 1.5 ulp; x itself, sign included, where x is tiny.
///
/// x = n ln 2 + r as in [`exp`], and e^x - 1 = 2 (2^(n-1) (e^r - 1) + (2^(n-1) - 1/2)), since 2^128 has no
/// representation.
#[inline(always)]
pub fn exp_m1<A: Arithmetic>(x: f32) -> f32 {
    let limited = if x > 89.0 { 89.0 } else { x };
    let limited = if limited < -20.0 { -20.0 } else { limited };
    let rounded = A::mul_add(limited, std::f32::consts::LOG2_E, ROUND);
    let n = rounded - ROUND;
    let high = A::mul_add(n, -LN2[0], limited);
    let r = A::mul_add(n, -LN2[1], high);
    let tail = polynomial::<f32, A, 6>(
        r,
        [0.5, 0.166_666_67, 0.041_666_465, 0.008_333_311, 0.001_393_365, 0.000_198_909_91],
    );
    let small = A::mul_add(tail, r * r, r);
    let n = (rounded.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let half = power_of_two(n.wrapping_sub(1));
    let y = 2.0 * (A::mul_add(half, small, half - 0.5));
    let y = if n == 0 { small } else { y };
    if x.abs() < 1e-8 { x } else { y }
}

/// 2^n for -126 <= n <= 127.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) << 23) as u32)
}

/// The natural logarithm within 1 ulp. 0 gives -infinity, negative numbers NaN.
#[inline(always)]
pub fn ln<A: Arithmetic>(x: f32) -> f32 {
    ln_of_sum::<A>(x, 0.0)
}

/// ln(1 + x) within 1.5 ulp; x itself, sign included, where x is tiny.
#[inline(always)]
pub fn ln_1p<A: Arithmetic>(x: f32) -> f32 {
    let sum = 1.0 + x;
    let lost = if sum > 1e9 { 0.0 } else { x - (sum - 1.0) };
    let y = ln_of_sum::<A>(sum, lost);
    if x.abs() < 1e-8 { x } else { y }
}

/// ln(x + low), where low is below the last place of x.
///
/// x = 2^e (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)).
#[inline(always)]
fn ln_of_sum<A: Arithmetic>(x: f32, low: f32) -> f32 {
    const SQRT_HALF: i32 = 0x3f35_04f3;
    let tiny = x < f32::MIN_POSITIVE;
    let normal = if tiny { x * 33_554_432.0 } else { x };
    let bits = (normal.to_bits() as i32).wrapping_sub(SQRT_HALF);
    let exponent = bits >> 23;
    let e = exponent as f32 - if tiny { 25.0 } else { 0.0 };
    let mantissa = f32::from_bits((bits & 0x7f_ffff).wrapping_add(SQRT_HALF) as u32);
    let f = mantissa - 1.0 + low * power_of_two(-exponent.min(64));
    let tail = polynomial::<f32, A, 9>(
        f,
        [
            3.333_331_3e-1,
            -2.500_001e-1,
            2.000_211_8e-1,
            -1.666_8e-1,
            1.421_956_1e-1,
            -1.240_553_8e-1,
            1.188_804_7e-1,
            -1.167_590_2e-1,
            6.747_185e-2,
        ],
    );
    let square = f * f;
    let y = A::mul_add(tail, square * f, e * LN2[1]);
    let y = f + A::mul_add(square, -0.5, y);
    let y = A::mul_add(e, LN2[0], y);
    let y = if x < f32::INFINITY { y } else { x };
    let y = if x == 0.0 { f32::NEG_INFINITY } else { y };
    if x < 0.0 { f32::NAN } else { y }
}

/// The hyperbolic tangent within 1.5 ulp: odd, and x itself where x is tiny.
#[inline(always)]
pub fn tanh<A: Arithmetic>(x: f32) -> f32 {
    let square = x * x;
    let tail = polynomial::<f32, A, 5>(
        square,
        [-3.333_332e-1, 1.333_260_2e-1, -5.385_386e-2, 2.107_775_8e-2, -6.282_473_4e-3],
    );
    let small = A::mul_add(tail * square, x, x);
    let size = x.abs();
    let capped = if size > 10.0 { 10.0 } else { size };
    let large = 1.0 - 2.0 / (exp::<A>(2.0 * capped) + 1.0);
    let y = if size < 0.55 { small } else { large };
    y.copysign(x)
}

/// The error function within 1.25 ulp: odd.
///
/// Below 0.92 an odd polynomial; above it 1 - e^q, with q a polynomial for ln(1 - erf).
#[inline(always)]
pub fn erf<A: Arithmetic>(x: f32) -> f32 {
    let small = polynomial::<f32, A, 7>(
        x * x,
        [
            1.283_791_7e-1,
            -3.761_263_5e-1,
            1.128_370_3e-1,
            -2.685_98e-2,
            5.201_960_4e-3,
            -8.152_628_4e-4,
            8.409_923e-5,
        ],
    );
    let small = A::mul_add(small, x, x);
    let size = x.abs();
    let capped = if size > 4.0 { 4.0 } else { size };
    let q = polynomial::<f32, A, 8>(
        capped,
        [
            1.746_835_3e-4,
            -1.129_514_9,
            -6.333_469e-1,
            -1.082_800_8e-1,
            2.511_942e-2,
            -4.171_06e-3,
            4.344_619_5e-4,
            -2.109_499e-5,
        ],
    );
    let large = 1.0 - exp::<A>(q);
    let y = if size < 0.92 { small } else { large };
    y.copysign(x)
}

/// x^p within 0.51 ulp: e^(p ln x) in f64, whose 29 further bits absorb the error of the logarithm.
///
/// As in C: x = 0 and infinite x give 0 or infinity, another negative x is a number only for whole p, and a power of 1
/// is 1 for any p.
#[inline(always)]
pub fn powf<A: Arithmetic>(x: f32, p: f64) -> f32 {
    let size = double::exp::<A>(p * double::ln::<A>(f64::from(x.abs()))) as f32;
    let whole = p.trunc() == p;
    let odd = whole && (0.5 * p).trunc() != 0.5 * p;
    let size = if x.abs() == 1.0 { 1.0 } else { size };
    let y = if odd { size.copysign(x) } else { size };
    if x < 0.0 && x.is_finite() && !whole { f32::NAN } else { y }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::real::{Fused, Plain};

    /// The largest error in ulp of the true value, over every `stride`th bit pattern of numbers in
    /// `low..=high`; results that are not finite or 0 must agree exactly.
    fn worst(f: impl Fn(f32) -> f32, truth: impl Fn(f64) -> f64, low: f32, high: f32) -> f64 {
        let mut worst = 0.0f64;
        for bits in (0..=u32::MAX).step_by(1009) {
            let x = f32::from_bits(bits);
            if !(low..=high).contains(&x) {
                continue;
            }
            let (y, t) = (f(x), truth(f64::from(x)));
            if f64::from(y) == t {
                continue;
            }
            // One step of f32 at the true value; subnormal numbers all have the same.
            let ulp = f64::powi(2.0, (t.abs().log2().floor() as i32).max(-126) - 23);
            if t.abs() > f64::from(f32::MAX) + 0.5 * f64::powi(2.0, 104) {
                assert_eq!(y, f32::INFINITY.copysign(t as f32), "x = {x:e}");
                continue;
            }
            let error = (f64::from(y) - t).abs() / ulp;
            assert!(error < 1e3, "x = {x:e}: {y:e}, truly {t:e}");
            worst = worst.max(error);
        }
        worst
    }

    fn check(name: &str, fused: f64, plain: f64, most: f64) {
        println!("{name}: {fused:.3} ulp fused, {plain:.3} plain, {most} stated");
        assert!(fused <= most && plain <= most, "{name}: {fused} and {plain} ulp, {most} stated");
    }

    macro_rules! ulps {
        ($name:ident, $truth:expr, $low:expr, $high:expr, $most:expr) => {
            #[test]
            fn $name() {
                let error = |f: fn(f32) -> f32| worst(f, $truth, $low, $high);
                check(stringify!($name), error(super::$name::<Fused>), error(super::$name::<Plain>), $most);
            }
        };
    }
    const INF: f32 = f32::INFINITY;
    ulps!(exp, f64::exp, -INF, INF, 1.1);
    ulps!(ln, f64::ln, 0.0, INF, 1.0);
    ulps!(ln_1p, f64::ln_1p, -1.0, INF, 1.5);
    ulps!(exp_m1, f64::exp_m1, -INF, INF, 1.5);
    ulps!(tanh, f64::tanh, -INF, INF, 1.5);
    ulps!(erf, libm::erf, -INF, INF, 1.25);

    #[test]
    fn sigmoid_and_softplus_are_accurate_in_both_tails() {
        use crate::math::Math;
        let sigmoid = |x: f64| if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) };
        check(
            "sigmoid",
            worst(Math::sigmoid::<Fused>, sigmoid, -INF, INF),
            worst(Math::sigmoid::<Plain>, sigmoid, -INF, INF),
            2.5,
        );
        let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
        check(
            "softplus",
            worst(Math::softplus::<Fused>, softplus, -INF, INF),
            worst(Math::softplus::<Plain>, softplus, -INF, INF),
            2.5,
        );
    }

    #[test]
    fn powers_are_almost_correctly_rounded() {
        for p in [0.5, -1.5, 3.0, 0.1, -30.0] {
            let whole = p == f64::trunc(p);
            let low = if whole { -INF } else { 0.0 };
            let error = worst(|x| super::powf::<Fused>(x, p), |x| x.powf(p), low, INF);
            check("powf", error, worst(|x| super::powf::<Plain>(x, p), |x| x.powf(p), low, INF), 0.51);
        }
        assert!(super::powf::<Fused>(-2.0, 0.5).is_nan());
        assert_eq!(super::powf::<Fused>(-2.0, 3.0), -8.0);
        // The standard library follows C in all of these.
        for p in [0.5, -0.5, 3.0, -3.0, 2.5, f64::INFINITY, -f64::INFINITY, f64::NAN] {
            for x in [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, -2.0, INF, -INF, f32::NAN] {
                let (y, t) = (super::powf::<Fused>(x, p), f64::from(x).powf(p) as f32);
                assert!(
                    y == t && y.is_sign_negative() == t.is_sign_negative() || y.is_nan() && t.is_nan(),
                    "{x}^{p}: {y}, not {t}"
                );
            }
        }
    }

    #[test]
    fn special_values() {
        fn all<A: Arithmetic>() {
            let unary =
                [super::exp::<A>, super::ln::<A>, super::ln_1p::<A>, super::tanh::<A>, super::erf::<A>];
            for f in unary {
                assert!(f(f32::NAN).is_nan());
            }
            assert_eq!(super::exp::<A>(-INF), 0.0);
            assert_eq!(super::exp::<A>(INF), INF);
            assert_eq!(super::exp::<A>(0.0), 1.0);
            assert_eq!(super::ln::<A>(0.0), -INF);
            assert_eq!(super::ln::<A>(-0.0), -INF);
            assert_eq!(super::ln::<A>(1.0), 0.0);
            assert!(super::ln::<A>(-1e-40).is_nan() && super::ln::<A>(-INF).is_nan());
            assert_eq!(super::ln_1p::<A>(-1.0), -INF);
            assert!(super::ln_1p::<A>(-1.5).is_nan());
            assert_eq!(super::tanh::<A>(-INF), -1.0);
            for f in [super::ln_1p::<A>, super::exp_m1::<A>, super::tanh::<A>] as [fn(f32) -> f32; 3] {
                assert_eq!(f(-0.0).to_bits(), (-0.0f32).to_bits());
                assert_eq!(f(1e-30), 1e-30);
            }
        }
        all::<Fused>();
        all::<Plain>();
    }
}
