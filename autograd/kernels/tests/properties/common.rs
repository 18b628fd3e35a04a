//! Data, tolerances and settings that the properties share.

use std::sync::Mutex;

use kernels::Element;
use kernels::simd::{self, Level};
use proptest::prelude::*;

pub type TestResult = Result<(), TestCaseError>;

/// A number of cases, without files of failed ones.
pub fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// The instruction set and the convolution algorithm belong to the process: properties that set them run one at a
/// time.
static SETTINGS: Mutex<()> = Mutex::new(());

/// Checks a property with each instruction set that this machine has.
pub fn at_every_level(mut property: impl FnMut() -> TestResult) -> TestResult {
    let _settings = SETTINGS.lock().unwrap_or_else(|e| e.into_inner());
    let levels = [Level::Portable, Level::Avx2, Level::Avx512].into_iter().filter(|l| *l <= simd::detect());
    let result = levels.map(|level| {
        simd::set_level(level);
        property().map_err(|e| match e {
            TestCaseError::Fail(reason) => TestCaseError::fail(format!("{level:?}: {reason}")),
            reject => reject,
        })
    });
    let result = result.collect();
    simd::set_level(simd::detect());
    result
}

/// Number `i` of the data of a seed, uniform on -1..1 (SplitMix64). It does not depend on the length.
fn unit_noise(i: usize, seed: u64) -> f64 {
    let mut z = (seed << 32 ^ i as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ z >> 31) >> 11) as f64 * f64::powi(0.5, 52) - 1.0
}

/// Numbers uniform on -scale..scale.
pub fn noise<T: Element>(len: usize, seed: u64, scale: f64) -> Vec<T> {
    (0..len).map(|i| T::from_f64(unit_noise(i, seed) * scale)).collect()
}

/// The integers -2..=2, so that many are equal; with `nan`, one in sixteen is NaN instead.
pub fn ties<T: Element>(len: usize, seed: u64, nan: bool) -> Vec<T> {
    let value = |i: usize| {
        let v = (unit_noise(i, seed) + 1.0) * 8.0;
        if nan && v < 1.0 { f64::NAN } else { (v.fract() * 5.0).floor() - 2.0 }
    };
    (0..len).map(|i| T::from_f64(value(i))).collect()
}

/// Indices below `bound`.
pub fn indices(len: usize, seed: u64, bound: usize) -> Vec<u32> {
    (0..len).map(|i| ((unit_noise(i, seed) + 1.0) * 0.5 * bound as f64) as u32).collect()
}

pub fn to_f64<T: Element>(x: &[T]) -> Vec<f64> {
    x.iter().map(|v| v.to_f64()).collect()
}

/// The unit roundoff: the largest relative error of one rounding.
pub fn unit<T: Element>() -> f64 {
    f64::powi(0.5, if size_of::<T>() == size_of::<f32>() { 24 } else { 53 })
}

/// The smallest positive number: a result that underflows is off by at most this.
pub fn tiny<T: Element>() -> f64 {
    if size_of::<T>() == size_of::<f32>() { f64::from(f32::from_bits(1)) } else { f64::from_bits(1) }
}

/// The largest relative error of a product of `n` factors 1 + d with |d| <= u: n u / (1 - n u) (Higham, Accuracy
/// and Stability of Numerical Algorithms, 2002, lemma 3.1). A sum of n terms, in any order, is off by at most
/// gamma(n - 1) times the sum of their absolute values; if terms are products, gamma(n), with or without fused
/// multiply-add. Zeros count neither as terms nor as roundings.
///
/// u is the sum of the unit roundoffs of T and f64, since the definition is rounded as often.
pub fn gamma<T: Element>(n: usize) -> f64 {
    let nu = n as f64 * (unit::<T>() + unit::<f64>());
    nu / (1.0 - nu)
}

/// A value by definition, and the sum of the absolute values of its terms.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms {
    pub value: f64,
    pub size: f64,
}

impl Terms {
    pub fn add(&mut self, term: f64) {
        self.value += term;
        self.size += term.abs();
    }
}

impl FromIterator<f64> for Terms {
    fn from_iter<I: IntoIterator<Item = f64>>(terms: I) -> Self {
        let mut sum = Terms::default();
        terms.into_iter().for_each(|term| sum.add(term));
        sum
    }
}

/// Checks every element of `found` against `expected(element)`, which gives a value and a tolerance. NaN and infinity
/// must be exactly those.
pub fn check<T: Element>(op: &str, found: &[T], expected: impl Fn(usize) -> (f64, f64)) -> TestResult {
    for (i, found) in found.iter().enumerate() {
        let ((value, tolerance), found) = (expected(i), found.to_f64());
        let agree = found == value
            || found.is_nan() && value.is_nan()
            || value.is_finite() && (found - value).abs() <= tolerance;
        prop_assert!(
            agree,
            "{} of {op}: element {i} is {found:e}, expected {value:e} within {tolerance:.1e}",
            T::NAME
        );
    }
    Ok(())
}

/// Checks sums of `roundings` rounded terms each.
pub fn check_sums<T: Element>(op: &str, found: &[T], terms: &[Terms], roundings: usize) -> TestResult {
    prop_assert_eq!(found.len(), terms.len(), "{}: number of elements", op);
    // Every product and sum may underflow once.
    let underflow = (2 * roundings + 2) as f64 * tiny::<T>();
    check(op, found, |i| (terms[i].value, gamma::<T>(roundings) * terms[i].size + underflow))
}

/// Checks that every element of `found` is exactly that of `expected`.
pub fn check_exact<T: Element>(op: &str, found: &[T], expected: &[T]) -> TestResult {
    prop_assert_eq!(found.len(), expected.len(), "{}: number of elements", op);
    check(op, found, |i| (expected[i].to_f64(), 0.0))
}

/// The index along each axis of flat element `i` of a shape.
pub fn unravel(mut i: usize, dims: &[usize]) -> Vec<usize> {
    let mut place = vec![0; dims.len()];
    for (place, &n) in place.iter_mut().zip(dims).rev() {
        (*place, i) = (i % n, i / n);
    }
    place
}

/// The flat element at an index of a shape.
pub fn ravel(place: &[usize], dims: &[usize]) -> usize {
    place.iter().zip(dims).fold(0, |at, (&i, &n)| at * n + i)
}
