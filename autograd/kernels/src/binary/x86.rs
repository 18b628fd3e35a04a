//! Products of signs with AVX2 (bits counted by a table of 16 in each byte) and AVX-512 (VPOPCNTDQ).

// Registers are named by their indices.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::*;

use super::{Columns, each_word};

/// Rows in one tile.
const ROWS: usize = 2;
/// Words after which counts in bytes, at most 8 for each word, are added up: 31 * 8 < 256.
const DEPTH: usize = 31;

/// Whether the machine counts bits of 64-bit lanes.
pub fn has_popcount() -> bool {
    is_x86_feature_detected!("avx512vpopcntdq")
}

/// # Safety
/// The machine must have AVX2; the lengths must be those of [`super::dots`].
#[target_feature(enable = "avx2")]
pub unsafe fn dots256(rows: &[u64], columns: &Columns, out: &mut [i32]) {
    let words = columns.words();
    let mut pairs = rows.chunks_exact(ROWS * words);
    let mut outs = out.chunks_exact_mut(ROWS * columns.count);
    for (pair, out) in (&mut pairs).zip(&mut outs) {
        // SAFETY: the caller's promise.
        unsafe { tiles256::<ROWS>(pair, columns, out) };
    }
    let rest = pairs.remainder();
    if !rest.is_empty() {
        // SAFETY: as above; fewer than two rows are left.
        unsafe { tiles256::<1>(rest, columns, outs.into_remainder()) };
    }
}

/// # Safety
/// As [`dots256`], with `R` rows.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn tiles256<const R: usize>(rows: &[u64], columns: &Columns, out: &mut [i32]) {
    let (words, padded) = (columns.words(), columns.padded());
    let table = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    let nibble = _mm256_set1_epi8(15);
    let zero = _mm256_setzero_si256();
    for first in (0..columns.count).step_by(8) {
        let mut sums = [[zero; 2]; R];
        for start in (0..words).step_by(DEPTH) {
            let mut bytes = [[zero; 2]; R];
            for k in start..words.min(start + DEPTH) {
                // SAFETY: columns are padded to 8, so that 8 words can be read; row i has `words` words.
                unsafe {
                    let p = columns.data.as_ptr().add(k * padded + first).cast::<__m256i>();
                    let b = [_mm256_loadu_si256(p), _mm256_loadu_si256(p.add(1))];
                    for i in 0..R {
                        let a = _mm256_set1_epi64x(*rows.get_unchecked(i * words + k) as i64);
                        for v in 0..2 {
                            let x = _mm256_xor_si256(a, b[v]);
                            let lower = _mm256_shuffle_epi8(table, _mm256_and_si256(x, nibble));
                            let upper = _mm256_and_si256(_mm256_srli_epi16(x, 4), nibble);
                            let upper = _mm256_shuffle_epi8(table, upper);
                            bytes[i][v] = _mm256_add_epi8(bytes[i][v], _mm256_add_epi8(lower, upper));
                        }
                    }
                }
            }
            for i in 0..R {
                for v in 0..2 {
                    sums[i][v] = _mm256_add_epi64(sums[i][v], _mm256_sad_epu8(bytes[i][v], zero));
                }
            }
        }
        for (i, sums) in sums.iter().enumerate() {
            let mut counts = [0u64; 8];
            // SAFETY: there is room for two registers.
            unsafe {
                let p = counts.as_mut_ptr().cast::<__m256i>();
                _mm256_storeu_si256(p, sums[0]);
                _mm256_storeu_si256(p.add(1), sums[1]);
            }
            finish(&counts, columns, &mut out[i * columns.count..][first..columns.count]);
        }
    }
}

/// Writes bits - 2 count of up to 8 columns.
#[inline(always)]
fn finish(counts: &[u64; 8], columns: &Columns, out: &mut [i32]) {
    for (out, &count) in out.iter_mut().zip(counts) {
        *out = columns.bits as i32 - 2 * count as i32;
    }
}

/// # Safety
/// The machine must have AVX-512 F and VPOPCNTDQ; the lengths must be those of [`super::dots`].
#[target_feature(enable = "avx512f,avx512vpopcntdq")]
pub unsafe fn dots512(rows: &[u64], columns: &Columns, out: &mut [i32]) {
    let words = columns.words();
    let mut fours = rows.chunks_exact(4 * words);
    let mut outs = out.chunks_exact_mut(4 * columns.count);
    for (four, out) in (&mut fours).zip(&mut outs) {
        // SAFETY: the caller's promise.
        unsafe { tiles512::<4>(four, columns, out) };
    }
    let rest = fours.remainder().chunks_exact(words);
    for (row, out) in rest.zip(outs.into_remainder().chunks_exact_mut(columns.count)) {
        // SAFETY: as above.
        unsafe { tiles512::<1>(row, columns, out) };
    }
}

/// # Safety
/// As [`dots512`], with `R` rows.
#[target_feature(enable = "avx512f,avx512vpopcntdq")]
#[inline]
unsafe fn tiles512<const R: usize>(rows: &[u64], columns: &Columns, out: &mut [i32]) {
    let (words, padded) = (columns.words(), columns.padded());
    for first in (0..columns.count).step_by(8) {
        let mut sums = [_mm512_setzero_si512(); R];
        for k in 0..words {
            // SAFETY: columns are padded to 8, so that 8 words can be read; row i has `words` words.
            unsafe {
                let b = _mm512_loadu_si512(columns.data.as_ptr().add(k * padded + first).cast());
                for (i, sum) in sums.iter_mut().enumerate() {
                    let a = _mm512_set1_epi64(*rows.get_unchecked(i * words + k) as i64);
                    *sum = _mm512_add_epi64(*sum, _mm512_popcnt_epi64(_mm512_xor_si512(a, b)));
                }
            }
        }
        for (i, &sum) in sums.iter().enumerate() {
            let mut counts = [0u64; 8];
            // SAFETY: there is room for one register.
            unsafe { _mm512_storeu_si512(counts.as_mut_ptr().cast(), sum) };
            finish(&counts, columns, &mut out[i * columns.count..][first..columns.count]);
        }
    }
}

/// # Safety
/// The machine must have AVX2.
#[target_feature(enable = "avx2")]
pub unsafe fn compare256(
    accumulators: &[i32],
    limits: &[i32],
    flips: &[u64],
    slices: usize,
    out: &mut [u64],
) {
    each_word(accumulators, limits, flips, slices, out, |row, limits| {
        let (eights, rest) = row.as_chunks::<8>();
        let (limit_eights, rest_limits) = limits.as_chunks::<8>();
        let mut word = 0;
        for (i, (row, limits)) in eights.iter().zip(limit_eights).enumerate() {
            // SAFETY: both are eight numbers; the machine has AVX2.
            let below = unsafe {
                let row = _mm256_loadu_si256(row.as_ptr().cast());
                let limits = _mm256_loadu_si256(limits.as_ptr().cast());
                _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(limits, row)))
            };
            word |= u64::from(!below as u8) << (8 * i);
        }
        for (i, (a, limit)) in rest.iter().zip(rest_limits).enumerate() {
            word |= u64::from(a >= limit) << (8 * eights.len() + i);
        }
        word
    });
}
