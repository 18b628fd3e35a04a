//! The ChaCha8 stream of a key, many blocks at a time.
//!
//! Eight or sixteen blocks differ in their counters alone, so each of the sixteen words of the state is a vector with
//! one lane a block. The numbers are those of `ChaCha8Rng`.
//!
//! Bernstein, ChaCha, a variant of Salsa20, 2008.

use crate::simd::{self, Level};

/// The most blocks computed at a time.
const MOST: usize = 16;
/// Words computed at a time.
pub(super) const AT_ONCE: usize = 16 * MOST;

/// The first words of stream `stream` of the generator with this key, `out.len()` of them, a multiple of [`AT_ONCE`].
#[inline(always)]
pub(super) fn fill(key: [u32; 8], stream: u64, out: &mut [u32]) {
    // A word of the state is a register: sixteen of them fit into the registers, or nearly.
    match simd::level() {
        Level::Avx512 => fill_by::<16>(key, stream, out),
        _ => fill_by::<8>(key, stream, out),
    }
}

/// [`fill`], `LANES` blocks at a time.
#[inline(always)]
pub(super) fn fill_by<const LANES: usize>(key: [u32; 8], stream: u64, out: &mut [u32]) {
    for (i, out) in out.chunks_exact_mut(16 * LANES).enumerate() {
        blocks::<LANES>(key, stream, (i * LANES) as u64, out);
    }
}

#[inline(always)]
fn blocks<const LANES: usize>(key: [u32; 8], stream: u64, first: u64, out: &mut [u32]) {
    let mut start = [[0; LANES]; 16];
    // "expand 32-byte k"
    start[..4].copy_from_slice(&[0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574].map(|v| [v; LANES]));
    start[4..12].copy_from_slice(&key.map(|v| [v; LANES]));
    let counters: [u64; LANES] = std::array::from_fn(|lane| first + lane as u64);
    (start[12], start[13]) = (counters.map(|c| c as u32), counters.map(|c| (c >> 32) as u32));
    (start[14], start[15]) = ([stream as u32; LANES], [(stream >> 32) as u32; LANES]);
    let mut x = start;
    for _ in 0..4 {
        for i in 0..4 {
            quarter(&mut x, [i, 4 + i, 8 + i, 12 + i]);
        }
        for i in 0..4 {
            quarter(&mut x, [i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4]);
        }
    }
    for (x, start) in x.iter_mut().zip(&start) {
        *x = add(*x, *start);
    }
    for (block, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        for word in 0..16 {
            out[word] = x[word][block];
        }
    }
}

/// A quarter round on four of the words.
#[inline(always)]
fn quarter<const LANES: usize>(x: &mut [[u32; LANES]; 16], [a, b, c, d]: [usize; 4]) {
    x[a] = add(x[a], x[b]);
    x[d] = turn::<LANES, 16>(x[d], x[a]);
    x[c] = add(x[c], x[d]);
    x[b] = turn::<LANES, 12>(x[b], x[c]);
    x[a] = add(x[a], x[b]);
    x[d] = turn::<LANES, 8>(x[d], x[a]);
    x[c] = add(x[c], x[d]);
    x[b] = turn::<LANES, 7>(x[b], x[c]);
}

#[inline(always)]
fn add<const LANES: usize>(mut x: [u32; LANES], y: [u32; LANES]) -> [u32; LANES] {
    for l in 0..LANES {
        x[l] = x[l].wrapping_add(y[l]);
    }
    x
}

/// x ^ y, turned left by N bits.
#[inline(always)]
fn turn<const LANES: usize, const N: u32>(mut x: [u32; LANES], y: [u32; LANES]) -> [u32; LANES] {
    for l in 0..LANES {
        x[l] = (x[l] ^ y[l]).rotate_left(N);
    }
    x
}
