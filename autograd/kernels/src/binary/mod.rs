//! Sums of products of signs: a bit 1 is +1, a bit 0 is -1.
//!
//! The product of two vectors of n signs is n - 2 popcount(a xor b), where bits past the n-th are 0 in both. Inputs are
//! lines of nibbles: four signs in the lower half of a byte, neighbouring positions in neighbouring bytes. popcount(a xor
//! b) of a given nibble b is then a table of 16 numbers, which AVX2 looks up for 32 positions in one instruction.

pub mod bits;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::real::Arithmetic;
use crate::simd::{self, Kernel};
#[cfg(target_arch = "x86_64")]
use crate::simd::{Level, level};

/// Filters that are computed together.
pub const FOUR: usize = 4;
/// Positions that are computed together; lines of sums are whole multiples.
pub const BLOCK: usize = 64;
/// The largest number of signs in a filter, so that sums fit into 16 bits.
pub const MOST: usize = i16::MAX as usize - 1;
/// Nibbles after which counts in bytes, at most 4 for each nibble, are added up: 63 * 4 < 256.
const DEPTH: usize = 63;

/// Counts of four filters at the positions of a block.
type Counts = [[u8; BLOCK]; FOUR];

/// Vectors of signs that are multiplied with lines of nibbles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filters {
    bits: usize,
    count: usize,
    /// Nibble k of filter f is the upper half of byte f % 4 of entry f / 4 * steps + k.
    data: Vec<[u8; FOUR]>,
}

impl Filters {
    /// `count` vectors of `bits` signs, each in its own `bits / 64` words, rounded up.
    ///
    /// # Panics
    /// If `rows` has another length, a bit past the last sign of a vector is 1, or there are more than [`MOST`] signs.
    pub fn new(rows: &[u64], count: usize, bits: usize) -> Filters {
        let (words, steps) = (bits.div_ceil(64), bits.div_ceil(4));
        assert!(bits <= MOST, "{bits} signs in a filter; at most {MOST} are possible");
        assert!(rows.len() == count * words, "{} words for {count} vectors of {words}", rows.len());
        let mut data = vec![[0; FOUR]; count.div_ceil(FOUR) * steps];
        for (f, row) in rows.chunks_exact(words.max(1)).enumerate() {
            assert!(bits::clean(row, bits), "vector {f}: bits past the last of {bits} must be 0");
            for (k, entry) in data[f / FOUR * steps..][..steps].iter_mut().enumerate() {
                entry[f % FOUR] = (row[k / 16] >> (4 * (k % 16)) << 4) as u8;
            }
        }
        Filters { bits, count, data }
    }

    /// The number of vectors.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The number of signs of each.
    pub fn bits(&self) -> usize {
        self.bits
    }

    /// The number of nibbles of each.
    pub fn steps(&self) -> usize {
        self.bits.div_ceil(4)
    }

    /// The words of the vectors, one after another, as [`Filters::new`] takes them.
    pub fn rows(&self) -> Vec<u64> {
        let words = self.bits.div_ceil(64);
        let mut rows = vec![0; self.count * words];
        for (i, entry) in self.data.iter().enumerate() {
            let (first, k) = (i / self.steps() * FOUR, i % self.steps());
            for (f, nibble) in (first..self.count).zip(entry) {
                rows[f * words + k / 16] |= u64::from(nibble >> 4) << (4 * (k % 16));
            }
        }
        rows
    }

    /// The products of the filters 4 `four` to 4 `four` + 3 with lines of nibbles: filter r has at position i the sum over
    /// its signs of the products with nibble k at `x[offsets[k] + i]`, which becomes `out[r * n + i]`, n being a quarter of
    /// `out`. Filters past the last have products of signs -1.
    ///
    /// # Panics
    /// If n is no multiple of [`BLOCK`], there is not an offset for each nibble, or a line ends past the end of `x`.
    pub fn products(&self, four: usize, x: &[u8], offsets: &[usize], out: &mut [i16]) {
        let (n, steps) = (out.len() / FOUR, self.steps());
        assert!(out.len() == FOUR * n && n.is_multiple_of(BLOCK), "{n} positions: no multiple of {BLOCK}");
        assert!(offsets.len() == steps, "{} offsets for {steps} nibbles", offsets.len());
        let end = offsets.iter().max().map_or(0, |last| last + n);
        assert!(end <= x.len(), "lines end at {end}, past the {} nibbles", x.len());
        out.fill(self.bits as i16);
        let filters = &self.data[four * steps..][..steps];
        for first in (0..n).step_by(BLOCK) {
            for (offsets, filters) in offsets.chunks(DEPTH).zip(filters.chunks(DEPTH)) {
                let counts = count(&x[first..], offsets, filters);
                simd::dispatch(Subtract { counts: &counts, first, out });
            }
        }
    }
}

/// The counts of differing signs in up to [`DEPTH`] nibbles at the first positions.
#[inline]
fn count(x: &[u8], offsets: &[usize], filters: &[[u8; FOUR]]) -> Counts {
    #[cfg(target_arch = "x86_64")]
    match level() {
        // SAFETY: the machine has the instructions.
        Level::Avx512 if x86::counts_bytes() => return unsafe { x86::count512(x, offsets, filters) },
        // SAFETY: as above; each offset leaves a block of `x`, as `products` checked.
        Level::Avx512 | Level::Avx2 => return unsafe { x86::count256(x, offsets, filters) },
        Level::Portable => {}
    }
    portable_count(x, offsets, filters)
}

#[inline(always)]
fn portable_count(x: &[u8], offsets: &[usize], filters: &[[u8; FOUR]]) -> Counts {
    let mut counts = [[0; BLOCK]; FOUR];
    for (&offset, filters) in offsets.iter().zip(filters) {
        let x: &[u8; BLOCK] = x[offset..].first_chunk().expect("lines end within x");
        for (counts, b) in counts.iter_mut().zip(filters) {
            counts.iter_mut().zip(x).for_each(|(count, a)| *count += (a ^ b >> 4).count_ones() as u8);
        }
    }
    counts
}

/// Subtracts counts twice from the sums of four lines, at the positions from `first` on.
struct Subtract<'a> {
    counts: &'a Counts,
    first: usize,
    out: &'a mut [i16],
}

impl Kernel for Subtract<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let n = self.out.len() / FOUR;
        for (line, counts) in self.out.chunks_exact_mut(n).zip(self.counts) {
            let line = line[self.first..].first_chunk_mut::<BLOCK>().expect("a block");
            line.iter_mut().zip(counts).for_each(|(sum, &count)| *sum -= 2 * i16::from(count));
        }
    }
}

/// Nibbles of the signs of four lines of numbers, by a threshold and a flip for each line:
///
///   bit r of `out[i]` = (`x[r n + i]` >= `limits[r]`) xor bit r of `flips`,   n numbers in a line
///
/// # Panics
/// If `x` is not four times as long as `out`.
pub fn compare<T: PartialOrd + Copy>(x: &[T], limits: [T; FOUR], flips: u8, out: &mut [u8]) {
    assert!(x.len() == FOUR * out.len(), "{} numbers for {} nibbles", x.len(), out.len());
    simd::dispatch(Compare { x, limits, flips, out });
}

struct Compare<'a, T> {
    x: &'a [T],
    limits: [T; FOUR],
    flips: u8,
    out: &'a mut [u8],
}

impl<T: PartialOrd + Copy> Kernel for Compare<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Compare { x, limits, flips, out } = self;
        let n = out.len();
        let [a, b, c, d] = [0, 1, 2, 3].map(|r| &x[r * n..][..n]);
        for i in 0..n {
            let bit = |r: usize, v: T| u8::from(v >= limits[r]) << r;
            out[i] = (bit(0, a[i]) | bit(1, b[i]) | bit(2, c[i]) | bit(3, d[i])) ^ flips;
        }
    }
}
