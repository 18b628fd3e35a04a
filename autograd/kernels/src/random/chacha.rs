//! The ChaCha8 stream of a key, many blocks at a time.
//!
//! Eight or sixteen blocks differ in their counters alone, so each of the sixteen words of the state is a vector with
//! one lane per block. The numbers are those of `ChaCha8Rng`, which computes four blocks at a time.
//!
//! Bernstein, ChaCha, a variant of Salsa20, 2008.

use crate::real::Arithmetic;
use crate::simd::{self, Kernel, Level};

/// The most blocks computed at a time.
const MOST: usize = 16;
/// Words computed at a time.
pub(super) const AT_ONCE: usize = 16 * MOST;

/// The first words of stream `stream` of the generator with this key, `out.len()` of them, a multiple of [`AT_ONCE`].
pub(super) fn fill(key: [u32; 8], stream: u64, out: &mut [u32]) {
    // A word of the state is a register: sixteen of them fit into the registers, or nearly.
    match simd::level() {
        Level::Avx512 => fill_by::<16>(key, stream, out),
        _ => fill_by::<8>(key, stream, out),
    }
}

/// [`fill`], `LANES` blocks at a time.
pub(super) fn fill_by<const LANES: usize>(key: [u32; 8], stream: u64, out: &mut [u32]) {
    simd::dispatch(Fill::<LANES> { key, stream, out });
}

struct Fill<'a, const LANES: usize> {
    key: [u32; 8],
    stream: u64,
    out: &'a mut [u32],
}

impl<const LANES: usize> Kernel for Fill<'_, LANES> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        for (i, out) in self.out.chunks_exact_mut(16 * LANES).enumerate() {
            blocks::<LANES>(self.key, self.stream, (i * LANES) as u64, out);
        }
    }
}

#[inline(always)]
fn blocks<const LANES: usize>(key: [u32; 8], stream: u64, first: u64, out: &mut [u32]) {
    let mut words = [[0; LANES]; 16];
    // The compiler vectorises this loop: every operation of `block` acts on all lanes. Plain loops only, which are
    // always compiled in this function.
    for lane in 0..LANES {
        let block = block(key, stream, first + lane as u64);
        for word in 0..16 {
            words[word][lane] = block[word];
        }
    }
    // Transposes from (word, block) to (block, word): four rotations of the index's bits, each by one.
    for _ in 0..4 {
        let turned = words;
        let (from, to) = (turned.as_flattened(), words.as_flattened_mut());
        for i in 0..8 * LANES {
            to[2 * i] = from[i];
            to[2 * i + 1] = from[8 * LANES + i];
        }
    }
    out.copy_from_slice(words.as_flattened());
}

/// Block `counter` of a stream.
#[inline(always)]
fn block(key: [u32; 8], stream: u64, counter: u64) -> [u32; 16] {
    let mut start = [0; 16];
    // "expand 32-byte k"
    start[..4].copy_from_slice(&[0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574]);
    start[4..12].copy_from_slice(&key);
    start[12..].copy_from_slice(&[
        counter as u32,
        (counter >> 32) as u32,
        stream as u32,
        (stream >> 32) as u32,
    ]);
    let mut x = start;
    // Eight rounds, unrolled: an inner loop would prevent the vectorisation over the lanes.
    double_round(&mut x);
    double_round(&mut x);
    double_round(&mut x);
    double_round(&mut x);
    for word in 0..16 {
        x[word] = x[word].wrapping_add(start[word]);
    }
    x
}

#[inline(always)]
fn double_round(x: &mut [u32; 16]) {
    for i in 0..4 {
        quarter(x, [i, 4 + i, 8 + i, 12 + i]);
    }
    for i in 0..4 {
        quarter(x, [i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4]);
    }
}

/// A quarter round on four of the words.
#[inline(always)]
fn quarter(x: &mut [u32; 16], [a, b, c, d]: [usize; 4]) {
    x[a] = x[a].wrapping_add(x[b]);
    x[d] = (x[d] ^ x[a]).rotate_left(16);
    x[c] = x[c].wrapping_add(x[d]);
    x[b] = (x[b] ^ x[c]).rotate_left(12);
    x[a] = x[a].wrapping_add(x[b]);
    x[d] = (x[d] ^ x[a]).rotate_left(8);
    x[c] = x[c].wrapping_add(x[d]);
    x[b] = (x[b] ^ x[c]).rotate_left(7);
}
