//! Times of normalisation: `cargo run --release -p kernels --example norm`.

use std::time::Instant;

use kernels::norm::*;

/// The shortest time of a call in many, in milliseconds.
fn fastest(mut f: impl FnMut()) -> f64 {
    (0..40)
        .map(|_| {
            let start = Instant::now();
            f();
            start.elapsed().as_secs_f64() * 1e3
        })
        .fold(f64::INFINITY, f64::min)
}

fn main() {
    println!(
        "{:<22} {:>10} {:>12} {:>12} {:>12}  GB/s",
        "f32, ms", "statistics", "with relu", "gradients", ""
    );
    for (n, c, s) in [
        (128, 64, 1024),
        (128, 16, 1024),
        (128, 32, 256),
        (128, 64, 64),
        (128, 256, 64),
        (128, 512, 4),
        (65536, 128, 1),
    ] {
        let shape = Channels { n, c, s };
        let x: Vec<f32> = (0..shape.len()).map(|i| (i * 7919 % 2003) as f32 * 1e-3).collect();
        let (mut mean, mut var, gamma) = (vec![0.0; c], vec![0.0; c], vec![1.0; c]);
        let (mut y, mut dx) = (x.clone(), x.clone());
        let statistics = fastest(|| batch_stats(&x, shape, &mut mean, &mut var));
        let mut rstd = var.clone();
        let forward = fastest(|| {
            let statistics = Statistics { mean: &mut mean, var: &mut var, rstd: &mut rstd };
            let then = Then { residual: None, relu: true };
            batch_norm_train(&x, shape, &gamma, &gamma, 1e-5, then, statistics, &mut y);
        });
        let by = Affine { mean: &mean, rstd: &rstd, gamma: &gamma, beta: &gamma };
        let (mut dgamma, mut dbeta) = (gamma.clone(), gamma.clone());
        let gradients = fastest(|| {
            let over = Gradients::InPlace(&mut dx);
            batch_norm_backward(&x, Mask::Again, over, shape, &by, &mut dgamma, &mut dbeta);
        });
        let gb = shape.len() as f64 * 4e-6;
        println!(
            "{:<22} {statistics:>10.3} {forward:>12.3} {gradients:>12.3}  {:.0} {:.0} {:.0}",
            format!("({n}, {c}, {s})"),
            gb / statistics,
            2.0 * gb / forward,
            // x, and the gradient twice.
            3.0 * gb / gradients
        );
    }
    println!("\n{:<22} {:>10} {:>12}", "f32, ms", "forward", "gradients");
    for (rows, len) in [(8192, 1024), (65536, 64), (64, 131_072)] {
        let x: Vec<f32> = (0..rows * len).map(|i| (i * 7919 % 2003) as f32 * 1e-3).collect();
        let (mut y, mut dx, mut mean, mut rstd) = (x.clone(), x.clone(), vec![0.0; rows], vec![0.0; rows]);
        let forward = fastest(|| row_norm_forward(&x, len, 1e-5, &mut mean, &mut rstd, &mut y));
        let backward = fastest(|| row_norm_backward(&y, len, &rstd, &x, &mut dx));
        println!("{:<22} {forward:>10.3} {backward:>12.3}", format!("row norm ({rows}, {len})"));
        let forward = fastest(|| unit_rows_forward(&x, len, 0.0, &mut y, &mut rstd));
        let backward = fastest(|| unit_rows_backward(&y, len, &rstd, &x, &mut dx));
        println!("{:<22} {forward:>10.3} {backward:>12.3}", format!("unit rows ({rows}, {len})"));
    }
}
