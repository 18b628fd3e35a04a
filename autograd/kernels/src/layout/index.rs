//! Moving elements by index: gather, scatter, select, take, put.
//!
//! Indices are u32. An index out of range panics with the index, its position and the bound; a caller who reports it
//! with another message calls [`check_indices`] first. Where several elements are added to one place, they are added in
//! the order of their positions, so the sum does not depend on threads.

use super::{around, strides, zero};
use crate::par::{self, Shared};
use crate::real::Element;

/// Elements that one thread moves at a time.
const GRAIN: usize = 1 << 14;

/// Whether all of `indices` are below `bound`; if not, the first index that is not, as (position, index).
pub fn check_indices(indices: &[u32], bound: usize) -> Result<(), (usize, u32)> {
    match indices.iter().position(|&i| i as usize >= bound) {
        None => Ok(()),
        Some(position) => Err((position, indices[position])),
    }
}

fn assert_indices(op: &str, indices: &[u32], bound: usize) {
    if let Err((position, index)) = check_indices(indices, bound) {
        panic!("{op}: index {index} at position {position} is not below {bound}");
    }
}

/// `out[i, j, k] = x[i, index[i, j, k], k]` for `axis` 1, and likewise for any axis and rank.
///
/// `index` and `out` have the shape `index_dims`, which has as many axes as `dims` and is nowhere longer except
/// along `axis`.
///
/// # Panics
/// If the shapes do not fit, or an index is not below `dims[axis]`.
pub fn gather<T: Copy + Send + Sync>(
    x: &[T],
    dims: &[usize],
    axis: usize,
    index: &[u32],
    index_dims: &[usize],
    out: &mut [T],
) {
    let rows = IndexRows::new("gather", x.len(), dims, axis, index, index_dims);
    assert_eq!(out.len(), index.len(), "gather: output as large as the index");
    if out.is_empty() {
        return;
    }
    let rows_a_piece = (GRAIN / rows.width).max(1);
    par::chunks(out, rows_a_piece * rows.width, |piece, out| {
        for (r, out) in out.chunks_exact_mut(rows.width).enumerate() {
            rows.row(piece * rows_a_piece + r, |k, place| out[k] = x[place]);
        }
    });
}

/// The adjoint of [`gather`]: zeroes `out` (shape `dims`), then adds every element of `g` (shape `index_dims`)
/// to the place that its index names.
///
/// # Panics
/// As [`gather`].
pub fn scatter_add<T: Element>(
    g: &[T],
    index_dims: &[usize],
    axis: usize,
    index: &[u32],
    dims: &[usize],
    out: &mut [T],
) {
    let rows = IndexRows::new("scatter_add", out.len(), dims, axis, index, index_dims);
    assert_eq!(g.len(), index.len(), "scatter_add: input as large as the index");
    zero(out);
    if g.is_empty() {
        return;
    }
    // Elements have the same place only if they agree in all other axes: the first axis may be split unless it is
    // `axis`.
    let slabs = if axis == 0 { 1 } else { index_dims[0] };
    let slab = if axis == 0 { out.len() } else { out.len() / dims[0] };
    let rows_a_slab = index.len() / rows.width / slabs;
    par::chunks(&mut out[..slabs * slab], slab, |s, out| {
        for r in s * rows_a_slab..(s + 1) * rows_a_slab {
            let g = &g[r * rows.width..];
            rows.row(r, |k, place| {
                let v = &mut out[place - s * slab];
                *v = *v + g[k];
            });
        }
    });
}

/// The places that an index tensor names, row by row (runs along the last axis of the index).
struct IndexRows<'a> {
    index: &'a [u32],
    index_dims: &'a [usize],
    strides: [usize; crate::MAX_RANK],
    axis: usize,
    width: usize,
}

impl<'a> IndexRows<'a> {
    fn new(
        op: &str,
        len: usize,
        dims: &[usize],
        axis: usize,
        index: &'a [u32],
        index_dims: &'a [usize],
    ) -> Self {
        let (strides, size) = strides(dims);
        assert_eq!(len, size, "{op}: a slice of the given shape");
        assert_eq!(index.len(), index_dims.iter().product::<usize>(), "{op}: index of the given shape");
        assert!(axis < dims.len(), "{op}: axis {axis} of a shape with {} axes", dims.len());
        let fits =
            index_dims.len() == dims.len() && (0..dims.len()).all(|a| a == axis || index_dims[a] <= dims[a]);
        assert!(fits, "{op}: an index of shape {index_dims:?} does not fit {dims:?} along axis {axis}");
        assert_indices(op, index, dims[axis]);
        IndexRows { index, index_dims, strides, axis, width: index_dims[dims.len() - 1] }
    }

    /// Calls `f(k, place)` for the elements k of row `row`, in order.
    #[inline]
    fn row(&self, row: usize, mut f: impl FnMut(usize, usize)) {
        let last = self.index_dims.len() - 1;
        let (mut rest, mut start) = (row, 0);
        for a in (0..last).rev() {
            let i = rest % self.index_dims[a];
            rest /= self.index_dims[a];
            start += if a == self.axis { 0 } else { i * self.strides[a] };
        }
        let (step, stride) = (usize::from(last != self.axis), self.strides[self.axis]);
        let index = &self.index[row * self.width..(row + 1) * self.width];
        for (k, &i) in index.iter().enumerate() {
            f(k, start + i as usize * stride + k * step);
        }
    }
}

/// Copies the slabs `index` along `axis` of `x` (shape `dims`): `out[i, j, k] = x[i, index[j], k]` for axis 1.
/// Rows of a matrix (an embedding) are axis 0.
///
/// # Panics
/// If a slice does not have its shape's size, or an index is not below `dims[axis]`.
pub fn index_select<T: Copy + Send + Sync>(
    x: &[T],
    dims: &[usize],
    axis: usize,
    index: &[u32],
    out: &mut [T],
) {
    let (outer, n, inner) = around(dims, axis);
    assert_eq!(x.len(), outer * n * inner, "index_select: input of the given shape");
    assert_eq!(out.len(), outer * index.len() * inner, "index_select: output of the given shape");
    assert_indices("index_select", index, n);
    if out.is_empty() {
        return;
    }
    let runs = (GRAIN / inner).max(1);
    par::chunks(out, runs * inner, |piece, out| {
        for (r, out) in out.chunks_exact_mut(inner).enumerate() {
            let run = piece * runs + r;
            let source = run / index.len() * n + index[run % index.len()] as usize;
            out.copy_from_slice(&x[source * inner..][..inner]);
        }
    });
}

/// The adjoint of [`index_select`]: zeroes `out` (shape `dims`), then adds slab j of `g` to slab `index[j]`,
/// in the order of j.
///
/// # Panics
/// As [`index_select`].
pub fn index_add<T: Element>(g: &[T], axis: usize, index: &[u32], dims: &[usize], out: &mut [T]) {
    let (outer, n, inner) = around(dims, axis);
    assert_eq!(out.len(), outer * n * inner, "index_add: output of the given shape");
    assert_eq!(g.len(), outer * index.len() * inner, "index_add: input of the given shape");
    assert_indices("index_add", index, n);
    zero(out);
    // Columns are independent: they are cut so that threads share even one large table.
    let width = inner.min(256);
    let cuts = if width == 0 { 0 } else { inner.div_ceil(width) };
    let out = Shared::new(out);
    par::run(outer * cuts, |piece| {
        let (o, from) = (piece / cuts, piece % cuts * width);
        let width = width.min(inner - from);
        for (j, &i) in index.iter().enumerate() {
            let g = &g[(o * index.len() + j) * inner + from..][..width];
            // SAFETY: i < n, and pieces differ in o or in their columns.
            let out = unsafe { out.slice((o * n + i as usize) * inner + from, width) };
            out.iter_mut().zip(g).for_each(|(v, &g)| *v = *v + g);
        }
    });
}

/// `out[j] = x[index[j]]`, flat.
///
/// # Panics
/// If `out` is not as long as `index`, or an index is not below the length of `x`.
pub fn take<T: Copy + Send + Sync>(x: &[T], index: &[u32], out: &mut [T]) {
    assert_eq!(out.len(), index.len(), "take: output as long as the index");
    par::chunks(out, GRAIN, |piece, out| {
        let first = piece * GRAIN;
        for (j, (v, &i)) in out.iter_mut().zip(&index[first..]).enumerate() {
            *v = match x.get(i as usize) {
                Some(&v) => v,
                None => panic!("take: index {i} at position {} is not below {}", first + j, x.len()),
            };
        }
    });
}

/// The adjoint of [`take`]: zeroes `out`, then `out[index[j]] += g[j]` in the order of j. Not parallel, since indices
/// may repeat anywhere; [`crate::pool`] has the parallel version for max pooling.
///
/// # Panics
/// If `g` is not as long as `index`, or an index is not below the length of `out`.
pub fn put_add<T: Element>(g: &[T], index: &[u32], out: &mut [T]) {
    assert_eq!(g.len(), index.len(), "put_add: input as long as the index");
    assert_indices("put_add", index, out.len());
    zero(out);
    for (&g, &i) in g.iter().zip(index) {
        out[i as usize] = out[i as usize] + g;
    }
}

/// Writes row j of `out` (`index.len()` x `classes`): 1 at `index[j]`, 0 elsewhere.
///
/// # Panics
/// If `out` does not have that size, or an index is not below `classes`.
pub fn one_hot<T: Element>(index: &[u32], classes: usize, out: &mut [T]) {
    assert_eq!(out.len(), index.len() * classes, "one_hot: a row of {classes} for each index");
    assert_indices("one_hot", index, classes);
    zero(out);
    if classes > 0 {
        out.chunks_exact_mut(classes).zip(index).for_each(|(row, &i)| row[i as usize] = T::ONE);
    }
}
