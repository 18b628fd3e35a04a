//! Nanoseconds an operation in a chain of tiny ones, forward and backward.

use std::time::Instant;

use autograd::{set_threads, tiny_operations};

fn main() {
    set_threads(1);
    let (n, len) = (10_000, 8);
    let mut times = Vec::new();
    for _ in 0..31 {
        let start = Instant::now();
        let y = tiny_operations(n, len);
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
