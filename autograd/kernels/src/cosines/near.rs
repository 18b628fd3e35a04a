//! Nearly equal and nearly opposite rows, whose cosine is not accurate enough.
//!
//! At angle a, 2 - 2c = a^2 is a difference of numbers near 2: at a = 1e-4 eight digits are left in f64, in f32
//! none. The squared chord |u - v|^2 is accurate. Rows a little shorter than 1 (normalised with an epsilon) add their
//! deficit from length 1: 2 - 2c = |u - v|^2 + (1 - |u|^2) + (1 - |v|^2). In f64, from vectors as they are, its
//! relative error is that of rounding points in f64, 1e-16 / a. Such pairs are few, so they are found among the
//! cosines, row by row, and computed one by one. Their part of the gradient, K W, is a sum in which large coefficients
//! cancel: there the relative error is e / a for numbers of precision e, as much as rounding W itself makes.

use super::points::Points;
use super::{CosineFunction, Sums};
use crate::real::Element;

/// The distance from 1 at which a cosine counts as near: below it the relative rounding error of 2 - 2c exceeds 1e-12
/// (f32: 1e-5).
pub(super) fn near<T>() -> f64 {
    if size_of::<T>() == size_of::<f32>() { 1.0 / 64.0 } else { 1.0 / 1024.0 }
}

impl<F: CosineFunction> Sums<F> {
    /// f of points i and j, its slope with respect to their cosine, and that cosine, from their chords.
    pub(super) fn exact<T: Element>(&self, points: Points<T>, i: usize, j: usize) -> [f64; 3] {
        let (mut minus, mut plus) = (0.0, 0.0);
        for (u, v) in points.point(i).zip(points.point(j)) {
            minus += (u - v) * (u - v);
            plus += (u + v) * (u + v);
        }
        let lack = points.lack(i) + points.lack(j);
        // Chords that consist of rounding errors: the points coincide, and the direction of the gradient is undefined.
        let lost = 64.0 * f64::EPSILON * f64::EPSILON;
        let square = |chord: f64| if chord <= lost { lack } else { chord + lack };
        let (x, y) = (square(minus), square(plus));
        let cosine = if x < y { 1.0 - 0.5 * x } else { 0.5 * y - 1.0 };
        let (f, df) = self.0.at_chords(x, y);
        if self.0.antipodes() {
            let (g, dg) = self.0.at_chords(y, x);
            [f + g, df - dg, cosine]
        } else {
            [f, df, cosine]
        }
    }

    /// f of point i and its antipode, and its slope with respect to their cosine, -|u|^2, times the deficit of the
    /// point from length 1: the only part of that slope in the gradient.
    pub(super) fn antipode<T: Element>(&self, points: Points<T>, i: usize) -> (f64, f64) {
        let lack = points.lack(i);
        let (f, df) = self.0.at_chords(4.0 - 2.0 * lack, 2.0 * lack);
        (f, df * lack)
    }
}
