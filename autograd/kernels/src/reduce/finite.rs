//! Whether numbers are finite.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::par;
use crate::real::{Arithmetic, Element};
use crate::simd::{self, Kernel};

/// Elements that one thread checks at a time.
const GRAIN: usize = 1 << 15;

/// Whether no element is NaN or infinite.
pub fn all_finite<T: Element>(x: &[T]) -> bool {
    let finite = AtomicBool::new(true);
    par::run(x.len().div_ceil(GRAIN), |i| {
        let x = &x[i * GRAIN..x.len().min((i + 1) * GRAIN)];
        if finite.load(Relaxed) && !simd::dispatch(Finite(x)) {
            finite.store(false, Relaxed);
        }
    });
    finite.into_inner()
}

struct Finite<'a, T>(&'a [T]);

impl<T: Element> Kernel for Finite<'_, T> {
    type Output = bool;
    #[inline(always)]
    fn run<A: Arithmetic>(self) -> bool {
        // 0 times a finite number is 0, otherwise NaN, which propagates.
        const LANES: usize = 64;
        let mut zeros = [T::ZERO; LANES];
        let (blocks, tail) = self.0.as_chunks::<LANES>();
        for block in blocks {
            for l in 0..LANES {
                zeros[l] = A::mul_add(block[l], T::ZERO, zeros[l]);
            }
        }
        for (zero, &x) in zeros.iter_mut().zip(tail) {
            *zero = A::mul_add(x, T::ZERO, *zero);
        }
        zeros.iter().all(|&zero| zero == T::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bad_number_anywhere_is_found() {
        fn check<T: Element>() {
            for n in [0, 1, 63, 64, 1000, 3 * GRAIN + 5] {
                let mut x = vec![T::from_f64(-1e30); n];
                assert!(all_finite(&x));
                for at in [0, n / 2, n.saturating_sub(1)].into_iter().filter(|&at| at < n) {
                    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                        let good = std::mem::replace(&mut x[at], T::from_f64(bad));
                        assert!(!all_finite(&x), "{bad} at {at} of {n}");
                        x[at] = good;
                    }
                }
            }
        }
        check::<f32>();
        check::<f64>();
    }
}
