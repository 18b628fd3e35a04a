//! Times of reductions: `cargo run --release -p kernels --example reduce`.

use std::time::Instant;

use kernels::reduce;

/// The shortest time of a call in many, in seconds.
fn fastest(mut f: impl FnMut()) -> f64 {
    (0..200)
        .map(|_| {
            let start = Instant::now();
            f();
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min)
}

fn main() {
    let cases: [(&str, &[usize], &[bool]); 8] = [
        ("everything", &[1 << 24], &[true]),
        ("rows of 10", &[1 << 20, 10], &[false, true]),
        ("rows of 1000", &[1 << 13, 1000], &[false, true]),
        ("columns, bias gradient", &[128, 256], &[true, false]),
        ("columns, tall", &[1 << 16, 256], &[true, false]),
        ("columns, narrow", &[1 << 21, 6], &[true, false]),
        ("NCHW over (0, 2, 3)", &[128, 64, 32, 32], &[true, false, true, true]),
        ("NCHW over (0, 2, 3), small", &[128, 512, 2, 2], &[true, false, true, true]),
    ];
    println!(
        "{:<28} {:>10} {:>8} {:>10} {:>10} {:>10}",
        "f32", "sum us", "GB/s", "norm us", "lse us", "max us"
    );
    for (name, dims, axes) in cases {
        let n: usize = dims.iter().product();
        let x: Vec<f32> = (0..n).map(|i| (i % 1013) as f32 * 1e-3).collect();
        let kept: usize = dims.iter().zip(axes).filter(|(_, a)| !**a).map(|(d, _)| d).product();
        let (mut out, mut winners) = (vec![0.0; kept], vec![0; kept]);
        let sum = fastest(|| reduce::sum(&x, dims, axes, &mut out));
        let norm = fastest(|| reduce::norm(&x, dims, axes, &mut out));
        let lse = fastest(|| reduce::logsumexp(&x, dims, axes, &mut out));
        let max = fastest(|| reduce::max(&x, dims, axes, &mut out, &mut winners));
        let [us, norm, lse, max] = [sum, norm, lse, max].map(|s| s * 1e6);
        println!("{name:<28} {us:>10.1} {:>8.1} {norm:>10.1} {lse:>10.1} {max:>10.1}", n as f64 * 4e-3 / us);
    }
}
