//! Triangular systems with many right-hand sides.

use super::Subtract;
use crate::par::{self, Shared};
use crate::real::Element;
use crate::simd;

/// Right-hand sides that one thread solves for at a time.
const COLUMNS: usize = 64;

/// How to read a triangular matrix; the other triangle is never read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Triangle {
    /// Whether the lower triangle is stored; else the upper one.
    pub lower: bool,
    /// Whether the diagonal is taken as ones; the stored one is then ignored.
    pub unit: bool,
    /// Whether the transpose is used.
    pub transposed: bool,
}

impl Triangle {
    /// Replaces the n x m matrix `b` by the X with T X = B, T the triangle of the n x n matrix `t`.
    ///
    /// # Errors
    /// The first row whose diagonal element is 0 or not finite.
    ///
    /// # Panics
    /// If a slice does not have its size.
    pub fn solve<T: Element>(&self, t: &[T], n: usize, b: &mut [T], m: usize) -> Result<(), usize> {
        assert_eq!(t.len(), n * n, "triangular solve: {n} x {n} elements");
        assert_eq!(b.len(), n * m, "triangular solve: {n} x {m} right-hand sides");
        let usable = |i: usize| t[i * n + i] != T::ZERO && t[i * n + i].is_finite();
        if let Some(row) = (0..n).find(|&i| !self.unit && !usable(i)) {
            return Err(row);
        }
        self.substitute(t, n, b, m);
        Ok(())
    }

    /// [`Triangle::solve`] without checking the diagonal.
    pub(super) fn substitute<T: Element>(&self, t: &[T], n: usize, b: &mut [T], m: usize) {
        let at = |i: usize, k: usize| if self.transposed { t[k * n + i] } else { t[i * n + k] };
        let downwards = self.lower != self.transposed;
        let row = |i: usize| if downwards { i } else { n - 1 - i };
        let b = Shared::new(b);
        par::run(m.div_ceil(COLUMNS), |piece| {
            let from = piece * COLUMNS;
            let width = COLUMNS.min(m - from);
            for i in (0..n).map(row) {
                // SAFETY: pieces are disjoint in their columns, and rows i and k differ.
                let y = unsafe { b.slice(i * m + from, width) };
                for k in (0..n).map(row).take_while(|&k| k != i) {
                    // SAFETY: as above.
                    let x = unsafe { b.slice(k * m + from, width) };
                    simd::dispatch(Subtract { factor: at(i, k), x, y });
                }
                if !self.unit {
                    y.iter_mut().for_each(|y| *y = *y / at(i, i));
                }
            }
        });
    }
}
