//! What a meta-learning step costs: conv4 at 28 x 28, 5-way 5-shot with 15 query images of each class, one task, relative
//! to the gradients of plain training that it contains: K on the support images and one on the query images.
//!
//!     cargo run --release -p bin --example meta_cost -- [THREADS [K]]

use std::time::Instant;

use autograd::{DType, Key, Tensor};
use nn::meta::{Adaptation, LEARNERS, MetaTrainer, Task};
use nn::{Batch, BatchLoss};

/// The shortest of some rounds in seconds.
fn fastest(mut f: impl FnMut() -> Result<(), nn::Error>) -> Result<f64, nn::Error> {
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let start = Instant::now();
        f()?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best)
}

/// The largest memory of the process so far, where the system tells it.
fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or("unknown".into(), |line| line.trim().to_string())
}

fn main() -> Result<(), nn::Error> {
    let mut arguments = std::env::args().skip(1).filter_map(|n| n.parse().ok());
    autograd::set_threads(arguments.next().unwrap_or(2));
    let steps = arguments.next().unwrap_or(5);
    let images = |n: usize, name: &str| {
        let x = Tensor::normal([n, 1, 28, 28], DType::F32, Key::new(0).stream(name));
        Batch::new(x, (0..n as u32).map(|i| i % 5).collect::<Vec<u32>>())
    };
    let task = Task { support: images(25, "support"), query: images(75, "query") };
    let model = nn::models::build("conv4", [1, 28, 28], 5, 1, Key::new(0), DType::F32)?;
    let plain = |batch: &Batch| {
        let loss = BatchLoss::new(model.clone(), batch.clone());
        fastest(|| loss.gradient().map(drop))
    };
    let contained = steps as f64 * plain(&task.support)? + plain(&task.query)?;
    println!("K = {steps} plain gradients and one of the query: {:.1} ms", 1e3 * contained);
    for row in LEARNERS {
        let adaptation = Adaptation { learner: row.make, steps, rate: 0.01 };
        let trainer = MetaTrainer::new(model.clone(), Key::new(0)).adaptation(adaptation);
        let time = fastest(|| trainer.gradient(std::slice::from_ref(&task)).map(drop))?;
        println!("{:<12} {:>7.1} ms, {:.2} times", row.name, 1e3 * time, time / contained);
    }
    println!("peak memory: {}", peak());
    Ok(())
}
