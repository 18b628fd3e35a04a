//! The Gaussian and the normal distribution function, with a small relative error however small they are.
//!
//! e^(-x^2) multiplies the relative error of x^2 by x^2, so the rounding of the square goes into the exponential as a
//! part of its own. The distribution function has that factor, and what is left of it varies little: Q(x) = e^(-x^2/2)
//! W(t) / (x + k) for x >= 0, with t = (x - k) / (x + k) and a polynomial W, Chebyshev's interpolation of 60 digits.

use super::{double, polynomial, single};
use crate::real::Arithmetic;

macro_rules! normal {
    ($module:ident, $t:ident, $math:ident, $low_half:literal, $k:literal, $end:literal, $terms:literal, $w:expr) => {
        pub mod $module {
            use super::*;

            /// e^(-c x^2) within 1.6 ulp; c is a power of two, at least 1/2.
            #[inline(always)]
            pub fn gaussian<A: Arithmetic>(x: $t, c: $t) -> $t {
                // From here on the result is 0; NaN passes.
                let x = if x.abs() > 40.0 { 40.0 } else { x };
                let square = x * x;
                // The products of two halves of the digits are exact.
                let high = $t::from_bits(x.to_bits() & !$low_half);
                let low = x - high;
                let lost = ((high * high - square) + 2.0 * (high * low)) + low * low;
                $math::exp_less::<A>(-c * square, c * lost)
            }

            /// The normal distribution function (1 + erf(x / sqrt 2)) / 2 within 3.5 ulp.
            #[inline(always)]
            pub fn normal_cdf<A: Arithmetic>(x: $t) -> $t {
                // From here on the tail is 0; NaN passes.
                let size = if x.abs() > $end { $end } else { x.abs() };
                let r = 1.0 / (size + $k);
                let w = polynomial::<$t, A, $terms>((size - $k) * r, $w);
                let tail = gaussian::<A>(x, 0.5) * (w * r);
                if x > 0.0 { 1.0 - tail } else { tail }
            }
        }
    };
}

normal!(
    in_single,
    f32,
    single,
    0xfffu32,
    3.0,
    15.0,
    9,
    [
        0.729_083_66,
        -0.509_332_1,
        0.230_020_05,
        -0.047_259_003,
        -0.010_485_225,
        0.006_934_573_4,
        0.001_090_118_5,
        -0.000_913_877_04,
        -0.000_278_988_1,
    ]
);
normal!(
    in_double,
    f64,
    double,
    0x7ff_ffffu64,
    4.0,
    40.0,
    22,
    [
        0.755_285_130_415_751_5,
        -0.607_896_641_971_890_6,
        0.387_137_400_742_209,
        -0.186_521_857_959_806_36,
        0.060_396_574_891_166_614,
        -0.007_540_188_962_265_919,
        -0.003_479_692_370_571_794,
        0.001_630_818_396_041_619_9,
        0.000_133_344_326_989_611_58,
        -0.000_231_094_466_681_781_5,
        -1.908_215_446_765_368_5e-6,
        3.514_254_196_541_303e-5,
        7.159_254_052_560_223e-7,
        -5.914_057_572_258_597e-6,
        -6.262_712_745_802_362e-7,
        1.010_727_523_616_591_6e-6,
        2.635_285_012_404_325e-7,
        -1.437_474_959_479_259_2e-7,
        -7.410_825_606_977_841e-8,
        7.725_604_210_009_556e-9,
        1.135_535_876_728_541_2e-8,
        1.994_410_771_885_163_2e-9,
    ]
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::real::{Fused, Plain};

    /// The largest error in ulp of the true value, over every 997th number.
    fn worst(f: impl Fn(f32) -> f32, truth: impl Fn(f64) -> f64) -> f64 {
        let mut worst = 0.0f64;
        for x in (0..=u32::MAX).step_by(997).map(f32::from_bits).filter(|x| !x.is_nan()) {
            let (y, t) = (f64::from(f(x)), truth(f64::from(x)));
            let ulp = f64::powi(2.0, (t.abs().log2().floor() as i32).max(-126) - 23);
            if y != t {
                worst = worst.max((y - t).abs() / ulp);
            }
        }
        worst
    }

    #[test]
    fn errors_are_as_stated_at_every_magnitude() {
        // Squares of f32 are exact in f64; erfc multiplies the rounding of x / sqrt 2 by 200 at most, of 2^29.
        let cdf = |x: f64| 0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2);
        let errors = [worst(in_single::normal_cdf::<Fused>, cdf), worst(in_single::normal_cdf::<Plain>, cdf)];
        println!("normal_cdf: {errors:?} ulp");
        assert!(errors.iter().all(|&e| e <= 3.5), "{errors:?}");
        for c in [0.5f32, 1.0] {
            let exact = |x: f64| (-f64::from(c) * x * x).exp();
            let errors = [
                worst(|x| in_single::gaussian::<Fused>(x, c), exact),
                worst(|x| in_single::gaussian::<Plain>(x, c), exact),
            ];
            println!("gaussian: {errors:?} ulp");
            assert!(errors.iter().all(|&e| e <= 1.6), "{errors:?}");
        }
    }

    #[test]
    fn doubles_agree_where_their_squares_are_exact() {
        for i in -40_000..40_000 {
            let x = f64::from(i) / 1024.0;
            let (found, exact) = (in_double::gaussian::<Plain>(x, 0.5), (-0.5 * x * x).exp());
            assert!(
                (found - exact).abs() <= 3.0 * f64::EPSILON * exact + 1e-323,
                "{x}: {found:e}, not {exact:e}"
            );
            let both = in_double::normal_cdf::<Plain>(x) + in_double::normal_cdf::<Plain>(-x);
            assert!((both - 1.0).abs() <= f64::EPSILON, "{x}: {both}");
        }
        assert_eq!(in_double::normal_cdf::<Fused>(f64::NEG_INFINITY), 0.0);
        assert_eq!(in_double::normal_cdf::<Fused>(f64::INFINITY), 1.0);
        assert!(
            in_double::normal_cdf::<Fused>(f64::NAN).is_nan()
                && in_double::gaussian::<Fused>(f64::NAN, 1.0).is_nan()
        );
    }
}
