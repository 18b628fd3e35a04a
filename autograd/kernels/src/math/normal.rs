//! The Gaussian and the normal distribution function, with a small relative error however small they are.
//!
//! e^(-x^2) multiplies the relative error of x^2 by x^2, so the rounding error of the square is a separate argument of
//! the exponential. The distribution function's tail has that factor: Q(x) = e^(-x^2/2) W(t) / (x + a) for x >= 0, with
//! t = (x - k) / (x + k) and a polynomial W, Chebyshev's interpolation of 60 digits. The numbers a make W so flat that
//! the roundings of t and of its products hardly count.

use super::{double, polynomial, single};
use crate::real::Arithmetic;

macro_rules! normal {
    ($module:ident, $t:ident, $math:ident, $low_half:literal, [$k:literal, $a:literal, $end:literal], $terms:literal, $w:expr) => {
        pub mod $module {
            use super::*;

            /// e^(-c x^2) within 1.6 ulp; c is a power of two, at least 1/2.
            #[inline(always)]
            pub fn gaussian<A: Arithmetic>(x: $t, c: $t) -> $t {
                // From here on the result is 0; NaN propagates.
                let x = if x.abs() > 40.0 { 40.0 } else { x };
                let square = x * x;
                // The products of two halves of the digits are exact.
                let high = $t::from_bits(x.to_bits() & !$low_half);
                let low = x - high;
                let lost = ((high * high - square) + 2.0 * (high * low)) + low * low;
                $math::exp_less::<A>(-c * square, c * lost)
            }

            /// The normal distribution function (1 + erf(x / sqrt 2)) / 2 within 3.7 ulp.
            #[inline(always)]
            pub fn normal_cdf<A: Arithmetic>(x: $t) -> $t {
                // From here on the tail is 0; NaN passes.
                let size = if x.abs() > $end { $end } else { x.abs() };
                let w = polynomial::<$t, A, $terms>((size - $k) / (size + $k), $w);
                let tail = gaussian::<A>(x, 0.5) * (w / (size + $a));
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
    [2.5, 0.8125, 15.0],
    11,
    [
        0.468_160_03,
        -0.048_824_407,
        -0.058_929_622,
        0.050_666_08,
        -0.007_738_961_4,
        -0.006_602_075,
        0.001_129_195_8,
        0.001_332_852_9,
        3.815_085_4e-5,
        -0.000_232_688_97,
        -6.903_803e-5,
    ]
);
normal!(
    in_double,
    f64,
    double,
    0x7ff_ffffu64,
    [4.0, 1.25, 40.0],
    23,
    [
        0.495_655_866_835_336_9,
        -0.139_302_907_713_639_32,
        0.045_094_448_559_246_214,
        0.010_673_512_219_078_807,
        -0.024_481_636_401_775_673,
        0.015_813_073_610_304_91,
        -0.004_875_488_066_461_676,
        -0.000_125_919_651_042_127_62,
        0.000_648_100_971_665_466_9,
        -0.000_105_818_859_229_273_65,
        -8.069_066_175_324_595e-5,
        2.240_743_400_967_741e-5,
        1.254_915_475_656_205_7e-5,
        -3.638_295_047_448_881e-6,
        -2.442_577_559_212_060_3e-6,
        4.543_345_753_898_856e-7,
        5.197_608_367_352_282e-7,
        -1.122_687_180_838_464_9e-8,
        -9.912_324_743_902_389e-8,
        -1.543_764_829_872_145e-8,
        1.174_631_834_094_587_7e-8,
        3.795_549_983_914_673e-9,
        1.267_751_101_664_762e-11,
    ]
);

/// The complementary error function within 4 ulp in f32: e^(-x^2) W(t) / (x + a) for x >= 0, as the normal
/// distribution's tail.
#[inline(always)]
pub fn erfc<A: Arithmetic>(x: f32) -> f32 {
    // From here on the tail is 0; NaN passes.
    let size = if x.abs() > 10.5 { 10.5 } else { x.abs() };
    let w = polynomial::<f32, A, 11>(
        (size - 1.75) / (size + 1.75),
        [
            0.658_998_3,
            -0.062_686_97,
            -0.087_468_13,
            0.071_572_213,
            -0.009_492_199,
            -0.009_659_192,
            0.001_273_549_6,
            0.001_941_823_9,
            0.000_133_791_68,
            -0.000_332_098_54,
            -0.000_109_526_76,
        ],
    );
    let tail = in_single::gaussian::<A>(x, 1.0) * (w / (size + 0.5625));
    if x < 0.0 { 2.0 - tail } else { tail }
}

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
        assert!(errors.iter().all(|&e| e <= 3.7), "{errors:?}");
        let errors = [worst(erfc::<Fused>, libm::erfc), worst(erfc::<Plain>, libm::erfc)];
        println!("erfc: {errors:?} ulp");
        assert!(errors.iter().all(|&e| e <= 4.0), "{errors:?}");
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
