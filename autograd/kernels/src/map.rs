//! Elementwise loops: one function of N numbers over N slices, broadcasting by strides, vectorised.

use crate::real::{Arithmetic, Element, Num, Real};
use crate::simd::{self, Kernel};
use crate::{MAX_RANK, par};

/// A function of N numbers, written once for every kind of number. Must be `#[inline(always)]`.
pub trait Map<const N: usize>: Sync {
    /// The value.
    fn call<R: Real>(&self, x: [R; N]) -> R;
}

/// Elements that one thread computes at a time.
const GRAIN: usize = 1 << 14;
/// Elements that are loaded, computed and stored together: enough for every register width, and constant, so
/// that the compiler needs no remainder loop and no alias checks.
const LANES: usize = 32;

/// `out[i] = f(x[0][i], …, x[N-1][i])`. An input that is `None` is `out` itself, as it was.
///
/// # Panics
/// If a slice is not as long as `out`.
pub fn flat<T: Element, const N: usize>(f: &impl Map<N>, x: [Option<&[T]>; N], out: &mut [T]) {
    for x in x.iter().flatten() {
        assert_eq!(x.len(), out.len(), "map: inputs as long as the output");
    }
    if out.len() <= GRAIN {
        return simd::dispatch(Flat { f, x, out });
    }
    par::chunks(out, GRAIN, |i, out| {
        let start = i * GRAIN;
        let x = x.map(|x| x.map(|x| &x[start..start + out.len()]));
        simd::dispatch(Flat { f, x, out });
    });
}

struct Flat<'a, T, F, const N: usize> {
    f: &'a F,
    x: [Option<&'a [T]>; N],
    out: &'a mut [T],
}

impl<T: Element, F: Map<N>, const N: usize> Kernel for Flat<'_, T, F, N> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Flat { f, x, out } = self;
        let (blocks, tail) = out.as_chunks_mut::<LANES>();
        let start = blocks.len() * LANES;
        let x_blocks = x.map(|x| x.map_or(&[][..], |x| x.as_chunks::<LANES>().0));
        for (b, out) in blocks.iter_mut().enumerate() {
            let x: [&[T; LANES]; N] = std::array::from_fn(|n| x_blocks[n].get(b).unwrap_or(out));
            *out = block::<T, F, A, N>(f, x);
        }
        for (i, out) in tail.iter_mut().enumerate() {
            *out = f.call(x.map(|x| Num::<T, A>::new(x.map_or(*out, |x| x[start + i])))).0;
        }
    }
}

/// The values for one block, read in place and kept in registers until all are there, so that the output may
/// be one of the inputs.
#[inline(always)]
fn block<T: Element, F: Map<N>, A: Arithmetic, const N: usize>(f: &F, x: [&[T; LANES]; N]) -> [T; LANES] {
    let mut y = [T::ZERO; LANES];
    for l in 0..LANES {
        y[l] = f.call(x.map(|x| Num::<T, A>::new(x[l]))).0;
    }
    y
}

/// An input of [`broadcast`]: a slice and, for each axis of the output, how far one step moves in it (0 where
/// the input is repeated).
#[derive(Clone, Copy)]
pub struct Strided<'a, T> {
    /// The elements.
    pub data: &'a [T],
    /// One stride an axis of the output.
    pub strides: [usize; MAX_RANK],
}

/// `out[i] = f(x[0][i], …)` over an output of shape `dims`, each input read by its strides.
///
/// # Panics
/// If `out` does not have the product of `dims` elements, or a stride leads outside its slice.
pub fn broadcast<T: Element, const N: usize>(
    f: &impl Map<N>,
    x: [Strided<'_, T>; N],
    dims: &[usize],
    out: &mut [T],
) {
    assert_eq!(out.len(), dims.iter().product::<usize>(), "map: output of the given shape");
    if out.is_empty() {
        return;
    }
    let (axes, dims, strides) = collapse(dims, x.map(|x| x.strides));
    let inner = dims[0];
    for (x, strides) in x.iter().zip(&strides) {
        let last: usize = dims.iter().zip(strides).map(|(d, s)| (d - 1) * s).sum();
        assert!(last < x.data.len(), "map: strides stay inside their slice");
    }
    let rows_a_piece = (GRAIN / inner).max(1);
    par::chunks(out, rows_a_piece * inner, |piece, out| {
        simd::dispatch(Rows {
            f,
            x: x.map(|x| x.data),
            strides,
            axes,
            dims,
            first: piece * rows_a_piece,
            out,
        });
    });
}

/// Axes from the innermost out, neighbours joined wherever every input allows it, padded with 1s; and how many
/// are left.
fn collapse<const N: usize>(
    dims: &[usize],
    strides: [[usize; MAX_RANK]; N],
) -> (usize, [usize; MAX_RANK], [[usize; MAX_RANK]; N]) {
    let mut out_dims = [1; MAX_RANK];
    let mut out = [[0; MAX_RANK]; N];
    let mut axes = 0;
    for axis in (0..dims.len()).rev().filter(|&a| dims[a] != 1) {
        let joins = axes > 0 && (0..N).all(|n| strides[n][axis] == out[n][axes - 1] * out_dims[axes - 1]);
        if joins {
            out_dims[axes - 1] *= dims[axis];
        } else {
            out_dims[axes] = dims[axis];
            (0..N).for_each(|n| out[n][axes] = strides[n][axis]);
            axes += 1;
        }
    }
    (axes, out_dims, out)
}

struct Rows<'a, T, F, const N: usize> {
    f: &'a F,
    x: [&'a [T]; N],
    strides: [[usize; MAX_RANK]; N],
    axes: usize,
    dims: [usize; MAX_RANK],
    /// Index of the first row (a row is a run along the innermost axis) of `out`.
    first: usize,
    out: &'a mut [T],
}

impl<T: Element, F: Map<N>, const N: usize> Kernel for Rows<'_, T, F, N> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Rows { f, x, strides, axes, dims, first, out } = self;
        let inner = dims[0];
        // Where the row is among the outer axes, and where each input starts in it.
        let (mut place, mut start) = ([0; MAX_RANK], [0; N]);
        let mut rest = first;
        for axis in 1..axes {
            place[axis] = rest % dims[axis];
            rest /= dims[axis];
            (0..N).for_each(|n| start[n] += place[axis] * strides[n][axis]);
        }
        for out in out.chunks_exact_mut(inner) {
            let at = |n: usize, i: usize| x[n][start[n] + i * strides[n][0]];
            let (blocks, tail) = out.as_chunks_mut::<LANES>();
            let done = blocks.len() * LANES;
            if !blocks.is_empty() {
                // An input that is not contiguous is copied here, one that is repeated once for the row.
                let mut copies: [[T; LANES]; N] = std::array::from_fn(|n| [x[n][start[n]]; LANES]);
                for (b, out) in blocks.iter_mut().enumerate() {
                    for n in 0..N {
                        if strides[n][0] > 1 {
                            copies[n] = std::array::from_fn(|l| at(n, b * LANES + l));
                        }
                    }
                    let lanes: [&[T; LANES]; N] = std::array::from_fn(|n| match strides[n][0] {
                        1 => x[n][start[n] + b * LANES..].first_chunk().expect("inside the slice"),
                        _ => &copies[n],
                    });
                    *out = block::<T, F, A, N>(f, lanes);
                }
            }
            for (i, out) in tail.iter_mut().enumerate() {
                *out = f.call(std::array::from_fn(|n| Num::<T, A>::new(at(n, done + i)))).0;
            }
            // The next row, as an odometer counts.
            for axis in 1..axes {
                place[axis] += 1;
                (0..N).for_each(|n| start[n] += strides[n][axis]);
                if place[axis] < dims[axis] {
                    break;
                }
                (0..N).for_each(|n| start[n] -= place[axis] * strides[n][axis]);
                place[axis] = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct MulAdd;
    impl Map<3> for MulAdd {
        #[inline(always)]
        fn call<R: Real>(&self, [a, b, c]: [R; 3]) -> R {
            a * b + c
        }
    }

    #[test]
    fn flat_reads_its_own_output_where_an_input_is_none() {
        let n = GRAIN + 37;
        let a: Vec<f64> = (0..n).map(|i| i as f64).collect();
        let mut out = vec![2.0; n];
        flat(&MulAdd, [Some(&a), None, Some(&a)], &mut out);
        assert!(out.iter().enumerate().all(|(i, &v)| v == 3.0 * i as f64));
    }

    #[test]
    fn broadcast_agrees_with_plain_indexing() {
        // shapes [3, 1, 70], [5, 1], [1] into [3, 5, 70]
        let dims = [3, 5, 70];
        let a: Vec<f32> = (0..210).map(|i| i as f32).collect();
        let b: Vec<f32> = (0..5).map(|i| i as f32 + 0.5).collect();
        let c = [7.0f32];
        let mut out = vec![0.0; 3 * 5 * 70];
        let strided = |data, s: [usize; 3]| Strided { data, strides: [s[0], s[1], s[2], 0, 0, 0] };
        broadcast(
            &MulAdd,
            [strided(&a, [70, 0, 1]), strided(&b, [0, 1, 0]), strided(&c, [0, 0, 0])],
            &dims,
            &mut out,
        );
        for i in 0..3 {
            for j in 0..5 {
                for k in 0..70 {
                    assert_eq!(out[(i * 5 + j) * 70 + k], a[i * 70 + k] * b[j] + 7.0);
                }
            }
        }
    }
}
