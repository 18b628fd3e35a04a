//! Nearly equal and nearly opposite rows, whose cosine has lost the digits that matter.
//!
//! At angle a, 2 - 2c = a^2 is a difference of numbers near 2: at a = 1e-4 eight digits are left in f64, in f32
//! none. The chord itself has them all, |u - v|^2, to which rows a little shorter than 1 (normalised with an
//! epsilon) add what they lack: 2 - 2c = |u - v|^2 + (1 - |u|^2) + (1 - |v|^2). In f64, from vectors as they are, its
//! relative error is that of rounding points in f64, 1e-16 / a. Such pairs are few, so they are found among the cosines,
//! row by row, and computed one by one. Their part of the gradient, K W, is a sum in which large coefficients cancel:
//! there the relative error is e / a for numbers of precision e, as much as rounding W itself makes.

use super::points::Points;
use super::{CosineFunction, Sums};
use crate::real::Element;

/// How near 1 a cosine counts as near: where its rounding error would show in 2 - 2c beyond 1e-12 (f32: 1e-5).
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
        // Chords that are rounding alone: the points coincide, and where to move them is lost.
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

    /// f of point i and its antipode, and its slope with respect to their cosine, -|u|^2, times what the point
    /// lacks to length 1: all that is left of that slope in the gradient.
    pub(super) fn antipode<T: Element>(&self, points: Points<T>, i: usize) -> (f64, f64) {
        let lack = points.lack(i);
        let (f, df) = self.0.at_chords(4.0 - 2.0 * lack, 2.0 * lack);
        (f, df * lack)
    }
}
