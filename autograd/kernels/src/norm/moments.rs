//! Mean and variance of a row, at any magnitude and any distance from 0.

use crate::real::{Arithmetic, Element, Plain};
use crate::reduce::fold::{Functions, Same, row_sum, row_sums};

/// Elements whose mean is the first estimate of the mean of all.
pub(super) const SAMPLE: usize = 32;
/// How much larger squares about a centre may be than those about the mean.
pub(super) const FAR: f64 = 4.0;

/// The mean of a row as a sum, centre + offset, since the mean of numbers far from 0 may not be an element of T; and the
/// biased variance.
pub(super) struct Moments<T> {
    pub centre: T,
    pub offset: f64,
    pub var: f64,
}

impl<T: Element> Moments<T> {
    pub fn mean(&self) -> f64 {
        self.centre.to_f64() + self.offset
    }

    /// 1 / sqrt(var + root^2), without squaring `root`; 0 instead of infinity, so that equal numbers become zeros with
    /// any epsilon, also with none.
    pub fn rstd(&self, root: f64) -> f64 {
        let std = self.var.sqrt().hypot(root);
        if std == 0.0 { 0.0 } else { 1.0 / std }
    }
}

/// x - centre and its square.
struct Deviation<T>(T);
impl<T: Element> Functions<T, 1, 2> for Deviation<T> {
    #[inline(always)]
    fn call(&self, [x]: [T; 1]) -> [T; 2] {
        let d = x - self.0;
        [d, d * d]
    }
}

/// Squares are taken about the mean of a few elements. If that is far from the mean of all, so that the result would be
/// a difference of two large numbers, they are taken again about the mean of all.
#[inline(always)]
pub(super) fn moments<T: Element, A: Arithmetic>(x: &[T]) -> Moments<T> {
    let (few, count) = (x.len().min(SAMPLE), x.len() as f64);
    let sample = row_sum::<T, A, 1>(&Same, [&x[..few]]).to_f64();
    let mut centre = T::from_f64(sample / few as f64);
    let mut last = false;
    loop {
        let [d, squares] = row_sums::<T, 1, 2, 32>([x], Deviation(centre)).map(T::to_f64);
        let offset = d / count;
        let var = squares / count - offset * offset;
        // NaN does not need a second pass.
        let far = squares > FAR * (var * count);
        if last || !far {
            return Moments { centre, offset, var };
        }
        centre = T::from_f64(centre.to_f64() + offset);
        last = true;
    }
}

/// Numbers whose squares overflow or underflow, divided by a power of two near the largest of them, and their moments.
pub(super) struct Scaled {
    pub x: Vec<f64>,
    pub scale: f64,
    pub moments: Moments<f64>,
}

impl Scaled {
    pub fn new(x: impl Iterator<Item = f64> + Clone) -> Self {
        let most = x.clone().fold(0.0, |most: f64, x| most.max(x.abs()));
        let exponent = f64::from_bits(most.to_bits() & f64::INFINITY.to_bits());
        // Zeros do not change, and numbers that are not finite become NaN.
        let scale = if most > 0.0 && most.is_finite() { exponent.max(f64::MIN_POSITIVE) } else { 1.0 };
        let x: Vec<f64> = x.map(|x| x / scale).collect();
        let moments = moments::<f64, Plain>(&x);
        Scaled { x, scale, moments }
    }
}
