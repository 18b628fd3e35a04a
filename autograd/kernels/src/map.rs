//! Elementwise loops: one function of N numbers over N tensors' memory, broadcasting by strides, vectorised.
//!
//! Memory is in blocks; the last one holds arbitrary values after the elements. The function is computed on these, too,
//! and the results are ignored.

use std::hint::black_box;

use crate::aligned::BLOCK;
use crate::arrays::{each, numbered};
use crate::real::{Arithmetic, Element, Num, Real};
use crate::simd::{self, Kernel};
use crate::{MAX_RANK, par};

/// A function of N numbers, written once for every kind of number. Must be `#[inline(always)]`.
pub trait Map<const N: usize>: Copy + Sync {
    /// The value.
    fn call<R: Real>(&self, x: [R; N]) -> R;
}

/// Blocks that one thread computes at a time.
const GRAIN: usize = 1 << 10;

/// `out[i] = f(x[0][i], …, x[N-1][i])`. An input that is `None` is `out` itself, as it was.
///
/// # Panics
/// If an input does not have as many blocks as `out`.
pub fn flat<T: Element, const N: usize>(
    f: &impl Map<N>,
    x: [Option<&[[T; BLOCK]]>; N],
    out: &mut [[T; BLOCK]],
) {
    assert!(x.iter().flatten().all(|x| x.len() == out.len()), "map: inputs as long as the output");
    if out.len() <= GRAIN {
        return simd::dispatch(Flat { f, x, out });
    }
    par::chunks(out, GRAIN, |i, out| {
        let start = i * GRAIN;
        let x = each(x, |x| x.map(|x| &x[start..start + out.len()]));
        simd::dispatch(Flat { f, x, out });
    });
}

struct Flat<'a, T, F, const N: usize> {
    f: &'a F,
    x: [Option<&'a [[T; BLOCK]]>; N],
    out: &'a mut [[T; BLOCK]],
}

impl<T: Element, F: Map<N>, const N: usize> Kernel for Flat<'_, T, F, N> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Flat { f, x, out } = self;
        // A local copy: the compiler then knows that writing the output does not change it.
        let f = *f;
        let (len, out) = (out.len(), out.as_mut_ptr());
        let x: [*const [T; BLOCK]; N] = each(x, |x| x.map_or(out.cast_const(), |x| x.as_ptr()));
        for i in 0..len {
            // One block at a time: otherwise the compiler gathers the same lane of many blocks.
            let i = black_box(i);
            // SAFETY: `flat` and `broadcast` give inputs as long as the output, and a block of the output is read
            // before it is written.
            unsafe { out.add(i).write(block::<T, F, A, N>(&f, each(x, |x| &*x.add(i)))) }
        }
    }
}

/// The values for one block, read in place and kept in registers until all are there, so that the output may
/// be one of the inputs.
#[inline(always)]
fn block<T: Element, F: Map<N>, A: Arithmetic, const N: usize>(f: &F, x: [&[T; BLOCK]; N]) -> [T; BLOCK] {
    let mut y = [T::ZERO; BLOCK];
    for l in 0..BLOCK {
        y[l] = f.call(each(x, |x| Num::<T, A>::new(x[l]))).0;
    }
    y
}

/// An input of [`broadcast`]: its memory and, for each axis of the output, its stride (0 where the input is repeated).
#[derive(Clone, Copy)]
pub struct Strided<'a, T> {
    /// The elements, in blocks.
    pub data: &'a [[T; BLOCK]],
    /// One stride per axis of the output.
    pub strides: [usize; MAX_RANK],
}

/// Blocks that [`broadcast`] expands before it computes on them: a part of the first-level cache.
const SPREAD: usize = 64;

/// `out[i] = f(x[0][i], …)` over an output of shape `dims`, each input read by its strides.
///
/// Inputs that are repeated or strided are copied out piece by piece, so that the function itself is compiled
/// for contiguous inputs only.
///
/// # Panics
/// If `out` does not have the blocks of `dims`, or a stride leads outside its input.
pub fn broadcast<T: Element, const N: usize>(
    f: &impl Map<N>,
    x: [Strided<'_, T>; N],
    dims: &[usize],
    out: &mut [[T; BLOCK]],
) {
    let len: usize = dims.iter().product();
    assert_eq!(out.len(), len.div_ceil(BLOCK), "map: output of the given shape");
    if out.is_empty() {
        return;
    }
    let inputs = each(x, |x| Walk::new(x, dims));
    par::chunks(out, GRAIN, |piece, out| {
        let mut copies = [[[T::ZERO; BLOCK]; SPREAD]; N];
        for (i, out) in out.chunks_mut(SPREAD).enumerate() {
            let first = piece * GRAIN + i * SPREAD;
            let start = first * BLOCK;
            for (input, copy) in inputs.iter().zip(&mut copies) {
                // An input that repeats one element is expanded once.
                if !(input.is_contiguous() || input.axes == 0 && i > 0) {
                    let count = (out.len() * BLOCK).min(len - start);
                    input.spread(start, &mut copy.as_flattened_mut()[..count]);
                }
            }
            let x = numbered(|n| match inputs[n].is_contiguous() {
                true => Some(&x[n].data[first..first + out.len()]),
                false => Some(&copies[n][..out.len()]),
            });
            simd::dispatch(Flat { f, x, out });
        }
    });
}

/// An input with its axes from the innermost out, neighbours joined wherever their strides allow it.
#[derive(Clone, Copy)]
struct Walk<'a, T> {
    data: &'a [T],
    axes: usize,
    dims: [usize; MAX_RANK],
    strides: [usize; MAX_RANK],
}

impl<'a, T: Copy> Walk<'a, T> {
    fn new(x: Strided<'a, T>, shape: &[usize]) -> Self {
        let last: usize = shape.iter().zip(x.strides).map(|(d, s)| (d - 1) * s).sum();
        let data = x.data.as_flattened();
        assert!(last < data.len(), "map: strides stay inside their input");
        let (mut axes, mut dims, mut strides) = (0, [1; MAX_RANK], [0; MAX_RANK]);
        for axis in (0..shape.len()).rev().filter(|&a| shape[a] != 1) {
            if axes > 0 && x.strides[axis] == strides[axes - 1] * dims[axes - 1] {
                dims[axes - 1] *= shape[axis];
            } else {
                (dims[axes], strides[axes]) = (shape[axis], x.strides[axis]);
                axes += 1;
            }
        }
        if axes == 1 && strides[0] == 0 {
            axes = 0; // one element, everywhere
        }
        Walk { data, axes, dims, strides }
    }

    fn is_contiguous(&self) -> bool {
        self.axes == 1 && self.strides[0] == 1
    }

    /// Writes the elements from position `start` of the output on.
    fn spread(&self, start: usize, out: &mut [T]) {
        if self.axes == 0 {
            return out.fill(self.data[0]);
        }
        let Walk { data, axes, dims, strides } = self;
        let (mut place, mut rest, mut at) = ([0; MAX_RANK], start, 0);
        for axis in 0..*axes {
            place[axis] = rest % dims[axis];
            rest /= dims[axis];
            at += place[axis] * strides[axis];
        }
        let mut out = out;
        loop {
            let (run, later) = out.split_at_mut((dims[0] - place[0]).min(out.len()));
            match strides[0] {
                0 => run.fill(data[at]),
                1 => run.copy_from_slice(&data[at..at + run.len()]),
                s => run.iter_mut().enumerate().for_each(|(i, v)| *v = data[at + i * s]),
            }
            if later.is_empty() {
                return;
            }
            out = later;
            // The next row in row-major order.
            at -= place[0] * strides[0];
            place[0] = 0;
            for axis in 1..*axes {
                place[axis] += 1;
                at += strides[axis];
                if place[axis] < dims[axis] {
                    break;
                }
                at -= place[axis] * strides[axis];
                place[axis] = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aligned::Aligned;

    #[derive(Clone, Copy)]
    struct MulAdd;
    impl Map<3> for MulAdd {
        #[inline(always)]
        fn call<R: Real>(&self, [a, b, c]: [R; 3]) -> R {
            a * b + c
        }
    }

    fn numbers<T: Element>(len: usize, f: impl Fn(usize) -> f64) -> Aligned<T> {
        let mut x = Aligned::zeroed(len);
        x.iter_mut().enumerate().for_each(|(i, x)| *x = T::from_f64(f(i)));
        x
    }

    #[test]
    fn flat_reads_its_own_output_where_an_input_is_none() {
        for n in [0, 1, 15, 16, 17, GRAIN * BLOCK + 37] {
            let a = numbers::<f64>(n, |i| i as f64);
            let mut out = numbers::<f64>(n, |_| 2.0);
            flat(&MulAdd, [Some(a.blocks()), None, Some(a.blocks())], out.blocks_mut());
            assert!(out.iter().enumerate().all(|(i, &v)| v == 3.0 * i as f64));
            flat(&MulAdd, [None, Some(a.blocks()), None], out.blocks_mut());
            assert!(out.iter().enumerate().all(|(i, &v)| v == 3.0 * (i * i + i) as f64));
        }
    }

    #[derive(Clone, Copy)]
    struct Gate;
    impl Map<2> for Gate {
        #[inline(always)]
        fn call<R: Real>(&self, [x, d]: [R; 2]) -> R {
            x.gate(d.step())
        }
    }

    #[test]
    fn a_gate_chooses_in_every_lane() {
        fn check<T: Element>() {
            let special = [f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -0.0, 3.0];
            let x = numbers::<T>(1000, |i| special[i % 5]);
            let d = numbers::<T>(1000, |i| if i % 3 == 0 { 1.0 } else { -1.0 });
            let mut out = numbers::<T>(1000, |_| 7.0);
            flat(&Gate, [Some(x.blocks()), Some(d.blocks())], out.blocks_mut());
            for i in 0..1000 {
                let (found, expected) = (out[i].to_f64(), if i % 3 == 0 { special[i % 5] } else { 0.0 });
                assert!(found == expected || found.is_nan() && expected.is_nan(), "{found} at {i}");
            }
        }
        check::<f32>();
        check::<f64>();
    }

    #[test]
    fn broadcast_agrees_with_plain_indexing() {
        // shapes [3, 1, 70], [5, 1], [1] into [3, 5, 70]
        let dims = [3, 5, 70];
        let a = numbers::<f32>(210, |i| i as f64);
        let b = numbers::<f32>(5, |i| i as f64 + 0.5);
        let c = numbers::<f32>(1, |_| 7.0);
        let mut out = numbers::<f32>(3 * 5 * 70, |_| 0.0);
        let strided = |data, s: [usize; 3]| Strided { data, strides: [s[0], s[1], s[2], 0, 0, 0] };
        let x =
            [strided(a.blocks(), [70, 0, 1]), strided(b.blocks(), [0, 1, 0]), strided(c.blocks(), [0, 0, 0])];
        broadcast(&MulAdd, x, &dims, out.blocks_mut());
        for i in 0..3 {
            for j in 0..5 {
                for k in 0..70 {
                    assert_eq!(out[(i * 5 + j) * 70 + k], a[i * 70 + k] * b[j] + 7.0);
                }
            }
        }
    }

    #[test]
    fn every_length_and_stride_agrees_with_plain_indexing() {
        let data = numbers::<f64>(40_000, |i| (i * 7919 % 10_007) as f64);
        for inner in [0, 1, 2, 31, 32, 33, 100] {
            for (middle, outer) in [(1, 1), (3, 2), (0, 4), (2, 150)] {
                let dims = [outer, middle, inner];
                let strides = [[middle * inner, inner, 1], [0, 1, 2], [1, 0, 0]];
                let x =
                    strides.map(|s| Strided { data: data.blocks(), strides: [s[0], s[1], s[2], 0, 0, 0] });
                let mut out = numbers::<f64>(dims.iter().product(), |_| f64::NAN);
                broadcast(&MulAdd, x, &dims, out.blocks_mut());
                for (i, v) in out.iter().enumerate() {
                    let place = [i / (middle * inner), i / inner % middle, i % inner];
                    let at = |s: [usize; 3]| data[place.iter().zip(s).map(|(p, s)| p * s).sum::<usize>()];
                    let [a, b, c] = strides.map(at);
                    assert_eq!(*v, a * b + c, "{dims:?} at {place:?}");
                }
            }
        }
    }
}
