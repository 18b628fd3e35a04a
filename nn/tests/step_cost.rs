//! What losses and methods cost a step, relative to a plain one. Run alone:
//!
//!     cargo test --release -p nn --test step_cost -- --ignored --nocapture

use std::time::Instant;

use autograd::{DType, Key, Tensor};
use nn::{
    Amp, Asam, Awp, Batch, Covariance, CrossEntropy, Isda, Loss, Method, Optimizer, Plain, Sam, Trainer,
};

/// A name, with the loss and the method of a step.
type Arm = (&'static str, Box<dyn Loss>, Box<dyn Method>);

#[test]
#[ignore = "it measures time"]
fn a_step_of_cnn9_at_batch_128() {
    let arms: Vec<Arm> = vec![
        ("plain", Box::new(CrossEntropy::default()), Box::new(Plain)),
        ("isda, diagonal", Box::new(Isda::new(0.5, Covariance::Diagonal)), Box::new(Plain)),
        ("isda, full", Box::new(Isda::new(0.5, Covariance::Full)), Box::new(Plain)),
        ("sam", Box::new(CrossEntropy::default()), Box::new(Sam::default())),
        ("asam", Box::new(CrossEntropy::default()), Box::new(Asam::default())),
        ("amp", Box::new(CrossEntropy::default()), Box::new(Amp::default())),
        ("awp", Box::new(CrossEntropy::default()), Box::new(Awp::default())),
    ];
    let inputs = Tensor::normal([128, 3, 32, 32], DType::F32, Key::new(1));
    let batch = Batch::new(inputs, (0..128).map(|i| i % 10).collect::<Vec<u32>>());
    let trainer = |(name, loss, method): Arm| {
        let model = nn::models::build("cnn9", [3, 32, 32], 10, 1, Key::new(0), DType::F32).unwrap();
        let mut trainer = Trainer::new(model, Optimizer::sgd(0.9), 1e-3, Key::new(0));
        (trainer.loss, trainer.method) = (loss, method);
        (name, trainer, Vec::new())
    };
    let mut arms: Vec<(&str, Trainer, Vec<f64>)> = arms.into_iter().map(trainer).collect();
    // In turn, so that all meet the same machine.
    for round in 0..16 {
        for (_, trainer, times) in &mut arms {
            let start = Instant::now();
            trainer.step(&batch).unwrap();
            if round > 0 {
                times.push(start.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let plain = median(&mut arms[0].2);
    for (name, _, times) in &mut arms {
        let time = median(times);
        println!("{name:16} {time:8.2} ms, {:.3} x plain", time / plain);
    }
}
