//! Every reduction against plain indexing, over every set of axes.

use super::*;

/// Numbers in -1..1 without a pattern.
fn numbers<T: Element>(n: usize) -> Vec<T> {
    (0..n as u64)
        .map(|i| {
            T::from_f64((i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11) as f64 / (1u64 << 52) as f64 - 1.0)
        })
        .collect()
}

/// For each result, the indices of its elements in row-major order.
fn members(dims: &[usize], axes: &[bool]) -> Vec<Vec<usize>> {
    let kept: usize = dims.iter().zip(axes).filter(|(_, a)| !**a).map(|(d, _)| d).product();
    let mut members = vec![Vec::new(); kept];
    for i in 0..dims.iter().product() {
        let (mut rest, mut result, mut scale) = (i, 0, 1);
        for (&d, &reduced) in dims.iter().zip(axes).rev() {
            if !reduced {
                result += rest % d * scale;
                scale *= d;
            }
            rest /= d;
        }
        members[result].push(i);
    }
    members
}

const SHAPES: &[&[usize]] = &[
    &[],
    &[1],
    &[7],
    &[100_003],
    &[3, 0, 2],
    &[0],
    &[5, 1, 6],
    &[2000, 3],
    &[3, 70_000],
    &[70_000, 2],
    &[129, 600],
    &[6, 4, 5, 7],
    &[2, 3, 4, 5, 2, 3],
    &[40_000, 1, 2],
];

/// Calls `f(dims, axes)` for every shape and every set of its axes.
fn all(mut f: impl FnMut(&[usize], &[bool])) {
    for dims in SHAPES {
        for set in 0..1u32 << dims.len() {
            let axes: Vec<bool> = (0..dims.len()).map(|a| set >> a & 1 == 1).collect();
            f(dims, &axes);
        }
    }
}

fn close<T: Element>(got: &[T], want: &[f64], tolerance: f64, what: &str) {
    assert_eq!(got.len(), want.len());
    for (&g, &w) in got.iter().zip(want) {
        let g = g.to_f64();
        assert!(g == w || (g - w).abs() <= tolerance * w.abs().max(1.0), "{what}: {g:e}, truly {w:e}");
    }
}

fn compare<T: Element>(tolerance: f64) {
    all(|dims, axes| {
        let x = numbers::<T>(dims.iter().product());
        let members = members(dims, axes);
        let at = |i: &usize| x[*i].to_f64();
        let mut out = vec![T::NAN; members.len()];
        let what = |name| format!("{name} of {dims:?} over {axes:?}");

        sum(&x, dims, axes, &mut out);
        let want: Vec<f64> = members.iter().map(|m| m.iter().map(at).sum()).collect();
        // The rounding error of a sum of n numbers below 1 in a tree grows more slowly than sqrt(n).
        let most = members.iter().map(Vec::len).max().unwrap_or(0).max(1) as f64;
        close(&out, &want, tolerance * most.sqrt(), &what("sum"));

        norm(&x, dims, axes, &mut out);
        let want: Vec<f64> =
            members.iter().map(|m| m.iter().map(|i| at(i).powi(2)).sum::<f64>().sqrt()).collect();
        close(&out, &want, tolerance, &what("norm"));

        logsumexp(&x, dims, axes, &mut out);
        let want: Vec<f64> =
            members.iter().map(|m| m.iter().map(|i| at(i).exp()).sum::<f64>().ln()).collect();
        close(&out, &want, tolerance, &what("logsumexp"));
    });
}

#[test]
fn reductions_agree_with_their_definitions() {
    compare::<f32>(6e-7);
    compare::<f64>(1e-14);
}

fn extremum<T: Element>() {
    all(|dims, axes| {
        let n: usize = dims.iter().product();
        let members = members(dims, axes);
        if n == 0 {
            return;
        }
        // Few different values, so that there are ties.
        let mut x: Vec<T> =
            numbers::<T>(n).iter().map(|v| T::from_f64((v.to_f64() * 20.0).round())).collect();
        for nan in [false, true] {
            if nan {
                for i in (0..n).filter(|i| i % 97 == 5) {
                    x[i] = T::NAN;
                }
            }
            let (mut out, mut winners) = (vec![T::ZERO; members.len()], vec![0; members.len()]);
            for (is_max, f) in [(true, max as fn(&_, &_, &_, &mut _, &mut _)), (false, min)] {
                f(&x[..], dims, axes, &mut out[..], &mut winners[..]);
                for (m, (&v, &w)) in members.iter().zip(out.iter().zip(&winners)) {
                    let key = |i: &&usize| {
                        let v = x[**i].to_f64();
                        if v.is_nan() {
                            f64::INFINITY
                        } else if is_max {
                            v
                        } else {
                            -v
                        }
                    };
                    let best = m.iter().map(|i| key(&i)).fold(f64::NEG_INFINITY, f64::max);
                    let first = *m.iter().find(|i| key(i) == best).unwrap();
                    assert_eq!(w as usize, first, "{dims:?} over {axes:?}");
                    assert_eq!(v.to_f64().to_bits(), x[first].to_f64().to_bits());
                }
            }
        }
    });
}

#[test]
fn extrema_and_their_winners_agree_with_their_definitions() {
    extremum::<f32>();
    extremum::<f64>();
}

#[test]
#[should_panic(expected = "no elements to choose from")]
fn the_maximum_of_nothing_is_refused() {
    max::<f32>(&[], &[2, 0], &[false, true], &mut [0.0; 2], &mut [0; 2]);
}

#[test]
fn norms_of_tiny_and_huge_numbers() {
    for (v, n) in [(1e-30f32, 3), (1e30, 3), (1e-45, 1), (3e38, 1), (1e-30, 100_000), (1e30, 100_000)] {
        let want = f64::from(v) * f64::sqrt(n as f64);
        let (mut rows, mut columns) = ([0.0; 2], [0.0; 2]);
        norm(&vec![v; 2 * n], &[2, n], &[false, true], &mut rows);
        norm(&vec![v; 2 * n], &[n, 2], &[true, false], &mut columns);
        for got in [rows, columns].concat() {
            assert!((f64::from(got) / want - 1.0).abs() < 1e-6, "{v:e} {n} times: {got:e}");
        }
    }
    let mut out = [0.0f64];
    norm(&[3e-200, 4e-200], &[2], &[true], &mut out);
    assert!((out[0] / 5e-200 - 1.0).abs() < 1e-15);
    norm(&[1.0, f64::NEG_INFINITY], &[2], &[true], &mut out);
    assert_eq!(out[0], f64::INFINITY);
    norm(&[1.0, f64::NAN], &[2], &[true], &mut out);
    assert!(out[0].is_nan());
}

#[test]
fn logsumexp_at_the_ends_of_the_line() {
    const INF: f32 = f32::INFINITY;
    let x = [-INF, -INF, 1e4, 1e4, 1.0, INF, -INF, 2.0, f32::NAN, 1.0];
    let mut out = [0.0; 5];
    logsumexp(&x, &[5, 2], &[false, true], &mut out);
    assert_eq!(out[..4], [-INF, 1e4 + std::f32::consts::LN_2, INF, 2.0]);
    assert!(out[4].is_nan());
    let mut columns = [0.0; 5];
    let transposed: Vec<f32> = (0..10).map(|i| x[i % 5 * 2 + i / 5]).collect();
    logsumexp(&transposed, &[2, 5], &[true, false], &mut columns);
    assert_eq!(columns[..4], out[..4]);
    assert!(columns[4].is_nan());
}

#[test]
fn a_long_f32_sum_stays_accurate() {
    let x = vec![0.1f32; 10_000_001];
    let mut out = [0.0];
    sum(&x, &[x.len()], &[true], &mut out);
    let want = x.len() as f64 * f64::from(0.1f32);
    assert!((f64::from(out[0]) / want - 1.0).abs() < 1e-6, "{}", out[0]);
    assert!((f64::from(sum_squares(&x)) / (want * f64::from(0.1f32)) - 1.0).abs() < 1e-6);
}

#[test]
fn running_sums() {
    for (outer, len, inner) in [(0, 3, 2), (1, 1, 1), (2, 5, 1), (3, 4, 37), (1, 60_000, 1), (5, 3, 20_000)] {
        // Integers, whose sums are exact in any order.
        let x: Vec<f64> = numbers::<f64>(outer * len * inner).iter().map(|v| (v * 1e6).round()).collect();
        let mut out = vec![f64::NAN; x.len()];
        for reverse in [false, true] {
            cumsum(&x, outer, len, inner, reverse, &mut out);
            for (o, i) in (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))) {
                let mut sum = 0.0;
                for l in 0..len {
                    let at = (o * len + if reverse { len - 1 - l } else { l }) * inner + i;
                    sum += x[at];
                    assert_eq!(out[at], sum);
                }
            }
        }
    }
}

#[test]
fn running_sums_pass_2_to_the_24_and_infinity() {
    let n = (1 << 24) + 10;
    let mut out = vec![0.0f32; n];
    cumsum(&vec![1.0; n], 1, n, 1, false, &mut out);
    assert_eq!(out[n - 1], n as f32);
    let mut out = [0.0; 4];
    cumsum(&[1.0, f64::INFINITY, 1.0, f64::NEG_INFINITY], 1, 4, 1, false, &mut out);
    assert_eq!(out[..3], [1.0, f64::INFINITY, f64::INFINITY]);
    assert!(out[3].is_nan());
}

#[test]
fn inner_products_and_accumulation() {
    for n in [0, 1, 63, 64, 65, 100_000] {
        let (x, mut y) = (numbers::<f64>(n), numbers::<f64>(n + 1)[1..].to_vec());
        let want: f64 = x.iter().zip(&y).map(|(a, b)| a * b).sum();
        assert!((dot(&x, &y) - want).abs() < 1e-10);
        let want: Vec<f64> = x.iter().zip(&y).map(|(a, b)| a + b).collect();
        add_assign(&mut y, &x);
        assert_eq!(y, want);
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let _settings = crate::simd::SETTINGS.lock().unwrap_or_else(|e| e.into_inner());
    let dims = [130, 70, 33];
    let x = numbers::<f32>(130 * 70 * 33);
    let mut results = Vec::new();
    for threads in [1, 2, 7] {
        par::set_threads(threads);
        let mut bits = Vec::new();
        for set in 0..8 {
            let axes = [set & 1 == 1, set & 2 == 2, set & 4 == 4];
            let kept = (0..3).filter(|&a| !axes[a]).map(|a| dims[a]).product();
            let mut out = vec![0.0; kept];
            for f in [sum::<f32>, norm, logsumexp] {
                f(&x, &dims, &axes, &mut out);
                bits.extend(out.iter().map(|v| v.to_bits()));
            }
        }
        bits.push(dot(&x, &x).to_bits());
        results.push(bits);
    }
    assert!(results.iter().all(|r| *r == results[0]));
}
