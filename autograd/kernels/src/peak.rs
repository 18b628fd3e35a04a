//! The peak performance of this machine, which kernels are compared with.

use std::hint::{black_box, spin_loop};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::thread;
use std::time::Instant;

use crate::gemm::vector::{self, TileKernel, Vector};
use crate::par;
use crate::real::Element;
use crate::simd;

/// Independent sums, enough to keep two units with a latency of four cycles busy at every register width.
const CHAINS: usize = 12;
/// Multiply-adds of each sum in a piece of work.
const ROUNDS: usize = 1 << 16;
/// Bytes of each of the three arrays that measure memory: far more than caches hold.
const BYTES: usize = 1 << 27;

/// Floating-point operations a second of all threads together: fused multiply-adds, counted as two, on numbers in f32
/// registers. The best of `repeat` tries.
pub fn flops_f32(repeat: usize) -> f64 {
    flops::<f32>(repeat)
}

/// [`flops_f32`] for f64.
pub fn flops_f64(repeat: usize) -> f64 {
    flops::<f64>(repeat)
}

fn flops<T: Element>(repeat: usize) -> f64 {
    let level = simd::level();
    let lanes = vector::tile::<T>(level).1 / 2;
    let pieces = par::threads() * 64;
    let work = (2 * lanes * CHAINS * ROUNDS * pieces) as f64;
    best(repeat, || {
        par::run(pieces, |i| {
            let mut sum = T::from_f64(i as f64);
            // SAFETY: simd::level() is what the machine has.
            unsafe { vector::dispatch(level, Sums { sum: &mut sum }) };
            black_box(sum);
        });
    })
    .map_or(0.0, |seconds| work / seconds)
}

/// Bytes a second that all threads together move between memory and registers in `a[i] = b[i] + 3 c[i]` (the triad of
/// McCalpin's STREAM): two arrays are read, one is written. The best of `repeat` tries.
pub fn bandwidth(repeat: usize) -> f64 {
    let n = BYTES / size_of::<f32>();
    let (b, c) = (vec![1f32; n], vec![2f32; n]);
    let mut a = vec![0f32; n];
    let seconds = best(repeat, || {
        par::chunks(&mut a, 1 << 16, |i, a| {
            let start = i << 16;
            let (b, c) = (&b[start..start + a.len()], &c[start..start + a.len()]);
            for ((a, b), c) in a.iter_mut().zip(b).zip(c) {
                *a = *b + 3.0 * *c;
            }
        });
        black_box(&a);
    });
    seconds.map_or(0.0, |seconds| (3 * BYTES) as f64 / seconds)
}

/// Seconds that a cache line takes to another core and back. Where two cores share a cache it is 50 to 100 ns, else a
/// multiple of that, and sharing written data between them is slow. The best of `repeat` tries; none if the two threads
/// shared a core in all of them.
pub fn round_trip(repeat: usize) -> Option<f64> {
    const TRIPS: usize = 10_000;
    const PATIENCE: usize = 1_000;
    // Each thread waits for its numbers, even or odd, and writes the next, or gives up: after the first exchanges, a
    // thread with its own core is never slow.
    let play = |ball: &AtomicUsize, first: usize| {
        for number in (first..2 * TRIPS).step_by(2) {
            let mut waited = 0;
            while ball.load(Acquire) != number {
                spin_loop();
                waited += 1;
                if waited % PATIENCE == 0 {
                    if number >= 4 {
                        return false;
                    }
                    thread::yield_now();
                }
            }
            ball.store(number + 1, Release);
        }
        true
    };
    let once = || {
        let ball = AtomicUsize::new(0);
        thread::scope(|scope| {
            let other = scope.spawn(|| play(&ball, 1));
            let start = Instant::now();
            let apart = play(&ball, 0);
            let seconds = start.elapsed().as_secs_f64();
            (other.join().expect("it only counts") && apart).then_some(seconds / TRIPS as f64)
        })
    };
    (0..repeat).filter_map(|_| once()).min_by(f64::total_cmp)
}

fn best(repeat: usize, mut f: impl FnMut()) -> Option<f64> {
    f();
    let mut once = || {
        let start = Instant::now();
        f();
        start.elapsed().as_secs_f64()
    };
    (0..repeat).map(|_| once()).min_by(f64::total_cmp)
}

struct Sums<'a, T> {
    sum: &'a mut T,
}

impl<T: Element> TileKernel<T> for Sums<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Vector<T>, const R: usize>(self) {
        // SAFETY: the caller's promise.
        let (mut sums, x, y) = unsafe {
            (
                [V::splat(*self.sum); CHAINS],
                V::splat(black_box(T::from_f64(0.999))),
                V::splat(black_box(T::from_f64(0.001))),
            )
        };
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = sum.mul_add(x, y);
            }
        }
        let total = sums.into_iter().reduce(V::add).expect("there are some");
        let mut lanes = [T::ZERO; 64];
        // SAFETY: 64 is more than any register holds.
        unsafe { total.store(lanes.as_mut_ptr()) };
        *self.sum = lanes[0];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_computes_and_moves_something() {
        // No bounds of speed here; only that something was measured, and that wider numbers are not faster.
        let (single, double) = (flops::<f32>(1), flops::<f64>(1));
        assert!(single.is_finite() && double > 1e7, "{single} {double}");
        assert!(bandwidth(1) > 1e6);
        assert!(round_trip(1).is_none_or(|seconds| (1e-9..1e-3).contains(&seconds)));
    }
}
