use proptest::prelude::*;

use super::*;
use crate::random::Key;

/// Deterministic bits.
fn words(seed: u64, count: usize, bits: usize) -> Vec<u64> {
    let n = bits.div_ceil(64);
    let mut out = vec![0; count * n];
    for (i, row) in out.chunks_exact_mut(n.max(1)).enumerate() {
        let order = Key::new(seed).step(i as u64).permutation(2 * bits);
        let packed = bits::pack(order[..bits].iter().map(|&v| v < bits));
        row.copy_from_slice(&packed);
    }
    out
}

fn sign(row: &[u64], i: usize) -> i32 {
    if bits::get(row, i) { 1 } else { -1 }
}

/// Invariant 8: XNOR and popcount give the product of the signs, in every kernel that this machine has.
fn assert_products(rows: usize, count: usize, n: usize, seed: u64) {
    let (a, b) = (words(seed, rows, n), words(seed + 1, count, n));
    let columns = Columns::new(&b, count, n);
    let k = columns.words();
    assert_eq!(columns.rows(), b);
    let mut expected = vec![0; rows * count];
    for i in 0..rows {
        for j in 0..count {
            let (a, b) = (&a[i * k..][..k], &b[j * k..][..k]);
            expected[i * count + j] = (0..n).map(|c| sign(a, c) * sign(b, c)).sum();
        }
    }
    let mut found = vec![0; rows * count];
    dots(&a, &columns, &mut found);
    assert_eq!(found, expected, "{rows} x {count} of {n} bits");
    if k > 0 && count > 0 {
        found.fill(0);
        portable_dots(&a, &columns, &mut found);
        assert_eq!(found, expected, "portable, {rows} x {count} of {n} bits");
    }
}

#[test]
fn products_of_every_small_size() {
    for rows in [0, 1, 2, 3, 5] {
        for count in [0, 1, 7, 8, 9, 20] {
            for n in [0, 1, 63, 64, 65, 288] {
                assert_products(rows, count, n, 7);
            }
        }
    }
    // Beyond the words whose counts fit into bytes, all of them different: the largest counts.
    let n = 64 * 70;
    let columns = Columns::new(&vec![u64::MAX; 70 * 3], 3, n);
    let mut out = [0; 6];
    dots(&[[0; 70], [u64::MAX; 70]].concat(), &columns, &mut out);
    assert_eq!(out, [-4480, -4480, -4480, 4480, 4480, 4480]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn products_of_any_size(rows in 1usize..6, count in 1usize..40, n in 1usize..3000, seed: u64) {
        assert_products(rows, count, n, seed >> 1);
    }

    #[test]
    fn comparisons_are_those_of_each_number(
        values in prop::collection::vec(-20i32..20, 1..200), slices in 1usize..5, rows in 1usize..4, seed: u64,
    ) {
        let n = values.len();
        let accumulators: Vec<i32> =
            (0..rows).flat_map(|i| values.iter().map(move |v| v.wrapping_mul(i as i32 + 1))).collect();
        let order = Key::new(seed).permutation(slices * n);
        let mut limits: Vec<i32> = order.iter().map(|&v| v as i32 % 30 - 15).collect();
        limits[0] = i32::MIN;
        *limits.last_mut().unwrap() = i32::MAX;
        let flips = words(seed, 1, n);
        let k = n.div_ceil(64);
        let mut out = vec![0; rows * slices * k];
        compare(&accumulators, &limits, &flips, slices, &mut out);
        for i in 0..rows {
            for s in 0..slices {
                let found = &out[(i * slices + s) * k..][..k];
                for j in 0..n {
                    let expected = (accumulators[i * n + j] >= limits[s * n + j]) ^ bits::get(&flips, j);
                    prop_assert_eq!(bits::get(found, j), expected);
                }
                prop_assert!(bits::clean(found, n));
            }
        }
    }

    #[test]
    fn strings_of_bits(
        a in prop::collection::vec(any::<bool>(), 1..200), start in 0usize..150, seed: u64,
    ) {
        let (n, packed) = (a.len(), bits::pack(a.iter().copied()));
        let mut long = vec![0; (start + n).div_ceil(64)];
        bits::append(&mut long, start, &packed, n);
        prop_assert!((0..start + n).all(|i| bits::get(&long, i) == (i >= start && a[i - start])));
        let mut back = vec![0; packed.len()];
        bits::extract(&long, start, n, &mut back);
        prop_assert_eq!(&back, &packed);
        let b = words(seed, 1, n);
        let mut turns = vec![0; (2 * n).div_ceil(64)];
        bits::interleave(&packed, &b, &mut turns);
        let (mut same, mut either) = (packed.clone(), packed.clone());
        bits::xnor(&mut same, &b, n);
        bits::or(&mut either, &b);
        for (i, &a) in a.iter().enumerate() {
            let b = bits::get(&b, i);
            prop_assert_eq!([bits::get(&turns, 2 * i), bits::get(&turns, 2 * i + 1)], [a, b]);
            prop_assert_eq!([bits::get(&same, i), bits::get(&either, i)], [a == b, a | b]);
        }
        prop_assert!(bits::clean(&same, n) && bits::clean(&turns, 2 * n));
    }
}

#[test]
#[should_panic(expected = "bits past the last of 3 must be 0")]
fn columns_have_no_bits_past_their_end() {
    Columns::new(&[8], 1, 3);
}

/// The time of one kernel, for a look: run with `--ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn speed() {
    for (rows, count, n) in [(196, 8, 288), (3136, 16, 576), (784, 64, 1152), (49, 128, 4608)] {
        let a = words(1, rows, n);
        let columns = Columns::new(&words(2, count, n), count, n);
        let mut out = vec![0; rows * count];
        let mut best = f64::INFINITY;
        for _ in 0..50 {
            let start = std::time::Instant::now();
            dots(&a, &columns, &mut out);
            best = best.min(start.elapsed().as_secs_f64());
        }
        println!("{rows} x {count} x {n}: {:.0} G products/s", (rows * count * n) as f64 / best / 1e9);
    }
}
