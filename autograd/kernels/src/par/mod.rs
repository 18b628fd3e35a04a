//! Threads. Work is cut into pieces by its size; the number of threads only decides which thread computes which piece.
//! A cut that splits no sum, as between the columns of a matrix product, may depend on the number of threads, since it
//! does not change the result.
//!
//! The threads are rayon's. On a thread of a rayon pool, the kernels use that pool and share its threads with the
//! program; on any other thread they use the engine's own pool.

mod pool;
mod slot;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The value of [`set_threads`]; 0 without a call.
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// Sets the number of threads that compute, from the next kernel on; earlier ones may help for another millisecond. Within a
/// rayon pool that has fewer threads, all of the pool's compute; outside of one at most four more for each processor are started.
/// Results are bitwise identical for every number of threads.
///
/// # Panics
/// If `n` is 0. The next kernel panics if the operating system refuses to start that many threads.
pub fn set_threads(n: usize) {
    assert!(n > 0, "set_threads: the number of threads must be at least 1");
    THREADS.store(n, Relaxed);
}

/// The number of threads that compute when the calling thread runs a kernel: the value of [`set_threads`], at most the
/// number of threads of the rayon pool that the calling thread belongs to. By default all threads of that pool, outside of one the
/// machine's available parallelism.
pub fn threads() -> usize {
    match (THREADS.load(Relaxed), pool::current_size()) {
        (0, None) => available(),
        (0, Some(size)) => size,
        (n, None) => n,
        (n, Some(size)) => n.min(size),
    }
}

/// The machine's available parallelism.
fn available() -> usize {
    static AVAILABLE: LazyLock<usize> =
        LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from));
    *AVAILABLE
}

/// Calls `f(0), f(1), …, f(pieces - 1)`, each exactly once, on as many threads as [`threads`] says.
///
/// `f` must not depend on the order. The caller works too, and does not wait for other threads to wake up. Calls may
/// come from many threads at a time, in and outside of rayon pools; a call from within `f` does its pieces alone. A
/// piece must not wait for the calling thread, as `rayon::broadcast` does.
///
/// # Panics
/// If a piece does.
pub fn run(pieces: usize, f: impl Fn(usize) + Sync) {
    run_shared(pieces, &f);
}

/// As [`run`], compiled once, since the body of a kernel is in its `f` only.
fn run_shared(pieces: usize, f: &(dyn Fn(usize) + Sync)) {
    match threads().min(pieces) {
        0 | 1 => (0..pieces).for_each(f),
        n => slot::run(n, pieces, f),
    }
}

/// `[f(0), f(1), …, f(count - 1)]`, for loops whose pieces are whole computations. With more than one, kernels that `f` runs
/// do their pieces on the same thread as `f`.
///
/// ```
/// assert_eq!(kernels::par::map(4, |i| i * i), [0, 1, 4, 9]);
/// ```
///
/// # Panics
/// If `f` does.
pub fn map<R: Send>(count: usize, f: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let mut results: Vec<Option<R>> = (0..count).map(|_| None).collect();
    chunks(&mut results, 1, |i, result| result[0] = Some(f(i)));
    results.into_iter().map(|result| result.expect("run calls f for every piece")).collect()
}

/// Cuts `out` into chunks of `size` elements (the last may be shorter) and calls `f(index, chunk)` for each.
///
/// # Panics
/// If `size` is 0.
pub fn chunks<T: Send>(out: &mut [T], size: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    assert!(size > 0, "par::chunks: a chunk has at least one element");
    let len = out.len();
    let base = Shared(out.as_mut_ptr());
    run(len.div_ceil(size), |i| {
        let start = i * size;
        // SAFETY: chunk i is start..min(start + size, len); chunks are disjoint and each index comes once.
        f(i, unsafe { base.slice(start, size.min(len - start)) });
    });
}

/// A mutable pointer that may be handed to several threads, for kernels whose pieces write disjoint ranges.
#[derive(Clone, Copy)]
pub struct Shared<T>(*mut T);

// SAFETY: a Shared only passes a pointer on; every dereference is in an unsafe block whose SAFETY comment shows
// disjointness.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// Shares `slice` between threads.
    pub fn new(slice: &mut [T]) -> Self {
        Shared(slice.as_mut_ptr())
    }

    /// `len` elements from `start` on.
    ///
    /// # Safety
    /// The range must lie in the slice given to [`Shared::new`], which must outlive the result, and no other
    /// live reference may overlap it.
    #[inline]
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn slice<'a>(&self, start: usize, len: usize) -> &'a mut [T] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start), len) }
    }

    /// A pointer to element `i`.
    ///
    /// # Safety
    /// `i` must lie in the slice given to [`Shared::new`] (or one past its end).
    #[inline]
    pub unsafe fn at(&self, i: usize) -> *mut T {
        // SAFETY: the caller's promise.
        unsafe { self.0.add(i) }
    }
}
