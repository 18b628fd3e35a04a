//! Products of vectors of signs, packed into 64-bit words: a bit 1 is +1, a bit 0 is -1.
//!
//! The product of two vectors of n signs is n - 2 popcount(a xor b), where bits past the n-th are 0 in both. One
//! instruction thus multiplies and adds as many signs as a register has bits.

pub mod bits;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::simd::{Level, level};

/// Columns beside one another in a vector kernel; their number is rounded up to a multiple.
const GROUP: usize = 8;

/// The right-hand side of [`dots`]: vectors of signs, stored word by word for all of them, as vector kernels read them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    bits: usize,
    count: usize,
    /// Word k of vector j is at k * padded + j.
    data: Vec<u64>,
}

impl Columns {
    /// `count` vectors of `bits` signs, each in its own `bits / 64` words, rounded up.
    ///
    /// # Panics
    /// If `rows` has another length, or a bit past the last sign of a vector is 1.
    pub fn new(rows: &[u64], count: usize, bits: usize) -> Columns {
        let words = bits.div_ceil(64);
        assert!(rows.len() == count * words, "{} words for {count} vectors of {words}", rows.len());
        let padded = count.next_multiple_of(GROUP);
        let mut data = vec![0; words * padded];
        for (j, row) in rows.chunks_exact(words.max(1)).enumerate() {
            assert!(bits::clean(row, bits), "vector {j}: bits past the last of {bits} must be 0");
            row.iter().enumerate().for_each(|(k, &word)| data[k * padded + j] = word);
        }
        Columns { bits, count, data }
    }

    /// The number of vectors.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The number of signs of each.
    pub fn bits(&self) -> usize {
        self.bits
    }

    /// The number of words of each.
    pub fn words(&self) -> usize {
        self.bits.div_ceil(64)
    }

    /// The words of the vectors, one after another, as [`Columns::new`] takes them.
    pub fn rows(&self) -> Vec<u64> {
        let (words, padded) = (self.words(), self.padded());
        (0..self.count * words).map(|i| self.data[i % words * padded + i / words]).collect()
    }

    fn padded(&self) -> usize {
        self.count.next_multiple_of(GROUP)
    }
}

/// The product of each row with each column: `out[i * columns + j]` = sum of a_i b_j over their signs.
///
/// # Panics
/// If `rows` is not a whole number of vectors as long as the columns, or `out` has another length.
pub fn dots(rows: &[u64], columns: &Columns, out: &mut [i32]) {
    let (words, count) = (columns.words(), columns.count);
    if words == 0 || count == 0 {
        out.fill(0);
        return;
    }
    assert!(rows.len().is_multiple_of(words), "{} words are no whole number of rows of {words}", rows.len());
    assert!(out.len() == rows.len() / words * count, "{} results for {count} columns", out.len());
    #[cfg(target_arch = "x86_64")]
    match level() {
        // SAFETY: the machine has the instructions, and the lengths were checked.
        Level::Avx512 if x86::has_popcount() => return unsafe { x86::dots512(rows, columns, out) },
        // SAFETY: as above.
        Level::Avx512 | Level::Avx2 => return unsafe { x86::dots256(rows, columns, out) },
        Level::Portable => {}
    }
    portable_dots(rows, columns, out);
}

fn portable_dots(rows: &[u64], columns: &Columns, out: &mut [i32]) {
    let (words, padded) = (columns.words(), columns.padded());
    for (row, out) in rows.chunks_exact(words).zip(out.chunks_exact_mut(columns.count)) {
        out.fill(columns.bits as i32);
        for (a, column) in row.iter().zip(columns.data.chunks_exact(padded)) {
            for (out, b) in out.iter_mut().zip(column) {
                *out -= 2 * (a ^ b).count_ones() as i32;
            }
        }
    }
}

/// The signs of accumulators by thresholds: of each row of n accumulators, once for each of the `slices`,
///
///   bit j of slice s = (row\[j\] >= limits\[s n + j\]) xor flips\[j\]
///
/// as n / 64 words, rounded up, for each row and slice.
///
/// # Panics
/// If a length does not fit the others.
pub fn compare(accumulators: &[i32], limits: &[i32], flips: &[u64], slices: usize, out: &mut [u64]) {
    let n = limits.len() / slices;
    let words = n.div_ceil(64);
    assert!(
        limits.len() == slices * n && flips.len() == words,
        "{} limits for {slices} slices",
        limits.len()
    );
    assert!(bits::clean(flips, n), "flips past the last of {n} accumulators must be 0");
    if n == 0 {
        return;
    }
    assert!(
        accumulators.len().is_multiple_of(n) && out.len() == accumulators.len() / n * slices * words,
        "{} accumulators and {} words for {slices} slices of {n}",
        accumulators.len(),
        out.len()
    );
    #[cfg(target_arch = "x86_64")]
    if level() >= Level::Avx2 {
        // SAFETY: the machine has the instructions.
        return unsafe { x86::compare256(accumulators, limits, flips, slices, out) };
    }
    each_word(accumulators, limits, flips, slices, out, portable_word);
}

/// Calls `word` for up to 64 accumulators and their limits, for each word of the result.
#[inline(always)]
fn each_word(
    accumulators: &[i32],
    limits: &[i32],
    flips: &[u64],
    slices: usize,
    out: &mut [u64],
    word: impl Fn(&[i32], &[i32]) -> u64,
) {
    let n = limits.len() / slices;
    let words = flips.len();
    for (row, out) in accumulators.chunks_exact(n).zip(out.chunks_exact_mut(slices * words)) {
        for (limits, out) in limits.chunks_exact(n).zip(out.chunks_exact_mut(words)) {
            let pieces = row.chunks(64).zip(limits.chunks(64));
            for ((out, flip), (row, limits)) in out.iter_mut().zip(flips).zip(pieces) {
                *out = word(row, limits) ^ flip;
            }
        }
    }
}

#[inline(always)]
fn portable_word(row: &[i32], limits: &[i32]) -> u64 {
    row.iter().zip(limits).rev().fold(0, |word, (a, limit)| word << 1 | u64::from(a >= limit))
}
