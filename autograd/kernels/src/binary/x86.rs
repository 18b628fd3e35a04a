//! Counts of differing signs with AVX2 (a table of 16 counts for each nibble of a filter) and AVX-512 (BITALG).

use std::arch::x86_64::*;

use super::{BLOCK, Counts, FOUR, portable_count};

/// popcount(a xor b) at 16 b + a, and as much as a load from any index below 256 reads.
static TABLE: [u8; 256 + 16] = {
    let mut table = [0; 256 + 16];
    let mut i = 0;
    while i < 256 {
        table[i] = ((i >> 4) ^ (i & 15)).count_ones() as u8;
        i += 1;
    }
    table
};

/// Whether the machine counts bits of bytes.
pub fn counts_bytes() -> bool {
    is_x86_feature_detected!("avx512bitalg")
}

/// # Safety
/// The machine must have AVX2, and `x` a block from each offset on. There must be at most as many offsets as filters.
#[target_feature(enable = "avx2")]
pub unsafe fn count256(x: &[u8], offsets: &[usize], filters: &[[u8; FOUR]]) -> Counts {
    let mut sums = [[_mm256_setzero_si256(); 2]; FOUR];
    for (&offset, filters) in offsets.iter().zip(filters) {
        // SAFETY: a block is two registers; 16 bytes can be read at any byte's index of the table.
        unsafe {
            let p = x.as_ptr().add(offset).cast::<__m256i>();
            let a = [_mm256_loadu_si256(p), _mm256_loadu_si256(p.add(1))];
            for (sums, &b) in sums.iter_mut().zip(filters) {
                let entry = TABLE.as_ptr().add(usize::from(b)).cast();
                let table = _mm256_broadcastsi128_si256(_mm_loadu_si128(entry));
                for (sum, a) in sums.iter_mut().zip(a) {
                    *sum = _mm256_add_epi8(*sum, _mm256_shuffle_epi8(table, a));
                }
            }
        }
    }
    let mut counts = [[0; BLOCK]; FOUR];
    for (counts, sums) in counts.iter_mut().zip(sums) {
        let p = counts.as_mut_ptr().cast::<__m256i>();
        // SAFETY: a block is two registers.
        unsafe {
            _mm256_storeu_si256(p, sums[0]);
            _mm256_storeu_si256(p.add(1), sums[1]);
        }
    }
    counts
}

/// The portable loop, whose `count_ones` is one instruction for 64 positions.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bitalg")]
pub fn count512(x: &[u8], offsets: &[usize], filters: &[[u8; FOUR]]) -> Counts {
    portable_count(x, offsets, filters)
}
