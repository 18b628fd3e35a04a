//! Parts of a tensor: strided slices, and the blocks that are joined or split along an axis.

use super::view::View;
use super::{around, strides, zero};
use crate::real::Element;

/// Copies every `steps[a]`-th element along each axis a, from `starts[a]` on: element i along axis a of `out`
/// (shape `out_dims`) is element `starts[a] + i * steps[a]` of `x` (shape `dims`). A step of -1 from the last
/// element on reverses the axis.
///
/// # Panics
/// If an element of the slice lies outside `x`, or a slice does not have its shape's size.
pub fn strided_slice<T: Copy + Send + Sync>(
    x: &[T],
    dims: &[usize],
    starts: &[usize],
    steps: &[isize],
    out_dims: &[usize],
    out: &mut [T],
) {
    assert_eq!(x.len(), strides(dims).1, "strided_slice: input of the given shape");
    part(dims, starts, steps, out_dims).read(x, out);
}

/// The adjoint of [`strided_slice`]: `out` (shape `dims`) is zero but for the places of the slice, which
/// receive `g` (shape `g_dims`).
///
/// # Panics
/// As [`strided_slice`], and if a step is 0 along an axis of more than one element.
pub fn slice_scatter<T: Element>(
    g: &[T],
    g_dims: &[usize],
    starts: &[usize],
    steps: &[isize],
    dims: &[usize],
    out: &mut [T],
) {
    assert_eq!(out.len(), strides(dims).1, "slice_scatter: output of the given shape");
    assert!(
        steps.iter().zip(g_dims).all(|(&step, &n)| step != 0 || n <= 1),
        "slice_scatter: a step of 0 would write one place twice"
    );
    zero(out);
    part(dims, starts, steps, g_dims).write(g, out);
}

/// The view of a strided slice, every index of which is checked.
fn part(dims: &[usize], starts: &[usize], steps: &[isize], part_dims: &[usize]) -> View {
    let (stride, _) = strides(dims);
    assert!(
        starts.len() == dims.len() && steps.len() == dims.len() && part_dims.len() == dims.len(),
        "slice: a start, a step and a length for each of the {} axes",
        dims.len()
    );
    let mut offset = 0;
    for (a, (&n, &count)) in dims.iter().zip(part_dims).enumerate() {
        let last = starts[a] as isize + (count as isize - 1) * steps[a];
        let inside = count == 0 || starts[a] < n && (0..n as isize).contains(&last);
        assert!(
            inside,
            "slice: {count} elements from {} in steps of {} leave axis {a} of length {n}",
            starts[a], steps[a]
        );
        offset += starts[a] * stride[a];
    }
    View::new(part_dims.iter().enumerate().map(|(a, &n)| (n, steps[a] * stride[a] as isize)), offset)
}

/// Copies `x` (shape `x_dims`) into `out` (shape `out_dims`) as a block along `axis` that starts at `offset`:
/// one operand of a concatenation. The rest of `out` is left as it was.
///
/// # Panics
/// If the shapes differ in another axis, the block does not fit, or a slice does not have its shape's size.
pub fn copy_into<T: Copy + Send + Sync>(
    out: &mut [T],
    out_dims: &[usize],
    axis: usize,
    offset: usize,
    x: &[T],
    x_dims: &[usize],
) {
    assert_eq!(out.len(), strides(out_dims).1, "copy_into: output of the given shape");
    block(out_dims, axis, offset, x_dims).write(x, out);
}

/// Copies the block of `x` (shape `x_dims`) that starts at `offset` along `axis` and has the shape `out_dims`:
/// one part of a split.
///
/// # Panics
/// As [`copy_into`].
pub fn copy_from<T: Copy + Send + Sync>(
    x: &[T],
    x_dims: &[usize],
    axis: usize,
    offset: usize,
    out: &mut [T],
    out_dims: &[usize],
) {
    assert_eq!(x.len(), strides(x_dims).1, "copy_from: input of the given shape");
    block(x_dims, axis, offset, out_dims).read(x, out);
}

/// The view of a block of a tensor of shape `dims`: shorter along `axis`, whole along the others.
fn block(dims: &[usize], axis: usize, offset: usize, block_dims: &[usize]) -> View {
    let same =
        dims.len() == block_dims.len() && (0..dims.len()).all(|a| a == axis || dims[a] == block_dims[a]);
    assert!(same, "block: {block_dims:?} differs from {dims:?} in more than axis {axis}");
    let (outer, n, inner) = around(dims, axis);
    let count = block_dims[axis];
    assert!(offset + count <= n, "block: {count} elements from {offset} leave axis {axis} of length {n}");
    let (whole, run) = ((n * inner) as isize, count * inner);
    View::new([(outer, whole), (run, 1)].into_iter(), offset * inner)
}
