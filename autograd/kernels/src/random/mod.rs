//! Counter-based randomness: a draw is a pure function of (seed, stream, step, index).
//!
//! A [`Key`] is the 256-bit key of a ChaCha generator; the index is its 64-bit stream number. So draws need no
//! stored generator state, do not depend on threads, and a run resumes at any step exactly as it would have
//! gone on.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::math::{Math, polynomial};
use crate::par;
use crate::real::{Arithmetic, Element};
use crate::simd::{self, Kernel};

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

    /// Fills `out` with draws uniform on [0, 1). Element i is the same for every length above i.
    pub fn fill_uniform<T: Element>(&self, out: &mut [T]) {
        self.fill(out, |words, out| {
            // As many bits as the mantissa holds, so that rounding cannot give 1.
            let bits = if size_of::<T>() == 4 { 24 } else { 53 };
            let scale = f64::powi(0.5, bits);
            simd::dispatch(Uniform { words, shift: 64 - bits as u32, scale, out });
        });
    }

    /// Fills `out` with draws from the normal distribution of mean 0 and variance 1 (Box and Muller's method).
    /// Element i is the same for every length above i.
    pub fn fill_normal<T: Element>(&self, out: &mut [T]) {
        self.fill(out, |words, out| simd::dispatch(Normal { words, out }));
    }

    /// Calls `f` for each block of `out` with random words, at least as many as elements and in whole groups.
    fn fill<T: Element>(&self, out: &mut [T], f: impl Fn(&[u64], &mut [T]) + Sync) {
        par::chunks(out, BLOCK, |block, out| {
            let mut rng = self.rng(block as u64);
            let mut bytes = [0; 8 * BLOCK];
            let mut words = [0; BLOCK];
            let n = out.len().next_multiple_of(GROUP);
            let words = &mut words[..n];
            if size_of::<T>() == 4 {
                rng.fill_bytes(&mut bytes[..4 * n]);
                for (word, b) in words.iter_mut().zip(bytes.as_chunks().0) {
                    // 32 random bits, then a half: the middle of what they stand for.
                    *word = u64::from(u32::from_le_bytes(*b)) << 32 | 1 << 31;
                }
            } else {
                rng.fill_bytes(&mut bytes[..8 * n]);
                for (word, b) in words.iter_mut().zip(bytes.as_chunks().0) {
                    *word = u64::from_le_bytes(*b);
                }
            }
            f(words, out);
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
/// Elements that are made together: half of them from radii and half from angles when they are normal.
const GROUP: usize = 64;

/// Each word's top bits as a fraction.
struct Uniform<'a, T> {
    words: &'a [u64],
    shift: u32,
    scale: f64,
    out: &'a mut [T],
}

impl<T: Element> Kernel for Uniform<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        for (out, word) in self.out.iter_mut().zip(self.words) {
            *out = T::from_f64((word >> self.shift) as i64 as f64 * self.scale);
        }
    }
}

/// Groups of radius * cosine, then radius * sine, of the same points.
struct Normal<'a, T> {
    words: &'a [u64],
    out: &'a mut [T],
}

impl<T: Element> Kernel for Normal<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        const HALF: usize = GROUP / 2;
        let (groups, _) = self.words.as_chunks::<GROUP>();
        for (words, out) in groups.iter().zip(self.out.chunks_mut(GROUP)) {
            let mut group = [T::ZERO; GROUP];
            let (cosines, sines) = group.split_at_mut(HALF);
            for l in 0..HALF {
                let radius = radius::<T, A>(words[l]);
                let (cos, sin) = direction::<T, A>(words[HALF + l]);
                cosines[l] = radius * cos;
                sines[l] = radius * sin;
            }
            out.copy_from_slice(&group[..out.len()]);
        }
    }
}

/// The distance of a normal point of the plane from 0: sqrt(-2 ln u) with u uniform on (0, 1].
#[inline(always)]
fn radius<T: Element, A: Arithmetic>(word: u64) -> T {
    let u = ((word >> 11) as i64 as f64 + 0.5) * f64::powi(0.5, 53);
    let square = T::from_f64(-2.0) * Math::ln::<A>(T::from_f64(u));
    Math::sqrt::<A>(square)
}

/// The cosine and sine of a uniform angle: two bits choose the quadrant, the others an angle in -pi/4..pi/4.
#[inline(always)]
fn direction<T: Element, A: Arithmetic>(word: u64) -> (T, T) {
    let quadrant = word >> 62;
    let angle = T::from_f64((word << 2) as i64 as f64 * (f64::powi(0.5, 64) * std::f64::consts::FRAC_PI_2));
    let square = angle * angle;
    let c = |v: f64| T::from_f64(v);
    let sine = polynomial::<T, A, 6>(
        square,
        [
            c(-0.166_666_666_666_666_32),
            c(0.008_333_333_333_322_37),
            c(-0.000_198_412_698_297_711_67),
            c(2.755_731_367_866_357_6e-6),
            c(-2.505_075_596_121_165e-8),
            c(1.589_666_651_266_925_6e-10),
        ],
    );
    let sin = A::mul_add(sine * square, angle, angle);
    let cosine = polynomial::<T, A, 6>(
        square,
        [
            c(0.041_666_666_666_666_6),
            c(-0.001_388_888_888_887_406_4),
            c(2.480_158_728_944_351e-5),
            c(-2.755_731_434_066_753e-7),
            c(2.087_572_162_483_427e-9),
            c(-1.135_955_938_888_593_8e-11),
        ],
    );
    let cos = A::mul_add(cosine * square, square, A::mul_add(square, c(-0.5), T::ONE));
    // A quarter turn takes (cos, sin) to (-sin, cos).
    let (x, y) = if quadrant & 1 == 1 { (-sin, cos) } else { (cos, sin) };
    if quadrant & 2 == 2 { (-x, -y) } else { (x, y) }
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
    (rng.next_u64() >> 11) as f64 * f64::powi(0.5, 53)
}

#[cfg(test)]
mod tests;
