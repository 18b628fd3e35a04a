//! Special functions. Log-gamma, digamma and the incomplete beta function are those of the crate `statrs`; the rest
//! is here.

use std::f64::consts::PI;

pub(super) use statrs::function::beta::beta_reg;
pub(super) use statrs::function::gamma::{digamma, ln_gamma};

/// Gauss' hypergeometric function 2F1(a, b; c; z) for 0 <= z <= 1 and c > a + b, by its power series
/// (Abramowitz and Stegun 15.1.1), at z = 1 by Gauss' theorem (15.1.20).
pub(super) fn hypergeometric(a: f64, b: f64, c: f64, z: f64) -> f64 {
    assert!((0.0..=1.0).contains(&z) && c > a + b, "2F1({a}, {b}; {c}; {z}) is outside the range");
    if z == 1.0 {
        return (ln_gamma(c) + ln_gamma(c - a - b) - ln_gamma(c - a) - ln_gamma(c - b)).exp();
    }
    let (mut term, mut sum, mut n) = (1.0f64, 1.0f64, 0.0);
    // The terms fall at least as fast as z^n: the remainder is below term / (1 - z).
    while term.abs() > 1e-17 * (1.0 - z) * sum.abs() {
        term *= (a + n) * (b + n) / ((c + n) * (1.0 + n)) * z;
        sum += term;
        n += 1.0;
    }
    sum
}

/// The trigamma function at m / 2, m >= 1: pi^2 / 6 at 1, pi^2 / 2 at 1/2, and psi_1(x + 1) = psi_1(x) - 1 / x^2.
pub(super) fn trigamma_of_half(m: usize) -> f64 {
    let (start, first) = if m.is_multiple_of(2) { (PI * PI / 6.0, 2) } else { (PI * PI / 2.0, 1) };
    (first..m).step_by(2).fold(start, |value, i| value - 4.0 / (i * i) as f64)
}

/// P(sqrt(n) D_n > x), where D_n is the largest distance between the distribution function and that of n samples,
/// for large n (Kolmogorov 1933).
pub(super) fn kolmogorov_tail(x: f64) -> f64 {
    if x < 0.4 {
        return 1.0; // but for 3e-3 at 0.4
    }
    let term = |k: i32| (-2.0 * f64::from(k * k) * x * x).exp() * if k % 2 == 1 { 2.0 } else { -2.0 };
    (1..=20).map(term).sum::<f64>().clamp(0.0, 1.0)
}

/// The chance that one coordinate of a uniform point of the unit sphere of R^d is at most t: the density is
/// proportional to (1 - t^2)^((d - 3) / 2), so that (1 + t) / 2 has the beta distribution ((d - 1) / 2, (d - 1) / 2).
pub(super) fn coordinate_cdf(d: usize, t: f64) -> f64 {
    let half = (d - 1) as f64 / 2.0;
    beta_reg(half, half, ((1.0 + t) / 2.0).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(got: f64, want: f64, tolerance: f64) {
        assert!((got - want).abs() <= tolerance * want.abs().max(1.0), "{got}, not {want}");
    }

    // The numbers expected are computed to 18 digits by an arbitrary-precision library.

    #[test]
    fn gamma_functions() {
        for (x, psi, ln) in [
            (0.5, -1.963_510_026_021_423_5, 0.572_364_942_924_700_1),
            (1.5, 0.036_489_973_978_576_52, -0.120_782_237_635_245_22),
            (3.7, 1.167_153_539_361_511_4, 1.428_072_326_665_388),
            (13.0, 2.525_995_013_309_145_4, 19.987_214_495_661_886),
            (100.5, 4.605_174_352_581_845, 361.435_540_467_777_6),
            (1e5, 11.512_920_464_961_895, 1_051_287.708_973_657),
        ] {
            near(digamma(x), psi, 1e-13);
            near(ln_gamma(x), ln, 1e-13);
        }
        for (m, want) in [
            (1, 4.934_802_200_544_679),
            (2, 1.644_934_066_848_226_4),
            (3, 0.934_802_200_544_679_3),
            (4, 0.644_934_066_848_226_4),
            (26, 0.079_957_428_427_323_95),
            (27, 0.076_885_224_601_578_37),
        ] {
            near(trigamma_of_half(m), want, 1e-14);
        }
    }

    #[test]
    fn hypergeometric_series() {
        for (c, z, want) in [
            (1.5, 0.36, 1.072_501_847_988_807_3),
            (3.5, 0.36, 1.028_410_984_073_807),
            (1.5, 0.9801, 1.443_693_791_384_312_4),
            (16.0, 0.81, 1.013_408_273_049_498_5),
            (2.0, 0.998, 1.269_419_143_596_533_7),
            (1.5, 1.0, PI / 2.0),
            (3.5, 1.0, 1.104_466_167_277_661_7),
            (3.5, 0.0, 1.0),
        ] {
            near(hypergeometric(0.5, 0.5, c, z), want, 2e-13);
        }
    }

    #[test]
    fn distributions() {
        for (d, t, want) in [
            (2, 0.3, 0.596_986_684_020_678_3),
            (3, 0.3, 0.65),
            (4, -0.7, 0.094_060_202_187_093_68),
            (10, 0.1, 0.615_062_500_053_931_7),
            (27, 0.25, 0.900_263_026_257_189_1),
            (5, 1.0, 1.0),
            (5, -1.0, 0.0),
        ] {
            near(coordinate_cdf(d, t), want, 1e-12);
        }
        for (x, want) in [
            (0.5, 0.963_945_243_664_875_1),
            (1.0, 0.269_999_671_677_354_5),
            (1.358, 0.050_026_797_334_446_99),
            (2.0, 0.000_670_925_255_779_695_3),
        ] {
            near(kolmogorov_tail(x), want, 1e-14);
        }
    }
}
