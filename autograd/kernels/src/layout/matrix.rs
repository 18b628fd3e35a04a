//! Triangles and diagonals of the last two axes.

use super::view::View;
use super::zero;
use crate::par;
use crate::real::Element;

/// Matrices in `len` elements of shape [.., rows, cols].
fn count(len: usize, rows: usize, cols: usize) -> usize {
    let area = rows * cols;
    assert!(len.is_multiple_of(area), "matrices of {rows} x {cols}: {len} elements are no whole number");
    len.checked_div(area).unwrap_or(0)
}

/// Copies each `rows` x `cols` matrix of `x`, keeping the elements on and below diagonal `k` (column - row <= k)
/// and writing 0 elsewhere. It is its own adjoint.
///
/// # Panics
/// If the slices differ in length or do not hold whole matrices.
pub fn tril<T: Element>(x: &[T], rows: usize, cols: usize, k: isize, out: &mut [T]) {
    triangle(x, rows, cols, out, |i| (0, k.saturating_add(i + 1)));
}

/// Copies each `rows` x `cols` matrix of `x`, keeping the elements on and above diagonal `k` (column - row >= k)
/// and writing 0 elsewhere. It is its own adjoint.
///
/// # Panics
/// If the slices differ in length or do not hold whole matrices.
pub fn triu<T: Element>(x: &[T], rows: usize, cols: usize, k: isize, out: &mut [T]) {
    triangle(x, rows, cols, out, |i| (k.saturating_add(i), cols as isize));
}

/// Keeps the columns `kept(row)` of each row.
fn triangle<T: Element>(
    x: &[T],
    rows: usize,
    cols: usize,
    out: &mut [T],
    kept: impl Fn(isize) -> (isize, isize) + Sync,
) {
    assert_eq!(x.len(), out.len(), "triangle: output as long as the input");
    if count(x.len(), rows, cols) == 0 {
        return;
    }
    let rows_a_piece = ((1 << 15) / cols).max(1);
    par::chunks(out, rows_a_piece * cols, |piece, out| {
        let first = piece * rows_a_piece;
        let x = &x[first * cols..][..out.len()];
        for (r, (x, out)) in x.chunks_exact(cols).zip(out.chunks_exact_mut(cols)).enumerate() {
            let (from, to) = kept(((first + r) % rows) as isize);
            let to = to.clamp(0, cols as isize) as usize;
            let from = (from.max(0) as usize).min(to);
            out[..from].fill(T::ZERO);
            out[from..to].copy_from_slice(&x[from..to]);
            out[to..].fill(T::ZERO);
        }
    });
}

/// The places of diagonal `k` of a `rows` x `cols` matrix: the first one and how many.
fn diagonal_of(rows: usize, cols: usize, k: isize) -> (usize, usize) {
    let (down, right) = if k < 0 { (k.unsigned_abs(), 0) } else { (0, k.unsigned_abs()) };
    let len = rows.saturating_sub(down).min(cols.saturating_sub(right));
    (if len == 0 { 0 } else { down * cols + right }, len)
}

/// Elements on diagonal `k` (column - row = k) of a `rows` x `cols` matrix.
pub fn diagonal_len(rows: usize, cols: usize, k: isize) -> usize {
    diagonal_of(rows, cols, k).1
}

/// Copies diagonal `k` (column - row = k) of each `rows` x `cols` matrix of `x`, one after the other.
///
/// # Panics
/// If `x` does not hold whole matrices, or `out` not [`diagonal_len`] elements for each.
pub fn diagonal<T: Copy + Send + Sync>(x: &[T], rows: usize, cols: usize, k: isize, out: &mut [T]) {
    let (start, len) = diagonal_of(rows, cols, k);
    let matrices = count(x.len(), rows, cols);
    View::new([(matrices, (rows * cols) as isize), (len, cols as isize + 1)].into_iter(), start).read(x, out);
}

/// The adjoint of [`diagonal`]: matrices that are zero but for diagonal `k`, which receives `g`.
///
/// # Panics
/// As [`diagonal`].
pub fn diagonal_embed<T: Element>(g: &[T], rows: usize, cols: usize, k: isize, out: &mut [T]) {
    let (start, len) = diagonal_of(rows, cols, k);
    let matrices = count(out.len(), rows, cols);
    zero(out);
    View::new([(matrices, (rows * cols) as isize), (len, cols as isize + 1)].into_iter(), start)
        .write(g, out);
}
