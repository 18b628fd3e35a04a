//! Polynomials for f64: exponential and logarithms. The rest is the standard library's and libm's.

use super::polynomial;
use crate::real::Arithmetic;

/// ln 2 in two parts: the first has few enough bits that its product with an exponent is exact.
const LN2: [f64; 2] = [0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10];
/// Adding 1.5 * 2^52 leaves the nearest integer in the low bits of a number below 2^51.
const ROUND: f64 = 6_755_399_441_055_744.0;

/// e^x within 1.1 ulp; subnormal results within one of their steps. Overflows to infinity, underflows to 0.
///
/// x = n ln 2 + r with |r| <= ln(2)/2, and e^x = 2^n e^r.
#[inline(always)]
pub fn exp<A: Arithmetic>(x: f64) -> f64 {
    exp_less::<A>(x, 0.0)
}

/// e^(x - low), where low is below the last place of x.
#[inline(always)]
pub(super) fn exp_less<A: Arithmetic>(x: f64, low: f64) -> f64 {
    // The comparisons let NaN through. Both ends lie beyond the first and last finite results.
    let x = if x > 710.0 { 710.0 } else { x };
    let x = if x < -746.0 { -746.0 } else { x };
    let rounded = A::mul_add(x, std::f64::consts::LOG2_E, ROUND);
    let n = rounded - ROUND;
    let high = A::mul_add(n, -LN2[0], x) - low;
    let r = A::mul_add(n, -LN2[1], high);
    let tail = polynomial::<f64, A, 11>(
        r,
        [
            0.5,
            0.166_666_666_666_666_82,
            0.041_666_666_666_666_095,
            0.008_333_333_333_316_907,
            0.001_388_888_888_911_585_4,
            0.000_198_412_698_967_027_32,
            2.480_158_692_673_608_6e-5,
            2.755_723_453_975_427_5e-6,
            2.755_758_128_852_206_8e-7,
            2.511_215_041_450_656e-8,
            2.082_694_030_021_509e-9,
        ],
    );
    let y = 1.0 + A::mul_add(tail, r * r, r);
    // 2^n in two factors, since 2^1024 and 2^-1076 are not representable.
    let n = (rounded.to_bits() as i64).wrapping_sub(ROUND.to_bits() as i64);
    let half = n >> 1;
    y * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

/// e^x - 1 within 1.5 ulp; x itself, sign included, where x is tiny.
///
/// x = n ln 2 + r as in [`exp`], and e^x - 1 = 2 (2^(n-1) (e^r - 1) + (2^(n-1) - 1/2)), since 2^1024 has no
/// representation.
#[inline(always)]
pub fn exp_m1<A: Arithmetic>(x: f64) -> f64 {
    let limited = if x > 710.0 { 710.0 } else { x };
    let limited = if limited < -40.0 { -40.0 } else { limited };
    let rounded = A::mul_add(limited, std::f64::consts::LOG2_E, ROUND);
    let n = rounded - ROUND;
    let high = A::mul_add(n, -LN2[0], limited);
    let r = A::mul_add(n, -LN2[1], high);
    let tail = polynomial::<f64, A, 12>(
        r,
        [
            0.5,
            0.166_666_666_666_666_66,
            0.041_666_666_666_666_68,
            0.008_333_333_333_333_333,
            0.001_388_888_888_887_907_3,
            0.000_198_412_698_412_632_98,
            2.480_158_733_644_223_6e-5,
            2.755_731_924_721_873e-6,
            2.755_726_327_908_85e-7,
            2.505_207_109_429_355e-8,
            2.091_813_773_764_273_6e-9,
            1.608_662_795_678_037e-10,
        ],
    );
    let small = A::mul_add(tail, r * r, r);
    let n = (rounded.to_bits() as i64).wrapping_sub(ROUND.to_bits() as i64);
    let half = power_of_two(n.wrapping_sub(1));
    let y = 2.0 * (A::mul_add(half, small, half - 0.5));
    let y = if n == 0 { small } else { y };
    if x.abs() < 1e-17 { x } else { y }
}

/// 2^n for -1022 <= n <= 1023.
#[inline(always)]
fn power_of_two(n: i64) -> f64 {
    f64::from_bits((n.wrapping_add(1023) << 52) as u64)
}

/// The natural logarithm within 1 ulp. 0 gives -infinity, negative numbers NaN.
#[inline(always)]
pub fn ln<A: Arithmetic>(x: f64) -> f64 {
    ln_of_sum::<A>(x, 0.0)
}

/// ln(1 + x) within 1.5 ulp; x itself, sign included, where x is tiny.
#[inline(always)]
pub fn ln_1p<A: Arithmetic>(x: f64) -> f64 {
    let sum = 1.0 + x;
    let lost = if sum > 1e18 { 0.0 } else { x - (sum - 1.0) };
    let y = ln_of_sum::<A>(sum, lost);
    if x.abs() < 1e-17 { x } else { y }
}

/// ln(x + low), where low is below the last place of x.
///
/// x = 2^e (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)), and ln(1 + f) = 2 atanh(s) with s = f / (2 + f).
#[inline(always)]
fn ln_of_sum<A: Arithmetic>(x: f64, low: f64) -> f64 {
    const SQRT_HALF: i64 = 0x3fe6_a09e_667f_3bcd;
    let tiny = x < f64::MIN_POSITIVE;
    let normal = if tiny { x * 18_014_398_509_481_984.0 } else { x };
    let bits = (normal.to_bits() as i64).wrapping_sub(SQRT_HALF);
    let exponent = bits >> 52;
    let e = f64::from(exponent as i32) - if tiny { 54.0 } else { 0.0 };
    let mantissa = f64::from_bits((bits & 0xf_ffff_ffff_ffff).wrapping_add(SQRT_HALF) as u64);
    let f = mantissa - 1.0 + low * power_of_two(-exponent.min(128));
    let s = f / (2.0 + f);
    let z = s * s;
    let tail = z * polynomial::<f64, A, 7>(
        z,
        [
            0.666_666_666_666_673_5,
            0.399_999_999_994_110_96,
            0.285_714_287_432_620_23,
            0.222_221_984_760_407_7,
            0.181_835_697_372_184_4,
            0.153_139_033_111_462,
            0.147_975_070_656_078_6,
        ],
    );
    // 2 atanh(s) = f - (f^2/2 - s (f^2/2 + tail)): the first term is exact, the rest small beside it.
    let half_square = 0.5 * f * f;
    let rest = half_square - A::mul_add(s, half_square + tail, e * LN2[1]);
    let y = A::mul_add(e, LN2[0], f - rest);
    let y = if x < f64::INFINITY { y } else { x };
    let y = if x == 0.0 { f64::NEG_INFINITY } else { y };
    if x < 0.0 { f64::NAN } else { y }
}

/// The hyperbolic tangent: the standard library's.
#[inline(always)]
pub fn tanh<A: Arithmetic>(x: f64) -> f64 {
    x.tanh()
}

/// The error function: libm's.
#[inline(always)]
pub fn erf<A: Arithmetic>(x: f64) -> f64 {
    libm::erf(x)
}

/// The complementary error function: libm's.
#[inline(always)]
pub fn erfc<A: Arithmetic>(x: f64) -> f64 {
    libm::erfc(x)
}

/// Tangent: the standard library's.
#[inline(always)]
pub fn tan<A: Arithmetic>(x: f64) -> f64 {
    x.tan()
}

/// Sine: the standard library's.
#[inline(always)]
pub fn sin<A: Arithmetic>(x: f64) -> f64 {
    x.sin()
}

/// Cosine: the standard library's.
#[inline(always)]
pub fn cos<A: Arithmetic>(x: f64) -> f64 {
    x.cos()
}

/// x^p: the standard library's.
#[inline(always)]
pub fn powf<A: Arithmetic>(x: f64, p: f64) -> f64 {
    x.powf(p)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::real::{Fused, Plain};

    /// The largest difference from the standard library (itself within 1 ulp), in ulp of its value, over a
    /// dense sample of bit patterns and of ordinary numbers.
    fn worst(f: impl Fn(f64) -> f64, truth: impl Fn(f64) -> f64) -> f64 {
        let patterns = (0..2_000_000u64).map(|i| f64::from_bits(i.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let ordinary = (0..2_000_000).map(|i| f64::from(i - 1_000_000) * 1e-6 * 750.0);
        let near_one = (0..2_000_000).map(|i| f64::from(i - 1_000_000) * 1.37e-6 + 1.0);
        let mut worst = 0.0f64;
        for x in patterns.chain(ordinary).chain(near_one) {
            let (y, t) = (f(x), truth(x));
            if y == t || (y.is_nan() && t.is_nan()) {
                continue;
            }
            let next = f64::from_bits(t.abs().to_bits() + 1);
            let error = (y - t).abs() / (next - t.abs());
            assert!(error < 1e3, "x = {x:e}: {y:e}, truly {t:e}");
            worst = worst.max(error);
        }
        worst
    }

    #[test]
    fn exponential_and_logarithms_agree_with_the_standard_library() {
        fn all<A: Arithmetic>() {
            let errors = [
                worst(super::exp::<A>, f64::exp),
                worst(super::ln::<A>, f64::ln),
                worst(super::ln_1p::<A>, f64::ln_1p),
                worst(super::exp_m1::<A>, f64::exp_m1),
            ];
            println!("exp, ln, ln_1p, exp_m1: {errors:?} steps from std");
            // Two functions within 1.1 ulp of the truth differ by at most 2 steps.
            assert!(errors.iter().all(|&e| e <= 2.0), "{errors:?}");
        }
        all::<Fused>();
        all::<Plain>();
    }

    #[test]
    fn special_values() {
        assert_eq!(super::exp::<Fused>(f64::NEG_INFINITY), 0.0);
        assert_eq!(super::exp::<Fused>(f64::INFINITY), f64::INFINITY);
        assert!(super::exp::<Fused>(f64::NAN).is_nan() && super::ln::<Fused>(f64::NAN).is_nan());
        assert_eq!(super::ln::<Fused>(0.0), f64::NEG_INFINITY);
        assert!(super::ln::<Fused>(-1.0).is_nan());
        assert_eq!(super::ln_1p::<Fused>(-1.0), f64::NEG_INFINITY);
        assert_eq!(super::ln_1p::<Fused>(-0.0).to_bits(), (-0.0f64).to_bits());
        assert_eq!(super::ln_1p::<Fused>(1e-300), 1e-300);
        assert_eq!(super::exp_m1::<Fused>(f64::NEG_INFINITY), -1.0);
        assert_eq!(super::exp_m1::<Fused>(710.0), f64::INFINITY);
        assert_eq!(super::exp_m1::<Fused>(-0.0).to_bits(), (-0.0f64).to_bits());
        assert!(super::exp_m1::<Fused>(f64::NAN).is_nan());
    }
}
