//! The innermost loop of every product: a tile of the result that is kept in registers.
//!
//! R x W registers accumulate outer products: a column of R numbers of the left operand, each broadcast, times
//! a row of W registers of the right operand. AVX-512 uses 8 x 2 of its 32 registers, 16 independent
//! multiply-adds in flight, for 10 loads; AVX2 4 x 2.
//!
//! Plain loops only: a closure is a separate function, compiled without the instruction set.

use super::vector::Vector;
use crate::real::Element;

/// R rows of W registers, all 0.
///
/// # Safety
/// The machine must have the instruction set of `V`.
#[inline(always)]
pub unsafe fn zero<T: Element, V: Vector<T>, const R: usize, const W: usize>() -> [[V; W]; R] {
    // SAFETY: the caller's promise.
    [[unsafe { V::splat(T::ZERO) }; W]; R]
}

/// The starts of R rows, `step` numbers apart.
#[inline(always)]
pub fn rows<T, const R: usize>(a: *const T, step: usize) -> [*const T; R] {
    first_rows(a, step, R)
}

/// The starts of R rows, of which there are only `count`: the last one is repeated for the missing ones.
#[inline(always)]
pub fn first_rows<T, const R: usize>(a: *const T, step: usize, count: usize) -> [*const T; R] {
    let mut rows = [a; R];
    for i in 1..R {
        rows[i] = a.wrapping_add(i.min(count - 1) * step);
    }
    rows
}

/// tile\[i\] += sum over p < k of a\[i\]\[at + step p\] b\[ldb p..\].
///
/// # Safety
/// Every number named by the formula must be readable; the machine must have the instruction set of `V`.
#[inline(always)]
pub unsafe fn accumulate<T: Element, V: Vector<T>, const R: usize, const W: usize>(
    tile: &mut [[V; W]; R],
    k: usize,
    a: [*const T; R],
    [at, step]: [usize; 2],
    b: *const T,
    ldb: usize,
) {
    let mut registers = [b; W];
    for j in 1..W {
        registers[j] = b.wrapping_add(j * V::LANES);
    }
    // SAFETY: the caller's promise.
    unsafe { accumulate_apart(tile, k, a, [at, step], registers, ldb) }
}

/// [`accumulate`] with the registers of the right operand at separate addresses: `b\[j\]` for those of column j.
///
/// # Safety
/// As [`accumulate`].
#[inline(always)]
pub unsafe fn accumulate_apart<T: Element, V: Vector<T>, const R: usize, const W: usize>(
    tile: &mut [[V; W]; R],
    k: usize,
    a: [*const T; R],
    [mut at, step]: [usize; 2],
    b: [*const T; W],
    ldb: usize,
) {
    let mut down = 0;
    for _ in 0..k {
        // SAFETY: the caller's promise.
        unsafe {
            let mut right = [V::splat(T::ZERO); W];
            for j in 0..W {
                right[j] = V::load(b[j].add(down));
            }
            for i in 0..R {
                let left = V::splat(*a[i].add(at));
                for j in 0..W {
                    tile[i][j] = left.mul_add(right[j], tile[i][j]);
                }
            }
        }
        (at, down) = (at + step, down + ldb);
    }
}

/// a += b.
#[inline(always)]
pub fn plus<T: Element, V: Vector<T>, const R: usize, const W: usize>(a: &mut [[V; W]; R], b: &[[V; W]; R]) {
    for i in 0..R {
        for j in 0..W {
            a[i][j] = a[i][j].add(b[i][j]);
        }
    }
}

/// Adds the tile whose rows of W registers start at `c`, `ldc` apart.
///
/// # Safety
/// The rows must be readable; the machine must have the instruction set of `V`.
#[inline(always)]
pub unsafe fn add<T: Element, V: Vector<T>, const R: usize, const W: usize>(
    tile: &mut [[V; W]; R],
    c: *const T,
    ldc: usize,
) {
    for i in 0..R {
        for j in 0..W {
            // SAFETY: the caller's promise.
            tile[i][j] = tile[i][j].add(unsafe { V::load(c.add(i * ldc + j * V::LANES)) });
        }
    }
}

/// Writes the tile from `c` on, its rows `ldc` apart.
///
/// # Safety
/// The rows must be writable.
#[inline(always)]
pub unsafe fn store<T: Element, V: Vector<T>, const R: usize, const W: usize>(
    tile: &[[V; W]; R],
    c: *mut T,
    ldc: usize,
) {
    for i in 0..R {
        for j in 0..W {
            // SAFETY: the caller's promise.
            unsafe { tile[i][j].store(c.add(i * ldc + j * V::LANES)) }
        }
    }
}

/// c = alpha tile + beta c, for the first `rows` rows and `cols` columns; with `beta` 0, c is not read.
///
/// # Safety
/// These rows and columns, `ldc` apart, must be readable and writable.
#[inline(always)]
pub unsafe fn blend<T: Element, V: Vector<T>, const R: usize, const W: usize>(
    tile: &mut [[V; W]; R],
    [alpha, beta]: [T; 2],
    [rows, cols]: [usize; 2],
    c: *mut T,
    ldc: usize,
) {
    // SAFETY: the caller's promise; `part` has room for the largest tile, 8 x 32.
    unsafe {
        let (scale, keep) = (V::splat(alpha), V::splat(beta));
        let whole = rows == R && cols == W * V::LANES;
        for i in 0..R {
            for j in 0..W {
                tile[i][j] = tile[i][j].mul(scale);
                if whole && beta != T::ZERO {
                    tile[i][j] = V::load(c.add(i * ldc + j * V::LANES)).mul_add(keep, tile[i][j]);
                }
            }
        }
        if whole {
            return store(tile, c, ldc);
        }
        let mut part = std::mem::MaybeUninit::<[T; 8 * 32]>::uninit();
        let part = part.as_mut_ptr().cast::<T>();
        store(tile, part, W * V::LANES);
        for i in 0..rows {
            for j in 0..cols {
                let (to, v) = (c.add(i * ldc + j), *part.add(i * W * V::LANES + j));
                *to = if beta == T::ZERO { v } else { v + beta * *to };
            }
        }
    }
}
