//! Nanoseconds an operation in a chain of tiny ones, forward and backward.

use std::time::Instant;

use autograd::{Tensor, set_threads};

fn main() {
    set_threads(1);
    let (n, len) = (10_000, 8);
    let leaf = |v: f64| Tensor::full([len], v, autograd::DType::F32).requires_grad();
    let (x, a, b, c) = (leaf(0.5), leaf(1.0001), leaf(0.001), leaf(0.0005));
    let chain = || {
        let mut t = x.clone();
        for _ in 0..n / 4 {
            t = (&t * &a + &b).sin() - &c;
        }
        t.sum(..)
    };
    let mut times = Vec::new();
    for _ in 0..31 {
        let start = Instant::now();
        let y = chain();
        let forward = start.elapsed();
        let grads = y.backward();
        times.push((start.elapsed(), forward));
        assert_eq!(grads.len(), 4);
    }
    times.sort();
    let per_op = |d: std::time::Duration| d.as_nanos() as f64 / n as f64;
    let (both, forward) = times[times.len() / 2];
    println!(
        "{n} operations on {len} elements: {:.0} ns an operation, {:.0} of them forward",
        per_op(both),
        per_op(forward)
    );
}
