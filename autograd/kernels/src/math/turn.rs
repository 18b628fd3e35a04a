//! Sine and cosine in f32, without a branch at any magnitude.
//!
//! Counted in right angles, x is m 2^k 2/pi for a whole m below 2^24, and of 2^k 2/pi only what is below four of them
//! matters: a table has it for every exponent, in two parts, the first short enough that its product with m is exact
//! (Payne and Hanek, Radian reduction for trigonometric functions, SIGNUM Newsletter 18, 1983). What is left after the
//! nearest whole number of right angles goes through a Taylor polynomial in f64, 29 bits more than the result keeps.

use super::polynomial;
use crate::real::Arithmetic;

/// The binary digits of 2/pi after the point.
const TWO_OVER_PI: [u64; 4] =
    [0xa2f9_836e_4e44_1529, 0xfc27_57d1_f534_ddc0, 0xdb62_9599_3c43_9041, 0xfe51_63ab_debb_c561];
/// Digits of the first part: 24 of m and these make 53.
const FIRST: i32 = 29;

/// 2^k 2/pi without multiples of 4, in two parts, where 2^k is the last place of an f32 with this biased exponent.
static TURNS: [[f64; 2]; 256] = {
    let mut turns = [[f64::NAN; 2]; 256];
    let mut exponent = 0;
    while exponent < 255 {
        let k = (if exponent == 0 { 1 } else { exponent }) - 150;
        // Digit i stands for 2^(k - i).
        let from = if k < 2 { 1 } else { k - 1 };
        let (middle, end) = (from + FIRST, from + FIRST + 53);
        turns[exponent as usize] = [
            digits(from, middle) as f64 * power_of_two(k - middle + 1),
            digits(middle, end) as f64 * power_of_two(k - end + 1),
        ];
        exponent += 1;
    }
    turns
};

/// Digits `from`..`to` of 2/pi, as a number; the first is digit 1.
const fn digits(from: i32, to: i32) -> u64 {
    let (mut number, mut i) = (0, from);
    while i < to {
        let at = (i - 1) as usize;
        number = number << 1 | TWO_OVER_PI[at / 64] >> (63 - at % 64) & 1;
        i += 1;
    }
    number
}

const fn power_of_two(n: i32) -> f64 {
    f64::from_bits(((n + 1023) as u64) << 52)
}

/// The sine within 0.51 ulp.
#[inline(always)]
pub fn sin<A: Arithmetic>(x: f32) -> f32 {
    let y = sine::<A>(x, 0);
    // A sum with 0 has no negative zero.
    if x == 0.0 { x } else { y }
}

/// The cosine within 0.51 ulp.
#[inline(always)]
pub fn cos<A: Arithmetic>(x: f32) -> f32 {
    sine::<A>(x, 1)
}

/// The tangent within 0.51 ulp.
#[inline(always)]
pub fn tan<A: Arithmetic>(x: f32) -> f32 {
    let (odd, even, turns) = reduced::<A>(x);
    let y = if turns & 1 == 0 { odd / even } else { -even / odd };
    // A sum with 0 has no negative zero.
    if x == 0.0 { x } else { y as f32 }
}

/// sin(x + `quarters` pi / 2)
#[inline(always)]
fn sine<A: Arithmetic>(x: f32, quarters: u64) -> f32 {
    let (odd, even, turns) = reduced::<A>(x);
    let quarter = turns.wrapping_add(quarters);
    let y = if quarter & 1 == 0 { odd } else { even };
    f64::from_bits(y.to_bits() ^ (quarter & 2) << 62) as f32
}

/// Sine and cosine of what is left of x after the nearest whole number of right angles, and that number.
#[inline(always)]
fn reduced<A: Arithmetic>(x: f32) -> (f64, f64, u64) {
    /// Adding 1.5 * 2^52 leaves the nearest integer in the low bits.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    let bits = x.to_bits();
    let exponent = bits >> 23 & 0xff;
    let leading = if exponent == 0 { 0 } else { 0x80_0000 };
    let m = f64::from((bits & 0x7f_ffff | leading) as i32).copysign(f64::from(x));
    let [first, second] = TURNS[exponent as usize];
    let (p, q) = (m * first, m * second);
    let rounded = p + q + ROUND;
    let n = rounded - ROUND;
    let r = ((p - n) + q) * std::f64::consts::FRAC_PI_2;
    let square = r * r;
    let odd = polynomial::<f64, A, 5>(
        square,
        [-1.0 / 6.0, 1.0 / 120.0, -1.0 / 5040.0, 1.0 / 362_880.0, -1.0 / 39_916_800.0],
    );
    let odd = A::mul_add(odd * square, r, r);
    let even = polynomial::<f64, A, 6>(
        square,
        [-0.5, 1.0 / 24.0, -1.0 / 720.0, 1.0 / 40_320.0, -1.0 / 3_628_800.0, 1.0 / 479_001_600.0],
    );
    let even = A::mul_add(even, square, 1.0);
    (odd, even, rounded.to_bits())
}

#[cfg(test)]
mod tests {
    use std::f32::consts::{FRAC_PI_2, PI};

    use super::*;
    use crate::real::{Fused, Plain};

    /// The largest error in ulp against the standard library's in f64, which reduces by all digits.
    fn worst(f: impl Fn(f32) -> f32, truth: impl Fn(f64) -> f64) -> f64 {
        let mut worst = 0.0f64;
        for bits in (0..=u32::MAX).step_by(499) {
            let x = f32::from_bits(bits);
            if !x.is_finite() {
                assert!(f(x).is_nan(), "{x}");
                continue;
            }
            let (y, t) = (f64::from(f(x)), truth(f64::from(x)));
            let ulp = f64::powi(2.0, (t.abs().log2().floor() as i32).max(-126) - 23);
            if y != t {
                worst = worst.max((y - t).abs() / ulp);
            }
        }
        worst
    }

    #[test]
    fn sines_are_almost_correctly_rounded_at_every_magnitude() {
        let errors = [
            worst(sin::<Fused>, f64::sin),
            worst(sin::<Plain>, f64::sin),
            worst(cos::<Fused>, f64::cos),
            worst(cos::<Plain>, f64::cos),
            worst(tan::<Fused>, f64::tan),
            worst(tan::<Plain>, f64::tan),
        ];
        println!("{errors:?} ulp");
        assert!(errors.iter().all(|&e| e <= 0.51), "{errors:?}");
    }

    #[test]
    fn hard_cases() {
        // Next to multiples of pi / 2: what is left is 2^-30 of x and less. Zeros keep their sign.
        for x in [FRAC_PI_2, PI, 11.0, 16_367_173.0 * 2f32.powi(72), 4.712_389, 1e30, f32::MAX] {
            for x in [x, -x] {
                assert_eq!(sin::<Fused>(x), f64::from(x).sin() as f32, "{x}");
                assert_eq!(cos::<Plain>(x), f64::from(x).cos() as f32, "{x}");
            }
        }
        assert_eq!(sin::<Plain>(-0.0).to_bits(), (-0.0f32).to_bits());
        assert_eq!(sin::<Fused>(1e-45), 1e-45);
        assert_eq!(cos::<Fused>(-0.0), 1.0);
    }
}
