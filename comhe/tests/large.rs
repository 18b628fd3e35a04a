//! Many neurons: the cosines are never held at once, so memory grows with N d, not with N N.
//! The example `many_neurons` goes on to 100,000.

use std::time::Instant;

use autograd::{DType, Key, Tensor};
use comhe::Energy;

/// Energy and gradient of n neurons; the gradient's deviation from a direct sum for some of them.
fn run(n: usize, d: usize) {
    let energy = Energy { half_space: true, eps: 0.0, ..Energy::default() };
    let w = Tensor::normal([n, d], DType::F32, Key::new(6)).requires_grad();
    let start = Instant::now();
    let e = energy.of(&w).unwrap();
    let (value, forward) = (e.item(), start.elapsed());
    let g = e.backward()[&w].to_vec::<f64>();
    let all = start.elapsed();
    let peak = peak_megabytes();
    println!("N = {n}, d = {d}: energy {value}, forward {forward:?}, in all {all:?}, peak {peak:?} MB");
    // A few rows by their definition, in f64.
    let rows = w.to_vec::<f64>();
    let unit = |i: usize| -> Vec<f64> {
        let row = &rows[i * d..(i + 1) * d];
        let norm = row.iter().map(|v| v * v).sum::<f64>().sqrt();
        row.iter().map(|v| v / norm).collect()
    };
    let directions: Vec<Vec<f64>> = (0..n).map(unit).collect();
    let pairs = n as f64 * (2.0 * n as f64 - 1.0);
    for i in [0, n / 2, n - 1] {
        let u = &directions[i];
        let mut force = vec![0.0; d];
        for (_, v) in directions.iter().enumerate().filter(|&(j, _)| j != i) {
            let c: f64 = u.iter().zip(v).map(|(u, v)| u * v).sum();
            // f(c) + f(-c) for f = 1 / (2 - 2c), twice: for u and for -u.
            let slope = 4.0 * ((2.0 - 2.0 * c).powi(-2) - (2.0 + 2.0 * c).powi(-2));
            force.iter_mut().zip(v).for_each(|(f, v)| *f += slope * v);
        }
        let along: f64 = force.iter().zip(u).map(|(f, u)| f * u).sum();
        let norm = rows[i * d..(i + 1) * d].iter().map(|v| v * v).sum::<f64>().sqrt();
        let want: Vec<f64> = force.iter().zip(u).map(|(f, u)| (f - along * u) / norm / pairs).collect();
        let size = want.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        for (got, want) in g[i * d..(i + 1) * d].iter().zip(&want) {
            assert!((got - want).abs() < 1e-3 * size, "row {i}: {got}, not {want}");
        }
    }
    // The uniform mean of 1/r^2 and 1/(4 - r^2), with the antipodes: (d - 2) / (2 (d - 3)).
    let mean = (d as f64 - 2.0) / (2.0 * (d as f64 - 3.0));
    assert!((value - mean).abs() < 0.01 * mean, "{value}, expected about {mean}");
    if let Some(peak) = peak {
        // All cosines of 20,000 neurons would take 1600 MB.
        assert!(peak < 100.0 + 30.0 * (n * d * 4) as f64 / 1e6, "{peak} MB");
    }
}

/// The most memory the process has held, where the system tells.
fn peak_megabytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}

#[test]
fn twenty_thousand_neurons() {
    run(20_000, 16);
}
