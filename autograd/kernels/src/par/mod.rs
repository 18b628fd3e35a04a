//! Threads. Work is cut into pieces by its size; threads only decide who computes which piece. Where a cut goes through no
//! sum, as between the columns of a matrix product, it may follow the number of threads: no bit depends on it.

mod crew;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crew::Crew;

static CREW: Crew = Crew::new();
/// How many threads compute; 0 until somebody asks.
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// Sets how many threads compute, from the next kernel on. Results do not depend on it, bit for bit.
///
/// # Panics
/// If `n` is 0.
pub fn set_threads(n: usize) {
    assert!(n > 0, "set_threads: the number of threads must be at least 1");
    THREADS.store(n, Relaxed);
}

/// How many threads compute: the machine's available parallelism unless [`set_threads`] said otherwise.
pub fn threads() -> usize {
    match THREADS.load(Relaxed) {
        0 => {
            let n = std::thread::available_parallelism().map_or(1, |n| n.get());
            // Unless set_threads came in between.
            let _ = THREADS.compare_exchange(0, n, Relaxed, Relaxed);
            threads()
        }
        n => n,
    }
}

/// Calls `f(0), f(1), …, f(pieces - 1)`, each exactly once, on as many threads as there are.
///
/// `f` must not depend on the order. The caller works too, so nothing waits for a thread to wake up. Calls may come
/// from many threads, and from within `f`: the workers help one of them at a time, and the others do their pieces
/// alone.
///
/// # Panics
/// If a piece does.
pub fn run(pieces: usize, f: impl Fn(usize) + Sync) {
    run_shared(pieces, &f);
}

/// As [`run`], compiled once: a kernel's body is in its `f` and nowhere else.
fn run_shared(pieces: usize, f: &(dyn Fn(usize) + Sync)) {
    match threads().min(pieces) {
        0 | 1 => (0..pieces).for_each(f),
        n => CREW.run(n - 1, pieces, f),
    }
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

// SAFETY: a Shared only passes a pointer on; every dereference is in an unsafe block that argues disjointness.
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
