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

/// Copies the first `n` bits of `from` to the bits of `to` from `start` on, which must be 0.
///
/// # Panics
/// If a slice is too short.
#[inline]
pub fn append(to: &mut [u64], start: usize, from: &[u64], n: usize) {
    let (word, shift) = (start / 64, start % 64);
    let count = n.div_ceil(64);
    for (i, &value) in from[..count].iter().enumerate() {
        let value = value & low(n - 64 * i);
        to[word + i] |= value << shift;
        if shift > 0 && 64 * i + 64 - shift < n {
            to[word + i + 1] |= value >> (64 - shift);
        }
    }
}

/// The `n` bits from `start` on, in words of their own.
///
/// # Panics
/// If `from` or `to` is too short.
#[inline]
pub fn extract(from: &[u64], start: usize, n: usize, to: &mut [u64]) {
    let (word, shift) = (start / 64, start % 64);
    for (i, to) in to[..n.div_ceil(64)].iter_mut().enumerate() {
        let mut value = from[word + i] >> shift;
        if shift > 0 && word + i + 1 < from.len() {
            value |= from[word + i + 1] << (64 - shift);
        }
        *to = value & low(n - 64 * i);
    }
}

/// The bits of `a` and `b` in turns: bit c of `a` at 2 c, that of `b` at 2 c + 1.
#[inline]
pub fn interleave(a: &[u64], b: &[u64], out: &mut [u64]) {
    for (i, out) in out.iter_mut().enumerate() {
        let half = |words: &[u64]| spread((words[i / 2] >> (32 * (i % 2))) as u32);
        *out = half(a) | half(b) << 1;
    }
}

/// Bit i at position 2 i.
#[inline]
fn spread(half: u32) -> u64 {
    let mut x = u64::from(half);
    x = (x | x << 16) & 0x0000_FFFF_0000_FFFF;
    x = (x | x << 8) & 0x00FF_00FF_00FF_00FF;
    x = (x | x << 4) & 0x0F0F_0F0F_0F0F_0F0F;
    x = (x | x << 2) & 0x3333_3333_3333_3333;
    (x | x << 1) & 0x5555_5555_5555_5555
}

/// The logical equivalence of the first `n` bits, 1 where they are the same: the product of signs. `a` becomes the
/// result.
#[inline]
pub fn xnor(a: &mut [u64], b: &[u64], n: usize) {
    for (i, (a, b)) in a.iter_mut().zip(b).enumerate() {
        *a = !(*a ^ b) & low(n - 64 * i);
    }
}

/// The disjunction: `a` becomes the result.
#[inline]
pub fn or(a: &mut [u64], b: &[u64]) {
    a.iter_mut().zip(b).for_each(|(a, b)| *a |= b);
}
