//! Matrix products.
//!
//! Both operands are packed into panels, then tiles of the result are accumulated in registers (`tile`), with
//! a panel of the right operand in the first-level cache and a block of the left one in the second.

use crate::par::{self, Shared};
use crate::real::Element;
use crate::simd::{self, Level};
use pack::Source;
use vector::{Kernel, Vector};

pub(crate) mod pack;
pub(crate) mod scratch;
pub(crate) mod tile;
pub(crate) mod vector;

/// Steps of the sum between two visits to the result: a panel of the right operand is then 32 KB.
pub(crate) const DEPTH: usize = 256;
/// Packed numbers held at a time (16 MB of f32).
const PACKED: usize = 1 << 22;
/// The longest side of the result worked on at a time.
const STRIP: usize = 4096;
/// Products of fewer multiply-adds than this are done by the calling thread alone.
const SMALL: usize = 80 * 80 * 80;

/// c = alpha op(a) op(b) + beta c, for row-major contiguous matrices.
///
/// op(a) is m x k (so `a` is k x m if `a_transposed`), op(b) is k x n (n x k if `b_transposed`), c is m x n.
/// With `beta` 0, what `c` held before does not matter, even NaN.
///
/// # Panics
/// If a slice does not have exactly as many elements as its matrix.
#[allow(clippy::too_many_arguments)]
pub fn gemm<T: Element>(
    m: usize,
    n: usize,
    k: usize,
    alpha: T,
    a: &[T],
    a_transposed: bool,
    b: &[T],
    b_transposed: bool,
    beta: T,
    c: &mut [T],
) {
    assert_eq!(a.len(), m * k, "gemm: the left operand has {m} x {k} elements");
    assert_eq!(b.len(), k * n, "gemm: the right operand has {k} x {n} elements");
    assert_eq!(c.len(), m * n, "gemm: the result has {m} x {n} elements");
    let (line, depth) = if a_transposed { (1, m) } else { (k, 1) };
    let a = Source { at: a.as_ptr(), line, depth };
    let (line, depth) = if b_transposed { (k, 1) } else { (1, n) };
    let b = Source { at: b.as_ptr(), line, depth };
    // SAFETY: the operands hold their matrices by the asserts above.
    unsafe { product([m, n, k], [alpha, beta], a, b, c) }
}

/// `batch` products c\[i\] = alpha op(a\[i\]) op(b\[i\]) + beta c\[i\], each as in [`gemm`].
///
/// An operand that holds a single matrix instead of `batch` of them is used for every product.
///
/// # Panics
/// If a slice has neither one matrix nor `batch` matrices; the result must have `batch`.
#[allow(clippy::too_many_arguments)]
pub fn batched<T: Element>(
    batch: usize,
    m: usize,
    n: usize,
    k: usize,
    alpha: T,
    a: &[T],
    a_transposed: bool,
    b: &[T],
    b_transposed: bool,
    beta: T,
    c: &mut [T],
) {
    assert_eq!(c.len(), batch * m * n, "batched: the result has {batch} x {m} x {n} elements");
    let stride = |len: usize, one: usize| {
        assert!(
            len == batch * one || len == one,
            "batched: {len} elements are neither 1 nor {batch} times {one}"
        );
        if len == one { 0 } else { one }
    };
    let (sa, sb) = (stride(a.len(), m * k), stride(b.len(), k * n));
    let one = |i: usize, c: &mut [T]| {
        let (a, b) = (&a[i * sa..][..m * k], &b[i * sb..][..k * n]);
        gemm(m, n, k, alpha, a, a_transposed, b, b_transposed, beta, c);
    };
    if m * n == 0 {
        return;
    }
    if m * n * k >= SMALL {
        // Each is worth all threads.
        c.chunks_mut(m * n).enumerate().for_each(|(i, c)| one(i, c));
    } else {
        let group = SMALL / (m * n * k).max(1);
        par::chunks(c, group * m * n, |g, c| {
            c.chunks_mut(m * n).enumerate().for_each(|(j, c)| one(g * group + j, c));
        });
    }
}

/// c = alpha a b + beta c, strip by strip and slab by slab of the sum.
///
/// # Safety
/// The sources must hold m x k and k x n numbers.
unsafe fn product<T: Element>(
    [m, n, k]: [usize; 3],
    [alpha, mut beta]: [T; 2],
    a: Source<T>,
    b: Source<T>,
    c: &mut [T],
) {
    let level = simd::level();
    let slab = (PACKED / (m.min(STRIP) + n.min(STRIP)).max(1)).max(DEPTH);
    let c = Shared::new(c);
    // A sum of nothing is still written.
    for p in (0..k.max(1)).step_by(slab) {
        for i in (0..m).step_by(STRIP) {
            for j in (0..n).step_by(STRIP) {
                let size = [STRIP.min(m - i), STRIP.min(n - j), slab.min(k - p)];
                // SAFETY: the strips lie in c and the sources.
                unsafe { strip(level, size, [alpha, beta], a.skip(i, p), b.skip(j, p), c.at(i * n + j), n) }
            }
        }
        beta = T::ONE;
    }
}

/// One strip of the result: packs both operands, then computes blocks of it.
unsafe fn strip<T: Element>(
    level: Level,
    [m, n, k]: [usize; 3],
    scale: [T; 2],
    a: Source<T>,
    b: Source<T>,
    c: *mut T,
    ldc: usize,
) {
    let (rows, cols) = vector::tile::<T>(level);
    let (lefts, rights) = (m.div_ceil(rows), n.div_ceil(cols));
    let alone = m * n * k < SMALL;
    let (size_a, size_b) = (lefts * rows * k, rights * cols * k);
    scratch::with(size_a + size_b, |packed: &mut [T]| {
        let (to_a, to_b) = packed.split_at_mut(size_a);
        let panels = Panels { size: [m, n, k], a, b, to_a: to_a.as_mut_ptr(), to_b: to_b.as_mut_ptr() };
        let run = |job: Job<T>| {
            // SAFETY: level is what the machine has; jobs write disjoint parts.
            unsafe { vector::dispatch(level, job) }
        };
        // Whole panels, about 32 KB in a piece.
        let few = |width: usize| (8192 / (width * k).max(1)).max(1);
        let (few_a, few_b) = (few(rows), few(cols));
        let (pieces_a, pieces_b) = (lefts.div_ceil(few_a), rights.div_ceil(few_b));
        // 128 x 128 blocks keep traffic low; smaller ones share a small result out evenly.
        let side = if m * n >= 16 * 128 * 128 { 128 } else { 64 };
        let (high, wide) = (side / rows, side / cols);
        let (down, across) = (lefts.div_ceil(high), rights.div_ceil(wide));
        let pack = |i: usize| match i.checked_sub(pieces_b) {
            None => run(Job::Right(panels, i * few_b..rights.min((i + 1) * few_b))),
            Some(i) => run(Job::Left(panels, i * few_a..lefts.min((i + 1) * few_a))),
        };
        let c = Shared::new(unsafe { std::slice::from_raw_parts_mut(c, (m.max(1) - 1) * ldc + n) });
        let block = |i: usize| {
            let (i, j) = (i / across, i % across);
            let blocks = [i * high..lefts.min((i + 1) * high), j * wide..rights.min((j + 1) * wide)];
            // SAFETY: c holds the strip.
            run(Job::Multiply(panels, scale, blocks, unsafe { c.at(0) }, ldc));
        };
        if alone {
            run(Job::Right(panels, 0..rights));
            run(Job::Left(panels, 0..lefts));
            // SAFETY: c holds the strip.
            run(Job::Multiply(panels, scale, [0..lefts, 0..rights], unsafe { c.at(0) }, ldc));
        } else {
            par::run(pieces_a + pieces_b, pack);
            par::run(down * across, block);
        }
    });
}

/// The operands of a strip and where they are packed.
#[derive(Clone, Copy)]
struct Panels<T> {
    size: [usize; 3],
    a: Source<T>,
    b: Source<T>,
    to_a: *mut T,
    to_b: *mut T,
}

// SAFETY: the pointers are read by all threads, and written by jobs on disjoint panels.
unsafe impl<T: Send> Send for Panels<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Panels<T> {}

type Range = std::ops::Range<usize>;

/// A piece of work on a strip; ranges count panels.
enum Job<T> {
    /// Packs panels of the left operand.
    Left(Panels<T>, Range),
    /// Packs panels of the right operand.
    Right(Panels<T>, Range),
    /// Computes a block of the result from packed panels.
    Multiply(Panels<T>, [T; 2], [Range; 2], *mut T, usize),
}

impl<T: Element> Kernel<T> for Job<T> {
    #[inline(always)]
    unsafe fn run<V: Vector<T>, const R: usize>(self) {
        let wide = 2 * V::LANES;
        // SAFETY: the panels in the ranges exist.
        unsafe {
            match self {
                Job::Left(p, range) => {
                    let [m, _, k] = p.size;
                    for i in range {
                        pack::left::<T, V, R>(p.a.skip(i * R, 0), R.min(m - i * R), k, p.to_a.add(i * R * k));
                    }
                }
                Job::Right(p, range) => {
                    let [_, n, k] = p.size;
                    for j in range {
                        let (from, to) = (p.b.skip(j * wide, 0), p.to_b.add(j * wide * k));
                        match n - j * wide {
                            rest if rest <= V::LANES => pack::right::<T, V, 1>(from, rest, k, to),
                            rest => pack::right::<T, V, 2>(from, rest.min(wide), k, to),
                        }
                    }
                }
                Job::Multiply(p, scale, blocks, c, ldc) => multiply::<T, V, R>(p, scale, blocks, c, ldc),
            }
        }
    }
}

#[inline(always)]
unsafe fn multiply<T: Element, V: Vector<T>, const R: usize>(
    p: Panels<T>,
    [alpha, mut beta]: [T; 2],
    [lefts, rights]: [Range; 2],
    c: *mut T,
    ldc: usize,
) {
    let ([m, n, k], wide) = (p.size, 2 * V::LANES);
    for from in (0..k.max(1)).step_by(DEPTH) {
        let depth = DEPTH.min(k - from);
        for j in rights.clone() {
            let cols = wide.min(n - j * wide);
            for i in lefts.clone() {
                // SAFETY: packed panels hold k steps, c the tile.
                unsafe {
                    let (a, b) = (p.to_a.add((i * k + from) * R), p.to_b.add(j * wide * k));
                    let (rows, c) = (R.min(m - i * R), c.add(i * R * ldc + j * wide));
                    if cols <= V::LANES {
                        one::<T, V, R, 1>(
                            depth,
                            a,
                            b.add(from * V::LANES),
                            [alpha, beta],
                            [rows, cols],
                            c,
                            ldc,
                        );
                    } else {
                        one::<T, V, R, 2>(depth, a, b.add(from * wide), [alpha, beta], [rows, cols], c, ldc);
                    }
                }
            }
        }
        beta = T::ONE;
    }
}

/// One tile of the result from one panel of each operand.
///
/// # Safety
/// Panels must hold k steps and c the tile; the machine must have the instruction set of `V`.
#[inline(always)]
pub(crate) unsafe fn one<T: Element, V: Vector<T>, const R: usize, const W: usize>(
    k: usize,
    a: *const T,
    b: *const T,
    scale: [T; 2],
    size: [usize; 2],
    c: *mut T,
    ldc: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut tile = tile::zero::<T, V, R, W>();
        tile::accumulate(&mut tile, k, std::array::from_fn(|i| a.wrapping_add(i)), R, b, W * V::LANES);
        tile::blend(&mut tile, scale, size, c, ldc);
    }
}

#[cfg(test)]
mod tests;
