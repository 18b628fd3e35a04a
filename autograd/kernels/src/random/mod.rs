//! Counter-based randomness: a draw is a pure function of (seed, stream, step, index).
//!
//! A [`Key`] is the 256-bit key of a ChaCha generator; the index is its 64-bit stream number. So draws need no
//! stored generator state, do not depend on threads, and a run resumes at any step exactly as it would have
//! gone on.

mod chacha;

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
        let mut seed = [0; 32];
        for (bytes, word) in seed.as_chunks_mut().0.iter_mut().zip(self.words()) {
            *bytes = word.to_le_bytes();
        }
        let mut rng = ChaCha8Rng::from_seed(seed);
        rng.set_stream(index);
        rng
    }

    /// The generator's key.
    fn words(&self) -> [u32; 8] {
        let Key { seed, stream, step } = *self;
        let [[a, b], [c, d], [e, f]] = [seed, stream, step].map(|v| [v as u32, (v >> 32) as u32]);
        [a, b, c, d, e, f, 0, 0]
    }

    /// Fills `out` with draws uniform on [0, 1). Element i is the same for every length above i.
    pub fn fill_uniform<T: Element>(&self, out: &mut [T]) {
        self.fill(out, Uniform);
    }

    /// Fills `out` with draws from the normal distribution of mean 0 and variance 1 (Box and Muller's method).
    /// Element i is the same for every length above i.
    pub fn fill_normal<T: Element>(&self, out: &mut [T]) {
        self.fill_normal_with(T::ONE, out);
    }

    /// As [`Key::fill_normal`], times `deviation`.
    pub fn fill_normal_with<T: Element>(&self, deviation: T, out: &mut [T]) {
        self.fill(out, Normal { deviation });
    }

    fn fill<T: Element, D: Draw<T>>(&self, out: &mut [T], draw: D) {
        const TOGETHER: usize = 8;
        par::chunks(out, TOGETHER * BLOCK, |i, out| {
            let first = (TOGETHER * i) as u64;
            simd::dispatch(Fill { key: self.words(), first, draw, out });
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

/// Blocks of draws from generator `first` on.
struct Fill<'a, T, D> {
    key: [u32; 8],
    first: u64,
    draw: D,
    out: &'a mut [T],
}

impl<T: Element, D: Draw<T>> Kernel for Fill<'_, T, D> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let wide = size_of::<T>() / size_of::<u32>();
        let mut words = [0; 2 * BLOCK];
        for (stream, out) in (self.first..).zip(self.out.chunks_mut(BLOCK)) {
            let words = &mut words[..(wide * out.len()).next_multiple_of(chacha::AT_ONCE)];
            chacha::fill(self.key, stream, words);
            for (words, out) in words.chunks_exact(wide * GROUP).zip(out.chunks_mut(GROUP)) {
                let mut bits = [0; GROUP];
                for (i, bits) in bits.iter_mut().enumerate() {
                    *bits = match wide {
                        // 32 random bits, then a half: the middle of what they stand for.
                        1 => u64::from(words[i]) << 32 | 1 << 31,
                        _ => u64::from(words[2 * i + 1]) << 32 | u64::from(words[2 * i]),
                    };
                }
                out.copy_from_slice(&self.draw.group::<A>(&bits)[..out.len()]);
            }
        }
    }
}

/// Makes draws of random bits.
trait Draw<T>: Copy + Sync {
    fn group<A: Arithmetic>(self, bits: &[u64; GROUP]) -> [T; GROUP];
}

/// The top bits as a fraction.
#[derive(Clone, Copy)]
struct Uniform;

impl<T: Element> Draw<T> for Uniform {
    #[inline(always)]
    fn group<A: Arithmetic>(self, bits: &[u64; GROUP]) -> [T; GROUP] {
        // As many bits as the mantissa holds, so that rounding cannot give 1.
        let held = if size_of::<T>() == 4 { 24 } else { 53 };
        let scale = f64::powi(0.5, held);
        let mut group = [T::ZERO; GROUP];
        for (v, bits) in group.iter_mut().zip(bits) {
            *v = T::from_f64((bits >> (64 - held)) as i64 as f64 * scale);
        }
        group
    }
}

/// Radius * cosine, then radius * sine, of the same points.
#[derive(Clone, Copy)]
struct Normal<T> {
    deviation: T,
}

impl<T: Element> Draw<T> for Normal<T> {
    #[inline(always)]
    fn group<A: Arithmetic>(self, bits: &[u64; GROUP]) -> [T; GROUP] {
        const HALF: usize = GROUP / 2;
        let mut group = [T::ZERO; GROUP];
        for l in 0..HALF {
            let radius = self.deviation * radius::<T, A>(bits[l]);
            let (cos, sin) = direction::<T, A>(bits[HALF + l]);
            group[l] = radius * cos;
            group[HALF + l] = radius * sin;
        }
        group
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
