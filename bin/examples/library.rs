//! The four libraries together, without the command: built-in images, a network of one's own, RP-CoMHE, a
//! training loop.
//!
//! `cargo run --release -p bin --example library`

use std::sync::atomic::AtomicBool;

use autograd::{DType, Key, Tensor};
use comhe::Objective;
use datasets::{Loader, LoaderConfig};
use nn::{Batch, Model, Optimizer, Trainer, evaluate};

const RATE: f64 = 0.02;
const EPOCHS: u64 = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let data = datasets::load("fashion14", &datasets::Options::default())?;
    let model: Model =
        nn::models::build("lenet", data.shape(), data.classes.len(), 1, Key::new(0), DType::F32)?;

    let objective = Objective::new("rp", &comhe::Options::default())?;
    let mut trainer = Trainer::new(model, Optimizer::sgd(0.9), RATE, Key::new(1)).regulariser(objective);
    let training =
        Loader::new(data.train.clone(), LoaderConfig { batch_size: 128, ..LoaderConfig::default() });
    let batches = (0..EPOCHS).flat_map(|epoch| training.epoch::<f32>(epoch).map(move |b| batch(b, epoch)));
    trainer.fit(batches, &AtomicBool::new(false), |_, m| {
        if m.step % 20 == 0 {
            println!(
                "step {:3}  fit {:.4}  regulariser {:.4}  accuracy {:.2}",
                m.step, m.fit, m.reg, m.accuracy
            );
        }
        Ok::<(), nn::Error>(())
    })?;

    let test = Loader::new(data.test.clone(), LoaderConfig { shuffle: false, ..LoaderConfig::default() });
    let result = evaluate(&trainer.model, test.epoch::<f32>(0).map(|b| batch(b, 0)));
    println!("test accuracy {:.2} %", 100.0 * result.accuracy);
    Ok(())
}

/// A loader's batch as the trainer takes it.
fn batch(b: datasets::Batch<f32>, epoch: u64) -> Batch {
    let labels = b.labels().expect("classes").to_vec();
    Batch::new(Tensor::new(&b.images, b.shape), labels).epoch(epoch)
}
