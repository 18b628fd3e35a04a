//! Draws against their distributions. Seeds are fixed, so a test passes always or never; bounds are what chance exceeds
//! once in a hundred thousand trials or less.

use super::*;
use crate::real::Fused;

fn normals<T: Element>(key: Key, n: usize) -> Vec<f64> {
    let mut out = vec![T::NAN; n];
    key.fill_normal(&mut out);
    out.iter().map(|v| v.to_f64()).collect()
}

fn uniforms<T: Element>(key: Key, n: usize) -> Vec<f64> {
    let mut out = vec![T::NAN; n];
    key.fill_uniform(&mut out);
    out.iter().map(|v| v.to_f64()).collect()
}

/// sqrt(n) times the largest distance between the distribution function of the draws and `cdf` (Kolmogorov
/// and Smirnov); above 2.5 about once in 100,000 times.
fn distance(mut x: Vec<f64>, cdf: impl Fn(f64) -> f64) -> f64 {
    x.sort_by(f64::total_cmp);
    let n = x.len() as f64;
    let far = |(i, &v): (usize, &f64)| (cdf(v) - i as f64 / n).abs().max((cdf(v) - (i + 1) as f64 / n).abs());
    x.iter().enumerate().map(far).fold(0.0, f64::max) * n.sqrt()
}

fn normal_cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x / std::f64::consts::SQRT_2)
}

#[test]
fn normal_draws_are_normal() {
    fn check<T: Element>() {
        let x = normals::<T>(Key::new(1).stream("test"), 1_000_000);
        let n = x.len() as f64;
        // The moments of a normal number, and their standard errors times sqrt(n).
        for (power, moment, spread) in
            [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0), (6, 15.0, 10170.0)]
        {
            let got = x.iter().map(|v| v.powi(power)).sum::<f64>() / n;
            let off = (got - moment) / (f64::sqrt(spread) / n.sqrt());
            assert!(off.abs() < 4.5, "moment {power}: {got}, {off} standard errors off");
        }
        assert!(distance(x, normal_cdf) < 2.5);
    }
    check::<f32>();
    check::<f64>();
}

#[test]
fn uniform_draws_are_uniform_and_below_1() {
    fn check<T: Element>() {
        let x = uniforms::<T>(Key::new(2), 1_000_000);
        assert!(x.iter().all(|v| (0.0..1.0).contains(v)));
        assert!(distance(x, |v| v) < 2.5);
    }
    check::<f32>();
    check::<f64>();
}

#[test]
fn the_extreme_words_give_finite_normals_and_uniforms_below_1() {
    for word in [0, u64::MAX, 1 << 31, u64::MAX << 32 | 1 << 31, 1 << 63, 1 << 61, 3 << 61] {
        let halves = [word as u32, (word >> 32) as u32];
        let single = Normal { deviation: 1f32 }.group::<Fused>(&[halves[1]; GROUP]);
        let double = Normal { deviation: 1f64 }.group::<Fused>([halves; GROUP].as_flattened());
        assert!(single.iter().all(|v| v.abs() < 9.0) && double.iter().all(|v| v.abs() < 9.0), "{word:x}");
        let single: [f32; GROUP] = Uniform.group::<Fused>(&[halves[1]; GROUP]);
        let double: [f64; GROUP] = Uniform.group::<Fused>([halves; GROUP].as_flattened());
        assert!(single.iter().all(|v| (0.0..1.0).contains(v)));
        assert!(double.iter().all(|v| (0.0..1.0).contains(v)));
    }
}

#[test]
fn directions_lie_on_the_circle_at_their_angle() {
    for i in 0..1000u64 {
        let word = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let (quadrant, from_middle) = angle::<f64>(&[word as u32, (word >> 32) as u32], 0);
        let (cos, sin) = direction::<f64, Fused>(quadrant, from_middle);
        // Quadrant, and a signed fraction of a quadrant around its middle.
        let turns = (word >> 62) as f64 / 4.0 + ((word << 2) as i64 as f64) * f64::powi(0.5, 66);
        let (want_sin, want_cos) = (turns * std::f64::consts::TAU).sin_cos();
        assert!((cos - want_cos).abs() < 1e-15 && (sin - want_sin).abs() < 1e-15, "{turns}");
    }
}

/// Words at the ends of every range in which a conversion could round differently, and others.
fn words() -> impl Iterator<Item = u64> {
    let near = |bit: u32| (0..5).map(move |i| (1u64 << bit).wrapping_add(i).wrapping_sub(2));
    let ends = (0..64).flat_map(near).flat_map(|word| [word, !word, word << 32 | word]);
    ends.chain((0..100_000u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

#[test]
fn conversions_round_as_the_processor_does() {
    for word in words() {
        assert_eq!(to_f64(word as i64), word as i64 as f64, "{word:x}");
    }
}

/// 32 bits stand for the middle of 64: what is made of them directly is what those give, to the last bit.
#[test]
fn short_words_are_the_middle_of_long_ones() {
    for word in words() {
        let high = (word >> 32) as u32;
        let wide = [1 << 31, high];
        assert_eq!(bits::<f32>(&[high], 0), bits::<f64>(&wide, 0));
        assert_eq!(open_unit::<f32>(&[high], 0), open_unit::<f64>(&wide, 0) as f32, "{high:x}");
        let (short, long) = (angle::<f32>(&[high], 0), angle::<f64>(&wide, 0));
        assert_eq!(short, (long.0, long.1 as f32), "{high:x}");
    }
}

/// The correlation of two sequences, times sqrt(n).
fn correlation(x: &[f64], y: &[f64]) -> f64 {
    let n = x.len() as f64;
    let mean = |x: &[f64]| x.iter().sum::<f64>() / n;
    let (mx, my) = (mean(x), mean(y));
    let product = |x: &[f64], y: &[f64], mx: f64, my: f64| -> f64 {
        x.iter().zip(y).map(|(a, b)| (a - mx) * (b - my)).sum()
    };
    product(x, y, mx, my) / (product(x, x, mx, mx) * product(y, y, my, my)).sqrt() * n.sqrt()
}

#[test]
fn names_steps_seeds_and_items_give_independent_draws() {
    let n = 100_000;
    let key = Key::new(3);
    let keys = [
        key,
        Key::new(4),
        key.step(1),
        key.stream("a"),
        key.stream("b"),
        key.stream("a").step(1),
        key.stream("a").stream("b"),
        key.stream("b").stream("a"),
        key.stream("ab"),
    ];
    let draws = keys.map(|key| normals::<f64>(key, n));
    for i in 0..keys.len() {
        for j in 0..i {
            assert_ne!(keys[i], keys[j]);
            let (x, y) = (&draws[i], &draws[j]);
            assert!(correlation(x, y).abs() < 4.5, "{i} and {j}");
            let squares = |x: &[f64]| x.iter().map(|v| v * v).collect::<Vec<_>>();
            assert!(correlation(&squares(x), &squares(y)).abs() < 4.5, "{i} and {j}, squares");
        }
    }
    // Neighbours, the two halves of a point, and neighbouring blocks of one fill.
    for lag in [1, 2, GROUP / 2, GROUP, BLOCK] {
        let x = &draws[0];
        assert!(correlation(&x[lag..], &x[..n - lag]).abs() < 4.5, "lag {lag}");
        let sizes: Vec<f64> = x.iter().map(|v| v.abs()).collect();
        if lag != GROUP / 2 {
            assert!(correlation(&sizes[lag..], &sizes[..n - lag]).abs() < 4.5, "lag {lag}, sizes");
        }
    }
    let items = [0, 1].map(|i| (0..n).map(|j| key.rng(i + 2 * j as u64).random::<f64>()).collect::<Vec<_>>());
    assert!(correlation(&items[0], &items[1]).abs() < 4.5);
}

#[test]
fn the_two_numbers_of_a_point_are_independent() {
    let x = normals::<f32>(Key::new(5), 1 << 20);
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for group in x.chunks(GROUP) {
        a.extend(group[..GROUP / 2].iter().map(|v| v * v));
        b.extend(group[GROUP / 2..].iter().map(|v| v * v));
    }
    assert!(correlation(&a, &b).abs() < 4.5);
}

#[test]
fn a_draw_depends_on_key_and_index_alone() {
    let key = Key::new(6).stream("x").step(9);
    let long = (normals::<f32>(key, 5000), uniforms::<f64>(key, 5000));
    for n in [0, 1, 31, 33, 64, 65, 1023, 1025, 4999] {
        for threads in [1, 2, 7] {
            par::set_threads(threads);
            assert_eq!(normals::<f32>(key, n), long.0[..n]);
            assert_eq!(uniforms::<f64>(key, n), long.1[..n]);
        }
    }
}

/// The sum of (observed - expected)^2 / expected, as standard deviations above its mean.
fn chi_squared(counts: &[usize]) -> f64 {
    let expected = counts.iter().sum::<usize>() as f64 / counts.len() as f64;
    let sum: f64 = counts.iter().map(|&c| (c as f64 - expected).powi(2) / expected).sum();
    let freedom = (counts.len() - 1) as f64;
    (sum - freedom) / (2.0 * freedom).sqrt()
}

#[test]
fn permutations_are_permutations_each_as_often_as_the_others() {
    let key = Key::new(7);
    for n in [0, 1, 2, 1000] {
        let mut order = key.permutation(n);
        order.sort_unstable();
        assert!(order.into_iter().eq(0..n));
    }
    let mut counts = std::collections::HashMap::new();
    for step in 0..24_000 {
        *counts.entry(key.step(step).permutation(4)).or_insert(0) += 1;
    }
    let counts: Vec<usize> = counts.into_values().collect();
    assert_eq!(counts.len(), 24);
    assert!(chi_squared(&counts) < 5.0);
}

#[test]
fn below_is_unbiased() {
    let mut rng = Key::new(8).rng(0);
    for n in [1, 2, 3, 7, 100] {
        let mut counts = vec![0; n];
        (0..100 * n + 10_000).for_each(|_| counts[rng.sample(Below(n))] += 1);
        assert!(n == 1 || chi_squared(&counts) < 5.0, "{n}: {counts:?}");
    }
    // 3 * 2^62: the remainder alone would give the lowest quarter of 0..2^64 twice.
    let n = 3 << 62;
    let low = (0..30_000).filter(|_| rng.sample(Below(n)) < 1 << 62).count() as f64;
    assert!(((low - 10_000.0) / f64::sqrt(30_000.0 * 2.0 / 9.0)).abs() < 4.5, "{low}");
}

#[test]
fn words_are_those_of_the_generator() {
    let key = Key::new(0x0123_4567_89ab_cdef).stream("a stream").step(7);
    for stream in [0, 1, u64::MAX] {
        let (mut words, mut bytes) = ([0; 4 * chacha::AT_ONCE], [0; 16 * chacha::AT_ONCE]);
        key.rng(stream).fill_bytes(&mut bytes);
        let want: Vec<u32> = bytes.as_chunks().0.iter().map(|&b| u32::from_le_bytes(b)).collect();
        for fill in [chacha::fill, chacha::fill_by::<8>, chacha::fill_by::<16>] {
            words.fill(0);
            fill(key.words(), stream, &mut words);
            assert!(words[..] == want);
        }
    }
}

#[test]
fn a_deviation_scales_the_draws() {
    let key = Key::new(8);
    let (mut plain, mut scaled) = ([0f64; 1500], [0f64; 1500]);
    key.fill_normal(&mut plain);
    key.fill_normal_with(0.25, &mut scaled);
    assert!(plain.iter().zip(&scaled).all(|(p, s)| 0.25 * p == *s));
}

#[test]
fn uniform_draws_are_those_of_rand() {
    fn check<T: Element>(draw: impl Fn(&mut ChaCha8Rng) -> T) {
        let key = Key::new(5).stream("uniform").step(3);
        let mut out = vec![T::NAN; 3 * BLOCK + 17];
        key.fill_uniform(&mut out);
        for (block, out) in out.chunks(BLOCK).enumerate() {
            let mut rng = key.rng(block as u64);
            assert!(out.iter().all(|&v| v == draw(&mut rng)), "{} block {block}", T::NAME);
        }
    }
    check::<f32>(|rng| rng.random());
    check::<f64>(|rng| rng.random());
}
