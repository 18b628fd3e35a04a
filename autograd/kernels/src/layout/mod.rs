//! Moving elements: permute, slice, pad, join, gather, scatter.
//!
//! Most of these use a [`view`]: iterate over a slice by strides and copy to, or from, a contiguous slice. Every kernel
//! here is linear in its data, and those that drop or repeat elements have an adjoint.

mod index;
mod matrix;
mod pad;
mod slice;
mod view;

pub use index::{check_indices, gather, index_add, index_select, one_hot, put_add, scatter_add, take};
pub use matrix::{diagonal, diagonal_embed, diagonal_len, tril, triu};
pub use pad::{Fill, pad, pad_adjoint};
pub use slice::{copy_from, copy_into, slice_scatter, strided_slice};

use crate::real::Element;
use crate::{MAX_RANK, par};
use view::View;

/// Writes zeros.
fn zero<T: Element>(out: &mut [T]) {
    par::chunks(out, 1 << 16, |_, out| out.fill(T::ZERO));
}

/// Row-major strides of a shape, and its number of elements.
fn strides(dims: &[usize]) -> ([usize; MAX_RANK], usize) {
    assert!(dims.len() <= MAX_RANK, "layout: {} axes, but at most {MAX_RANK} are possible", dims.len());
    let mut strides = [0; MAX_RANK];
    let mut len = 1;
    for (stride, dim) in strides.iter_mut().zip(dims).rev() {
        *stride = len;
        len *= dim;
    }
    (strides, len)
}

/// `dims` cut at an axis: the products before and after it, and its length.
fn around(dims: &[usize], axis: usize) -> (usize, usize, usize) {
    assert!(axis < dims.len(), "layout: axis {axis} of a shape with {} axes", dims.len());
    (dims[..axis].iter().product(), dims[axis], dims[axis + 1..].iter().product())
}

/// Copies `x` of shape `dims` with its axes reordered: axis `a` of `out` is axis `axes[a]` of `x`.
///
/// Its adjoint is the permutation by the inverse of `axes`.
///
/// # Panics
/// If `axes` is not a permutation of the axes of `dims`, or a slice does not have the shape's size.
pub fn permute<T: Copy + Send + Sync>(x: &[T], dims: &[usize], axes: &[usize], out: &mut [T]) {
    let (from, len) = strides(dims);
    assert_eq!(x.len(), len, "permute: input of the given shape");
    let once = |a| axes.iter().filter(|&&b| b == a).count() == 1;
    assert!(
        axes.len() == dims.len() && (0..dims.len()).all(once),
        "permute: {axes:?} is not an order of the {} axes of {dims:?}",
        dims.len()
    );
    View::new(axes.iter().map(|&a| (dims[a], from[a] as isize)), 0).read(x, out);
}

/// Repeats `x` of shape `dims` to the shape `out_dims`: axes are aligned at the last one, and an axis of length
/// 1 or a missing one is repeated.
///
/// # Panics
/// If `dims` does not broadcast to `out_dims`, or a slice does not have its shape's size.
pub fn broadcast_to<T: Copy + Send + Sync>(x: &[T], dims: &[usize], out_dims: &[usize], out: &mut [T]) {
    let (from, len) = strides(dims);
    assert_eq!(x.len(), len, "broadcast_to: input of the given shape");
    assert!(dims.len() <= out_dims.len(), "broadcast_to: {dims:?} does not broadcast to {out_dims:?}");
    let new = out_dims.len() - dims.len();
    let axes = out_dims.iter().enumerate().map(|(a, &n)| match a.checked_sub(new) {
        Some(a) if dims[a] == n => (n, from[a] as isize),
        Some(a) => {
            assert_eq!(dims[a], 1, "broadcast_to: {dims:?} does not broadcast to {out_dims:?}");
            (n, 0)
        }
        None => (n, 0),
    });
    View::new(axes, 0).read(x, out);
}

#[cfg(test)]
mod tests;
