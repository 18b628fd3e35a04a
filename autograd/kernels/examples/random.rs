//! Times of random fills on one thread: `cargo run --release -p kernels --example random`.

use std::time::Instant;

use kernels::random::Key;
use kernels::{Element, par};

fn time<T: Element>(name: &str, f: impl Fn(&mut [T])) {
    let mut out = vec![T::ZERO; 1 << 20];
    let fastest = (0..50)
        .map(|_| {
            let start = Instant::now();
            f(&mut out);
            start.elapsed().as_secs_f64() * 1e9 / out.len() as f64
        })
        .fold(f64::INFINITY, f64::min);
    println!("{name}, {}: {fastest:.2} ns a draw", T::NAME);
}

fn main() {
    par::set_threads(1);
    let key = Key::new(0);
    time::<f32>("uniform", |out| key.fill_uniform(out));
    time::<f64>("uniform", |out| key.fill_uniform(out));
    time::<f32>("normal", |out| key.fill_normal(out));
    time::<f64>("normal", |out| key.fill_normal(out));
}
