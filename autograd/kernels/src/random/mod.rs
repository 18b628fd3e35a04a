//! Counter-based randomness: a draw is a pure function of (seed, stream, step, index).
//!
//! A [`Key`] is the 256-bit key of a ChaCha generator; the index is its 64-bit stream number. So draws need no
//! stored generator state, do not depend on threads, and a run that resumes at any step gives the same draws as an
//! uninterrupted one.

// Plain loops are vectorised; whether iterators are depends on inlining.
#![allow(clippy::needless_range_loop)]

mod chacha;

use rand::distr::Distribution;
use rand::{Rng, RngExt, SeedableRng};
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

    /// Fills `out` with draws uniform on [0, 1): those of rand's `StandardUniform`, many at a time. Element i is the same for
    /// every length above i.
    pub fn fill_uniform<T: Element>(&self, out: &mut [T]) {
        self.fill(out, Uniform);
    }

    /// Fills `out` with draws from the normal distribution of mean 0 and variance 1 (Box and Muller's method,
    /// which, unlike that of `rand_distr`, takes as many random bits for each: so they can be made many at a time).
    /// Element i is the same for every length above i.
    pub fn fill_normal<T: Element>(&self, out: &mut [T]) {
        self.fill_normal_with(T::ONE, out);
    }

    /// As [`Key::fill_normal`], times `deviation`.
    pub fn fill_normal_with<T: Element>(&self, deviation: T, out: &mut [T]) {
        self.fill(out, Normal { deviation });
    }

    fn fill<T: Element, D: Draw<T>>(&self, out: &mut [T], draw: D) {
        const TOGETHER: usize = 2;
        let wide = size_of::<T>() / size_of::<u32>();
        par::chunks(out, TOGETHER * BLOCK, |i, out| {
            let mut words = [0; 2 * BLOCK];
            for (block, out) in out.chunks_mut(BLOCK).enumerate() {
                let words = &mut words[..(wide * out.len()).next_multiple_of(chacha::AT_ONCE)];
                chacha::fill(self.words(), (TOGETHER * i + block) as u64, words);
                simd::dispatch(Drawn { words, draw, out });
            }
        });
    }

    /// A random order of 0..n (Fisher and Yates' shuffle). Not rand's `shuffle`, whose order differs between its versions.
    pub fn permutation(&self, n: usize) -> Vec<usize> {
        let mut rng = self.rng(0);
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i, rng.sample(Below(i + 1)));
        }
        order
    }
}

/// Elements that share a generator: block b of a fill is `rng(b)`.
const BLOCK: usize = 1024;
/// Elements that are made together: half of them from radii and half from angles when they are normal.
const GROUP: usize = 64;

/// Draws from their words.
struct Drawn<'a, T, D> {
    words: &'a [u32],
    draw: D,
    out: &'a mut [T],
}

impl<T: Element, D: Draw<T>> Kernel for Drawn<'_, T, D> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let wide = size_of::<T>() / size_of::<u32>();
        for (words, out) in self.words.chunks_exact(wide * GROUP).zip(self.out.chunks_mut(GROUP)) {
            // Of constant length, so that no number needs a bounds check.
            let group = self.draw.group::<A>(&words[..wide * GROUP]);
            match <&mut [T; GROUP]>::try_from(&mut *out) {
                Ok(out) => *out = group,
                Err(_) => out.copy_from_slice(&group[..out.len()]),
            }
        }
    }
}

/// Makes draws of random bits.
trait Draw<T>: Copy + Sync {
    /// A group from its words: one for each f32, two for each f64, the lower first.
    fn group<A: Arithmetic>(self, words: &[u32]) -> [T; GROUP];
}

/// The 64 random bits of element `i`; of an f32, 32 and then a half, the middle of what they stand for.
#[inline(always)]
fn bits<T>(words: &[u32], i: usize) -> u64 {
    if narrow::<T>() {
        u64::from(words[i]) << 32 | 1 << 31
    } else {
        u64::from(words[2 * i + 1]) << 32 | u64::from(words[2 * i])
    }
}

#[inline(always)]
fn narrow<T>() -> bool {
    size_of::<T>() == size_of::<u32>()
}

/// As `x as f64`, in operations that every instruction set has for vectors.
#[inline(always)]
fn to_f64(x: i64) -> f64 {
    // Both halves as low bits of a mantissa: 2^84 + 2^63 + the high one, its sign turned, and 2^52 + the low one.
    const HIGH: u64 = 0x4530_0000_8000_0000;
    const LOW: u64 = 0x4330_0000_0000_0000;
    let high = f64::from_bits((x as u64 >> 32) ^ HIGH);
    let low = f64::from_bits((x as u64 & 0xffff_ffff) | LOW);
    // Only the last sum rounds.
    (high - (f64::powi(2.0, 84) + f64::powi(2.0, 63) + f64::powi(2.0, 52))) + low
}

/// The top bits as a fraction.
#[derive(Clone, Copy)]
struct Uniform;

impl<T: Element> Draw<T> for Uniform {
    #[inline(always)]
    fn group<A: Arithmetic>(self, words: &[u32]) -> [T; GROUP] {
        // As many bits as the mantissa holds, so that rounding cannot give 1.
        let held = if narrow::<T>() { 24 } else { 53 };
        let scale = f64::powi(0.5, held);
        let mut group = [T::ZERO; GROUP];
        for i in 0..GROUP {
            let top = bits::<T>(words, i) >> (64 - held);
            let top = if narrow::<T>() { f64::from(top as i32) } else { to_f64(top as i64) };
            group[i] = T::from_f64(top * scale);
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
    fn group<A: Arithmetic>(self, words: &[u32]) -> [T; GROUP] {
        const HALF: usize = GROUP / 2;
        // Short loops with one operation each, which vectorise in every build.
        let mut radii = [T::ZERO; HALF];
        for l in 0..HALF {
            radii[l] = open_unit::<T>(words, l);
        }
        for l in 0..HALF {
            radii[l] = self.deviation * radius::<T, A>(radii[l]);
        }
        let (mut quadrants, mut angles) = ([0; HALF], [T::ZERO; HALF]);
        for l in 0..HALF {
            (quadrants[l], angles[l]) = angle::<T>(words, HALF + l);
        }
        let mut group = [T::ZERO; GROUP];
        for l in 0..HALF {
            let (cos, sin) = direction::<T, A>(quadrants[l], angles[l]);
            group[l] = radii[l] * cos;
            group[HALF + l] = radii[l] * sin;
        }
        group
    }
}

/// Element `i` as a uniform number on (0, 1].
#[inline(always)]
fn open_unit<T: Element>(words: &[u32], i: usize) -> T {
    let u = if narrow::<T>() {
        // The same number: what the shift leaves of the half, and the 0.5.
        (f64::from(words[i]) + (0.5 + f64::powi(0.5, 22))) * f64::powi(0.5, 32)
    } else {
        (to_f64((bits::<T>(words, i) >> 11) as i64) + 0.5) * f64::powi(0.5, 53)
    };
    T::from_f64(u)
}

/// The distance of a normal point of the plane from 0: sqrt(-2 ln u) with u uniform on (0, 1].
#[inline(always)]
fn radius<T: Element, A: Arithmetic>(u: T) -> T {
    let square = T::from_f64(-2.0) * Math::ln::<A>(u);
    Math::sqrt::<A>(square)
}

/// Element `i` as a quadrant, its top two bits, and an angle in -pi/4..pi/4.
#[inline(always)]
fn angle<T: Element>(words: &[u32], i: usize) -> (u32, T) {
    use std::f64::consts::FRAC_PI_2;
    let (quadrant, angle) = if narrow::<T>() {
        let signed = (words[i] << 2 | 2) as i32;
        (words[i] >> 30, f64::from(signed) * (f64::powi(0.5, 32) * FRAC_PI_2))
    } else {
        let word = bits::<T>(words, i);
        ((word >> 62) as u32, to_f64((word << 2) as i64) * (f64::powi(0.5, 64) * FRAC_PI_2))
    };
    (quadrant, T::from_f64(angle))
}

/// The cosine and sine of a uniform angle, given by quadrant and distance from its middle.
#[inline(always)]
fn direction<T: Element, A: Arithmetic>(quadrant: u32, angle: T) -> (T, T) {
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

/// Uniform on 0..n, without bias: `rng.sample(Below(n))`. Not rand's `random_range`, which draws other numbers from the same
/// bits and has changed them between versions.
///
/// ```
/// use kernels::random::{Below, Key};
/// use rand::RngExt;
/// let dice: Vec<usize> = Key::new(1).rng(0).sample_iter(Below(6)).take(3).collect();
/// assert!(dice.iter().all(|&side| side < 6));
/// ```
///
/// # Panics
/// Drawing panics if `n` is 0.
#[derive(Clone, Copy, Debug)]
pub struct Below(pub usize);

impl Distribution<usize> for Below {
    fn sample<R: Rng + ?Sized>(&self, rng: &mut R) -> usize {
        assert!(self.0 > 0, "Below: n must be at least 1");
        let n = self.0 as u64;
        let zone = u64::MAX - u64::MAX % n;
        loop {
            let v = rng.next_u64();
            if v < zone {
                return (v % n) as usize;
            }
        }
    }
}

#[cfg(test)]
mod tests;
