//! What it costs to share work among threads: an empty `run` of two pieces, back to back and after a pause.
//!
//!     cargo run --release -p kernels --example par -- THREADS

use std::hint::black_box;
use std::time::{Duration, Instant};

use kernels::par;

fn main() {
    let threads = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(2);
    par::set_threads(threads);
    for pause in [0, 5, 20, 200, 2000] {
        let mut times = Vec::new();
        for _ in 0..(if pause > 100 { 500 } else { 20_000 }) {
            let start = Instant::now();
            while pause <= 100 && start.elapsed() < Duration::from_micros(pause) {
                std::hint::spin_loop();
            }
            if pause > 100 {
                std::thread::sleep(Duration::from_micros(pause));
            }
            let start = Instant::now();
            par::run(2, |i| {
                black_box(i);
            });
            times.push(start.elapsed().as_nanos());
        }
        times.sort_unstable();
        let at = |part: usize| times[times.len() * part / 100];
        println!(
            "run(2) after {pause} us: median {} ns, nine in ten within {} ns ({threads} threads)",
            at(50),
            at(90)
        );
    }
}
