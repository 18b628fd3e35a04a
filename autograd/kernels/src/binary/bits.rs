//! Strings of bits in 64-bit words, the first bit lowest.

/// The word with the lowest `n` bits set, for n up to 64.
#[inline]
fn low(n: usize) -> u64 {
    if n >= 64 { u64::MAX } else { (1 << n) - 1 }
}

/// Whether all bits past the n-th are 0.
pub fn clean(words: &[u64], n: usize) -> bool {
    words.iter().enumerate().all(|(i, word)| word & !low(n.saturating_sub(64 * i)) == 0)
}

/// Packs one bit for each value: the first in the lowest bit.
pub fn pack(values: impl IntoIterator<Item = bool>) -> Vec<u64> {
    let mut words = Vec::new();
    for (i, value) in values.into_iter().enumerate() {
        if i % 64 == 0 {
            words.push(0);
        }
        words[i / 64] |= u64::from(value) << (i % 64);
    }
    words
}

/// Bit `i`.
#[inline]
pub fn get(words: &[u64], i: usize) -> bool {
    words[i / 64] >> (i % 64) & 1 == 1
}
