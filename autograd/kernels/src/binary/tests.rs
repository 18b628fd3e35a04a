use proptest::prelude::*;

use super::*;
use crate::random::Key;

/// Deterministic bits.
fn words(seed: u64, count: usize, bits: usize) -> Vec<u64> {
    let n = bits.div_ceil(64);
    let mut out = vec![0; count * n];
    for (i, row) in out.chunks_exact_mut(n.max(1)).enumerate() {
        let order = Key::new(seed).step(i as u64).permutation(2 * bits);
        row.copy_from_slice(&bits::pack(order[..bits].iter().map(|&v| v < bits)));
    }
    out
}

/// Deterministic nibbles.
fn nibbles(seed: u64, n: usize) -> Vec<u8> {
    words(seed, n, 4).into_iter().map(|word| word as u8).collect()
}

fn sign(bit: bool) -> i32 {
    if bit { 1 } else { -1 }
}

/// Invariant 8: XNOR and popcount give the product of the signs, in every kernel that this machine has.
fn assert_products(blocks: usize, count: usize, n: usize, seed: u64) {
    let rows = words(seed, count, n);
    let filters = Filters::new(&rows, count, n);
    assert_eq!((filters.rows(), filters.count(), filters.bits()), (rows.clone(), count, n));
    let (width, steps, k) = (blocks * BLOCK, filters.steps(), n.div_ceil(64));
    // Lines that overlap, in no order, each at an offset of its own; the last nibble has no bits past the last sign.
    let offsets: Vec<usize> = (0..steps).map(|step| step * 37 % (steps + 5)).collect();
    let mut x = nibbles(seed + 1, steps + 5 + width);
    let tail = if n.is_multiple_of(4) { 15 } else { (1 << (n % 4)) - 1 };
    if let Some(&last) = offsets.last() {
        x[last..][..width].iter_mut().for_each(|nibble| *nibble &= tail);
    }
    let product = |filter: usize, i: usize| {
        let row = &rows[filter * k..][..k];
        (0..n).map(|c| sign(x[offsets[c / 4] + i] >> (c % 4) & 1 == 1) * sign(bits::get(row, c))).sum::<i32>()
    };
    for four in 0..count.div_ceil(FOUR) {
        let mut out = vec![7; FOUR * width];
        filters.products(four, &x, &offsets, &mut out);
        for filter in four * FOUR..count.min(four * FOUR + FOUR) {
            for i in 0..width {
                let found = i32::from(out[filter % FOUR * width + i]);
                assert_eq!(found, product(filter, i), "filter {filter} of {count} at {i}, {n} signs");
            }
        }
        let chunk = &filters.data[four * steps..][..steps.min(DEPTH)];
        let (offsets, x) = (&offsets[..chunk.len()], &x[..]);
        assert!(blocks == 0 || count_of(x, offsets, chunk), "portable, {count} filters of {n} signs");
    }
}

/// Whether the kernel in use counts as the portable one.
fn count_of(x: &[u8], offsets: &[usize], filters: &[[u8; FOUR]]) -> bool {
    super::count(x, offsets, filters) == portable_count(x, offsets, filters)
}

#[test]
fn products_of_every_small_size() {
    for blocks in [0, 1, 2] {
        for count in [0, 1, 3, 4, 5, 8] {
            for n in [0, 1, 3, 63, 64, 65, 252, 253, 288] {
                assert_products(blocks, count, n, 7);
            }
        }
    }
}

/// The largest counts, beyond those that fit into bytes, and the largest filter.
#[test]
fn the_largest_counts() {
    for n in [4480, MOST] {
        let ones = vec![u64::MAX; n / 64].into_iter().chain((n % 64 > 0).then(|| (1 << (n % 64)) - 1));
        let filters = Filters::new(&ones.collect::<Vec<_>>(), 1, n);
        let offsets = vec![0; filters.steps()];
        let mut out = [0; FOUR * BLOCK];
        filters.products(0, &[0; BLOCK], &offsets, &mut out);
        assert!(out[..BLOCK].iter().all(|&sum| sum == -(n as i16)));
        let mut x = [0; 2 * BLOCK];
        x[..BLOCK].fill(15);
        x[BLOCK..].fill(if n % 4 == 0 { 15 } else { (1 << (n % 4)) - 1 });
        let last = |(i, _): (usize, &usize)| if i + 1 == offsets.len() { BLOCK } else { 0 };
        let offsets: Vec<usize> = offsets.iter().enumerate().map(last).collect();
        filters.products(0, &x, &offsets, &mut out);
        assert!(out[..BLOCK].iter().all(|&sum| sum == n as i16));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn products_of_any_size(blocks in 1usize..3, count in 1usize..12, n in 1usize..1500, seed: u64) {
        assert_products(blocks, count, n, seed >> 1);
    }

    #[test]
    fn comparisons_are_those_of_each_number(n in 0usize..200, flips in 0u8..16, seed: u64) {
        let order = Key::new(seed).permutation(4 * n);
        let integers: Vec<i16> = order.iter().map(|&v| v as i16 % 40 - 20).collect();
        assert_compared(&integers, [i16::MIN, i16::MAX, 0, -7], flips);
        let mut reals: Vec<f32> = integers.iter().map(|&v| f32::from(v) / 3.0).collect();
        reals.iter_mut().step_by(7).for_each(|v| *v = f32::NAN);
        assert_compared(&reals, [0.0, -0.0, 1.0 / 3.0, f32::NEG_INFINITY], flips);
        let reals: Vec<f64> = integers.iter().map(|&v| f64::from(v) / 3.0).collect();
        assert_compared(&reals, [0.0, -1.0 / 3.0, 1.0, f64::INFINITY], flips);
    }
}

fn assert_compared<T: PartialOrd + Copy>(x: &[T], limits: [T; FOUR], flips: u8) {
    let n = x.len() / FOUR;
    let mut out = vec![0xFF; n];
    compare(x, limits, flips, &mut out);
    for (i, nibble) in out.into_iter().enumerate() {
        let bits = (0..FOUR).map(|r| u8::from(x[r * n + i] >= limits[r]) << r);
        assert_eq!(nibble, bits.sum::<u8>() ^ flips);
    }
}

#[test]
#[should_panic(expected = "bits past the last of 3 must be 0")]
fn filters_have_no_bits_past_their_end() {
    Filters::new(&[8], 1, 3);
}

#[test]
#[should_panic(expected = "lines end at 65, past the 64 nibbles")]
fn lines_end_within_the_input() {
    Filters::new(&[0], 1, 4).products(0, &[0; BLOCK], &[1], &mut [0; FOUR * BLOCK]);
}

/// The time of one kernel, for a look: run with `--ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn speed() {
    for (n, count, bits) in [(256, 8, 288), (3264, 16, 576), (832, 64, 1152), (64, 128, 4608)] {
        let filters = Filters::new(&words(2, count, bits), count, bits);
        let offsets: Vec<usize> = (0..bits / 4).map(|step| step / 9 * n + step % 9).collect();
        let x = nibbles(1, bits / 36 * n + n + 9);
        let mut out = vec![0; FOUR * n];
        let mut best = f64::INFINITY;
        for _ in 0..50 {
            let start = std::time::Instant::now();
            (0..count / FOUR).for_each(|four| filters.products(four, &x, &offsets, &mut out));
            best = best.min(start.elapsed().as_secs_f64());
        }
        println!("{n} x {count} x {bits}: {:.0} G products/s", (n * count * bits) as f64 / best / 1e9);
    }
}
