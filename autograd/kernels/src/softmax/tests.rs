//! Softmax and cross-entropy against their definitions, gradients against Jacobians and central differences.

use super::*;

fn numbers(n: usize, scale: f64) -> Vec<f64> {
    let unit = |i: u64| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11) as f64 / (1u64 << 53) as f64;
    (1..=n as u64).map(|i| scale * (2.0 * unit(i * i) - 1.0)).collect()
}

fn cast<T: Element>(x: &[f64]) -> Vec<T> {
    x.iter().map(|&v| T::from_f64(v)).collect()
}

fn close<T: Element>(got: &[T], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len());
    for (g, w) in got.iter().zip(want) {
        assert!((g.to_f64() - w).abs() <= tolerance * w.abs().max(1.0), "{g:?}, truly {w}");
    }
}

/// log-softmax by its definition, for entries that do not overflow.
fn log_probs(x: &[f64], classes: usize) -> Vec<f64> {
    let row = |x: &[f64]| {
        let log_sum = x.iter().map(|v| v.exp()).sum::<f64>().ln();
        x.iter().map(|v| v - log_sum).collect::<Vec<_>>()
    };
    if classes == 0 { vec![] } else { x.chunks(classes).flat_map(row).collect() }
}

const SIZES: [(usize, usize); 9] =
    [(0, 3), (3, 0), (1, 1), (2, 2), (3, 10), (5, 32), (300, 33), (7, 100), (2, 20_000)];

fn softmaxes<T: Element>(tolerance: f64) {
    for (rows, classes) in SIZES {
        let (x, g) = (numbers(rows * classes, 5.0), numbers(rows * classes, 1.0));
        let (tx, tg) = (cast::<T>(&x), cast::<T>(&g));
        let (mut y, mut dx) = (tx.clone(), tx.clone());
        let log = log_probs(&x, classes);
        let p: Vec<f64> = log.iter().map(|v| v.exp()).collect();
        // The Jacobians of both, row by row: p_i (d_ij - p_j) and d_ij - p_j.
        let sum =
            |row: usize, f: &dyn Fn(usize) -> f64| (row * classes..(row + 1) * classes).map(f).sum::<f64>();
        let by_softmax: Vec<f64> =
            (0..x.len()).map(|i| p[i] * (g[i] - sum(i / classes, &|j| g[j] * p[j]))).collect();
        let by_log: Vec<f64> = (0..x.len()).map(|i| g[i] - p[i] * sum(i / classes, &|j| g[j])).collect();

        softmax_forward(&tx, classes, &mut y);
        close(&y, &p, tolerance);
        softmax_backward(&y, &tg, classes, &mut dx);
        close(&dx, &by_softmax, tolerance);
        log_softmax_forward(&tx, classes, &mut y);
        close(&y, &log, tolerance);
        log_softmax_backward(&y, &tg, classes, &mut dx);
        close(&dx, &by_log, 10.0 * tolerance);
    }
}

#[test]
fn softmax_and_log_softmax_agree_with_their_definitions() {
    softmaxes::<f32>(2e-6);
    softmaxes::<f64>(1e-13);
}

#[test]
fn extreme_logits() {
    const INF: f32 = f32::INFINITY;
    let x = [1e4, -1e4, 0.0, -INF, 1e4, 1e4, -INF, -INF, -INF];
    let (mut p, mut log) = ([0.0; 9], [0.0; 9]);
    softmax_forward(&x, 3, &mut p);
    log_softmax_forward(&x, 3, &mut log);
    assert_eq!(p[..6], [1.0, 0.0, 0.0, 0.0, 0.5, 0.5]);
    assert_eq!(log[..4], [0.0, -2e4, -1e4, -INF]);
    assert!(p[6..].iter().chain(&log[6..]).all(|v| v.is_nan()));
    // An impossible class that is not the label costs nothing; one that is costs everything.
    let targets = Targets { labels: &[1, 0], classes: 3, smoothing: 0.0, weights: None };
    let (mut losses, mut dx) = ([0.0; 2], [0.0; 6]);
    cross_entropy_forward(&[-INF, 1e4, 1e4, -INF, 0.0, 1.0], &targets, &mut p[..6], &mut losses);
    assert_eq!(losses, [std::f32::consts::LN_2, INF]);
    cross_entropy_backward(&p[..6], &targets, &[1.0, 0.0], &mut dx);
    close(&dx, &[0.0, -0.5, 0.5, 0.0, 0.0, 0.0], 1e-6);
}

fn losses(x: &[f64], labels: &[u32], classes: usize, smoothing: f64, weights: &[f64]) -> Vec<f64> {
    let log = log_probs(x, classes);
    let row = |(r, &label): (usize, &u32)| {
        let log = &log[r * classes..(r + 1) * classes];
        let smooth: f64 = log.iter().zip(weights).map(|(l, w)| l * w).sum();
        let label = label as usize;
        -(1.0 - smoothing) * weights[label] * log[label] - smoothing / classes as f64 * smooth
    };
    labels.iter().enumerate().map(row).collect()
}

fn cross_entropies<T: Element>(tolerance: f64, slope_tolerance: f64) {
    for (rows, classes) in [(0, 3), (1, 1), (3, 10), (40, 33), (2, 500)] {
        for (smoothing, weighted) in [(0.0, false), (0.1, false), (0.0, true), (0.3, true)] {
            let mut x = numbers(rows * classes, 3.0);
            let g = numbers(rows, 1.0);
            let labels: Vec<u32> = (0..rows).map(|r| (r * 7 % classes) as u32).collect();
            let weights: Vec<f64> =
                (0..classes).map(|c| if weighted { 0.5 + c as f64 / classes as f64 } else { 1.0 }).collect();
            let cast_weights = cast::<T>(&weights);
            let targets = Targets {
                labels: &labels,
                classes,
                smoothing: T::from_f64(smoothing),
                weights: weighted.then_some(&cast_weights[..]),
            };
            let total: f64 = labels.iter().map(|&l| weights[l as usize]).sum();
            assert!((targets.total().to_f64() - total).abs() <= tolerance * total);
            let (mut log, mut out, mut dx) =
                (vec![T::NAN; x.len()], vec![T::NAN; rows], vec![T::NAN; x.len()]);
            cross_entropy_forward(&cast::<T>(&x), &targets, &mut log, &mut out);
            close(&out, &losses(&x, &labels, classes, smoothing, &weights), tolerance);
            cross_entropy_backward(&log, &targets, &cast::<T>(&g), &mut dx);
            let h = 1e-5;
            let mut slope = |i: usize| {
                let (r, x_i) = (i / classes, x[i]);
                let loss = [x_i + h, x_i - h].map(|shifted| {
                    x[i] = shifted;
                    losses(&x[r * classes..(r + 1) * classes], &labels[r..=r], classes, smoothing, &weights)
                        [0]
                });
                x[i] = x_i;
                g[r] * (loss[0] - loss[1]) / (2.0 * h)
            };
            let want: Vec<f64> = (0..log.len()).map(&mut slope).collect();
            close(&dx, &want, slope_tolerance);
        }
    }
}

#[test]
fn cross_entropy_and_its_gradient_agree_with_definition_and_differences() {
    cross_entropies::<f32>(2e-6, 2e-6);
    cross_entropies::<f64>(1e-13, 1e-8);
}

#[test]
fn one_case_by_hand() {
    // Two equal logits: both log-probabilities are -ln 2.
    let targets = Targets { labels: &[1], classes: 2, smoothing: 0.5, weights: Some(&[1.0, 3.0]) };
    let (mut log, mut loss) = ([0.0; 2], [0.0]);
    cross_entropy_forward(&[7.0, 7.0], &targets, &mut log, &mut loss);
    assert!((loss[0] - (0.5 * 3.0 + 0.25 * 4.0) * f64::ln(2.0)).abs() < 1e-15);
    assert_eq!(targets.total(), 3.0);
}

#[test]
#[should_panic(expected = "label Some(3) of 3 classes")]
fn labels_beyond_the_classes_are_refused() {
    let targets = Targets { labels: &[3], classes: 3, smoothing: 0.0f32, weights: None };
    cross_entropy_forward(&[0.0; 3], &targets, &mut [0.0; 3], &mut [0.0]);
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let _settings = crate::simd::SETTINGS.lock().unwrap_or_else(|e| e.into_inner());
    let x = cast::<f32>(&numbers(5000 * 11, 9.0));
    let results = [1, 2, 7].map(|threads| {
        par::set_threads(threads);
        let mut y = x.clone();
        softmax_forward(&x, 11, &mut y);
        y
    });
    assert!(results[0] == results[1] && results[0] == results[2]);
}
