//! Counter-based randomness: a draw is a pure function of (seed, stream, step, index).
//!
//! A [`Key`] is the 256-bit key of a ChaCha generator; the index is its 64-bit stream number. So draws need no
//! stored generator state, do not depend on threads, and a run resumes at any step exactly as it would have
//! gone on.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::par;
use crate::real::Element;

/// Names a family of random draws: seed, stream and step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    seed: u64,
    stream: u64,
    step: u64,
}

impl Key {
    /// The root of all draws of a run.
    pub fn new(seed: u64) -> Key {
        Key { seed, stream: 0, step: 0 }
    }

    /// The draws for one purpose, by name ("dropout", "shuffle"). Streams nest: the order of names matters.
    pub fn stream(self, name: &str) -> Key {
        // FNV-1a, continued from the enclosing stream.
        let start = self.stream ^ 0xcbf2_9ce4_8422_2325;
        let stream = name.bytes().fold(start, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        Key { stream: stream.wrapping_mul(0x9e37_79b9_7f4a_7c15), ..self }
    }

    /// The draws of one step (or epoch) of a stream.
    pub fn step(self, step: u64) -> Key {
        Key { step, ..self }
    }

    /// The generator for item `index`: an image, a layer, a block of elements.
    pub fn rng(&self, index: u64) -> ChaCha8Rng {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        key[8..16].copy_from_slice(&self.stream.to_le_bytes());
        key[16..24].copy_from_slice(&self.step.to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(index);
        rng
    }

    /// Fills `out` with draws uniform on [0, 1).
    pub fn fill_uniform<T: Element>(&self, out: &mut [T]) {
        par::chunks(out, BLOCK, |block, out| {
            let mut rng = self.rng(block as u64);
            out.iter_mut().for_each(|v| *v = T::from_f64(unit::<T>(&mut rng)));
        });
    }

    /// Fills `out` with draws from the normal distribution of mean 0 and variance 1 (Box and Muller's method).
    pub fn fill_normal<T: Element>(&self, out: &mut [T]) {
        par::chunks(out, BLOCK, |block, out| {
            let mut rng = self.rng(block as u64);
            for pair in out.chunks_mut(2) {
                // 1 - u is in (0, 1], so the logarithm is finite.
                let radius = (-2.0 * (1.0 - unit::<f64>(&mut rng)).ln()).sqrt();
                let (sin, cos) = (std::f64::consts::TAU * unit::<f64>(&mut rng)).sin_cos();
                pair[0] = T::from_f64(radius * cos);
                if let Some(second) = pair.get_mut(1) {
                    *second = T::from_f64(radius * sin);
                }
            }
        });
    }

    /// A random order of 0..n (Fisher and Yates' shuffle).
    pub fn permutation(&self, n: usize) -> Vec<usize> {
        let mut rng = self.rng(0);
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i, below(&mut rng, i + 1));
        }
        order
    }
}

/// Elements that share a generator: block b of a fill is `rng(b)`.
const BLOCK: usize = 1024;

/// Uniform on [0, 1) with as many random bits as T's mantissa holds, so that rounding to T cannot give 1.
fn unit<T: Element>(rng: &mut ChaCha8Rng) -> f64 {
    if size_of::<T>() == 4 {
        f64::from(rng.next_u32() >> 8) / f64::from(1u32 << 24)
    } else {
        (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Uniform on 0..n, without bias.
///
/// # Panics
/// If `n` is 0.
pub fn below(rng: &mut ChaCha8Rng, n: usize) -> usize {
    assert!(n > 0, "below: n must be at least 1");
    let n = n as u64;
    let zone = u64::MAX - u64::MAX % n;
    loop {
        let v = rng.next_u64();
        if v < zone {
            return (v % n) as usize;
        }
    }
}

/// Uniform on [0, 1), for one draw from the generator of an item.
pub fn uniform(rng: &mut ChaCha8Rng) -> f64 {
    unit::<f64>(rng)
}
