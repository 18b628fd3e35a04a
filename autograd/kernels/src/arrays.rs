//! Functions of small arrays, for kernels that are compiled for many functions and instruction sets.
//!
//! `[T; N]::map` and `std::array::from_fn` guard against a panic half-way with a drain and several adapters. The
//! optimised code is the same, but a quarter of the compiler's optimisation work was spent on them.

use std::mem::MaybeUninit;

/// `[f(0), f(1), …]`.
#[inline(always)]
pub(crate) fn numbered<T: Copy, const N: usize>(mut f: impl FnMut(usize) -> T) -> [T; N] {
    let mut out = MaybeUninit::<[T; N]>::uninit();
    let first = out.as_mut_ptr().cast::<T>();
    let mut i = 0;
    while i < N {
        // SAFETY: i < N. If `f` panics, there is nothing to drop.
        unsafe { first.add(i).write(f(i)) }
        i += 1;
    }
    // SAFETY: all N are written.
    unsafe { out.assume_init() }
}

/// `[f(x[0]), f(x[1]), …]`.
#[inline(always)]
pub(crate) fn each<A: Copy, B: Copy, const N: usize>(x: [A; N], mut f: impl FnMut(A) -> B) -> [B; N] {
    numbered(|i| f(x[i]))
}
