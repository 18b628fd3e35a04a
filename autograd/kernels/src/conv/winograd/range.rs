//! Which numbers minimal filtering may be used for.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::gemm::vector::Vector;
use crate::real::Element;

/// The largest ratio of an intermediate value's term to the product of its input and its weight: the product of the
/// largest sums of absolute coefficients of the three maps, 2800 for outputs and 8200 for gradients of weights.
const GROWTH: f64 = 8192.0;

/// How much larger than typical large numbers the largest may be: the elements next to it have an error of about its
/// rounding.
const SPIKE: f64 = 256.0;

/// The most lanes that a register has.
const LANES: usize = 16;

/// The largest magnitudes in the lanes of a register.
#[derive(Clone, Copy)]
pub struct Magnitudes {
    pub most: f64,
    /// The median of the lanes.
    typical: f64,
}

impl Magnitudes {
    /// From the lanes that [`Vector::max_abs`] has computed.
    #[inline(always)]
    pub fn new<T: Element, V: Vector<T>>(most: V) -> Self {
        Magnitudes::of(&mut lanes(most)[..V::LANES])
    }

    fn of(lanes: &mut [f64]) -> Self {
        // NaN is the largest.
        lanes.sort_unstable_by(f64::total_cmp);
        Magnitudes { most: lanes[lanes.len() - 1], typical: lanes[lanes.len() / 2] }
    }

    /// Whether no number is so large that its rounding error exceeds the values of its neighbours.
    pub fn alike(&self) -> bool {
        self.most <= SPIKE * self.typical
    }
}

/// The lanes of a register, padded with 0.
#[inline(always)]
fn lanes<T: Element, V: Vector<T>>(register: V) -> [f64; LANES] {
    let mut lanes = [T::ZERO; LANES];
    // SAFETY: a register has at most LANES lanes.
    unsafe { register.store(lanes.as_mut_ptr()) }
    lanes.map(T::to_f64)
}

/// Whether sums of `terms` products of numbers up to `a` and `b` have finite intermediate values. They do not if `a` or
/// `b` is infinite or NaN.
pub fn in_range<T: Element>(a: f64, b: f64, terms: usize) -> bool {
    let limit = if size_of::<T>() == size_of::<f32>() { f64::from(f32::MAX) } else { f64::MAX };
    [a, b, a * b * terms as f64].iter().all(|v| v * GROWTH <= limit)
}

/// The largest magnitudes in each lane over all threads.
#[derive(Default)]
pub struct Largest([AtomicU64; LANES]);

impl Largest {
    /// Merges the lanes that [`Vector::max_abs`] has computed.
    #[inline(always)]
    pub fn see<T: Element, V: Vector<T>>(&self, most: V) {
        for (largest, magnitude) in self.0.iter().zip(lanes(most)).take(V::LANES) {
            // Positive numbers are in the order of their bits, and NaN comes last.
            largest.fetch_max(magnitude.to_bits(), Relaxed);
        }
    }

    /// Of registers of so many lanes.
    pub fn get(&self, lanes: usize) -> Magnitudes {
        let mut all = self.0.each_ref().map(|largest| f64::from_bits(largest.load(Relaxed)));
        Magnitudes::of(&mut all[..lanes])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemm::vector::Portable;

    #[test]
    fn a_single_spike_stands_out_and_a_border_does_not() {
        let mut lanes = [4.0, 3.0, 5.0, 4.0, 3.5, 0.0, 0.0, 0.0];
        assert!(Magnitudes::of(&mut lanes.clone()).alike());
        for spike in [1e4, f64::INFINITY, f64::NAN] {
            lanes[1] = spike;
            assert!(!Magnitudes::of(&mut lanes.clone()).alike(), "{spike}");
        }
        assert!(Magnitudes::of(&mut [0.0; 8]).alike());
    }

    #[test]
    fn what_overflows_or_is_not_finite_is_out_of_range() {
        assert!(in_range::<f32>(1e10, 1e10, 1000) && in_range::<f32>(1e30, 0.0, 1));
        assert!(!in_range::<f32>(1e37, 1e-10, 1) && !in_range::<f32>(1e20, 1e18, 1));
        for bad in [f64::NAN, f64::INFINITY] {
            assert!(!in_range::<f32>(bad, 0.0, 1) && !in_range::<f32>(0.0, bad, 1));
        }
        let largest = Largest::default();
        let see = |v: f32| {
            // SAFETY: every machine has these registers.
            unsafe {
                let zero = Portable::splat(0.0f32);
                largest.see::<f32, _>(zero.max_abs(Portable::load([2.0, 1.0, v, -4.0].as_ptr())));
            }
        };
        see(-1.0);
        assert_eq!((largest.get(4).most, largest.get(4).typical), (4.0, 2.0));
        see(f32::NEG_INFINITY);
        assert_eq!(largest.get(4).most, f64::INFINITY);
        see(f32::NAN);
        see(1.0);
        assert!(largest.get(4).most.is_nan());
    }
}
