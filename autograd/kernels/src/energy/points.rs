//! The rows that energies are of.

use std::ops::Range;

use super::pair::epsilon;
use crate::real::Element;

/// Directions u = w / sqrt(|w|^2 + eps), rows of `d`; in a batch, `n` of them for each matrix.
///
/// Such rows lack something to length 1, 1 - |u|^2 = eps / (|w|^2 + eps). Whoever knows eps can tell it to full
/// relative precision, which u cannot once it is below rounding: rows that nearly coincide need it.
#[derive(Clone, Copy, Debug)]
pub struct Points<'a, T> {
    /// The rows, `n` of `d` elements for each matrix.
    pub u: &'a [T],
    /// What each of them lacks to length 1; if this is not said, it is taken from the rows.
    pub lack: Option<&'a [T]>,
    /// The rows of a matrix.
    pub n: usize,
    /// The elements of a row.
    pub d: usize,
}

impl<'a, T: Element> Points<'a, T> {
    /// Rows that speak for themselves.
    pub fn new(u: &'a [T], n: usize, d: usize) -> Points<'a, T> {
        Points { u, lack: None, n, d }
    }

    /// Panics unless the slices have the sizes of `batch` matrices.
    pub(super) fn check(&self, batch: usize) {
        let Points { u, lack, n, d } = self;
        assert_eq!(u.len(), batch * n * d, "energy: {batch} times {n} rows of {d}");
        assert!(lack.is_none_or(|lack| lack.len() == batch * n), "energy: what {batch} times {n} rows lack");
    }

    /// Matrix `b` of a batch.
    pub(super) fn matrix(&self, b: usize) -> Points<'a, T> {
        let rows = b * self.n..(b + 1) * self.n;
        Points { u: self.rows(rows.clone()), lack: self.lack.map(|lack| &lack[rows]), ..*self }
    }

    pub(super) fn rows(&self, rows: Range<usize>) -> &'a [T] {
        &self.u[rows.start * self.d..rows.end * self.d]
    }

    pub(super) fn row(&self, i: usize) -> &'a [T] {
        self.rows(i..i + 1)
    }

    /// What row i lacks to length 1; if only the row can tell, nothing up to rounding.
    pub(super) fn lack(&self, i: usize) -> f64 {
        if let Some(lack) = self.lack {
            return lack[i].to_f64();
        }
        let lack = 1.0 - self.row(i).iter().map(|v| v.to_f64() * v.to_f64()).sum::<f64>();
        if lack > 16.0 * epsilon::<T>() { lack } else { 0.0 }
    }
}
