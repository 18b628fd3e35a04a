//! One-bit networks: what slices are worth on small images, and what packing saves.
//!
//!     cargo run --release -p bin --example binary -- train [EPOCHS [SEEDS]]
//!     cargo run --release -p bin --example binary -- speed [BATCH ...]
//!
//! `train` trains BaseNet and BoolNet with 1 and 4 slices on 14 x 14 images of Fashion-MNIST, and holds the packed network
//! to the real one on every test image. `speed` times both and the real stem alone on one thread, medians of
//! interleaved rounds.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use autograd::{DType, Key, Tensor};
use datasets::{Loader, LoaderConfig};
use nn::binary::{Anneal, Packed, Progressive};
use nn::{Batch, Clip, Context, Error, Model, Module, Optimizer, Plain, RAdam, Schedule, Trainer, evaluate};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("speed") => {
            let batches: Vec<usize> = arguments.filter_map(|n| n.parse().ok()).collect();
            speed(if batches.is_empty() { &[1, 32] } else { &batches })
        }
        _ => {
            let mut number = |default| arguments.next().and_then(|n| n.parse().ok()).unwrap_or(default);
            let (epochs, seeds) = (number(10), number(3));
            train(epochs, seeds)
        }
    }
}

fn batches(split: &Arc<datasets::Split>, epoch: u64, seed: Option<u64>) -> impl Iterator<Item = Batch> {
    let config = LoaderConfig {
        batch_size: 50,
        shuffle: seed.is_some(),
        seed: seed.unwrap_or(0),
        ..LoaderConfig::default()
    };
    let loader = Loader::new(split.clone(), config);
    let batch = |b: datasets::Batch<f32>| {
        Batch::new(Tensor::new(&b.images, b.shape), b.labels().expect("classes").to_vec())
    };
    loader.epoch::<f32>(epoch).map(batch).collect::<Vec<_>>().into_iter()
}

fn train(epochs: u64, seeds: u64) -> Result<(), Box<dyn std::error::Error>> {
    let data = datasets::load("fashion14", &datasets::Options::default())?;
    let per_epoch = batches(&data.train, 0, None).count() as u64;
    let steps = epochs * per_epoch;
    println!("{epochs} epochs of {per_epoch} steps");
    for name in ["basenet-small-k1", "basenet-small-k4", "boolnet-small-k1", "boolnet-small-k4"] {
        let mut accuracies = Vec::new();
        for seed in 0..seeds {
            let start = Instant::now();
            let model =
                nn::models::build(name, data.shape(), data.classes.len(), 1, Key::new(seed), DType::F32)?;
            // The temperature falls to 1e-4 in 40 updates over the run.
            let anneal = Anneal { factor: 0.8, every: (steps / 40).max(1) };
            let optimizer = Optimizer::new(RAdam::default()).clip(Clip::Norm(2.5));
            let mut trainer = Trainer::new(model, optimizer, 0.002, Key::new(seed).stream("train"))
                .schedule(Schedule::Cosine { steps, min: 1e-8 })
                .method(Progressive { anneal, inner: Box::new(Plain) });
            let epochs = (0..epochs).flat_map(|epoch| batches(&data.train, epoch, Some(seed)));
            trainer.fit(epochs, &AtomicBool::new(false), |_, _| Ok::<(), Error>(()))?;
            let result = evaluate(&trainer.model, batches(&data.test, 0, None));
            let seconds = start.elapsed().as_secs_f64();
            let same = agreement(&trainer.model, batches(&data.test, 0, None))?;
            println!(
                "{name}, seed {seed}: test accuracy {:.2} %, packed logits equal on {same} of {} images, {seconds:.0} s",
                100.0 * result.accuracy,
                result.images
            );
            assert_eq!(same, result.images);
            accuracies.push(100.0 * result.accuracy);
        }
        let n = accuracies.len() as f64;
        let mean = accuracies.iter().sum::<f64>() / n;
        let deviation = (accuracies.iter().map(|a| (a - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
        println!("{name}: mean {mean:.2} %, standard deviation {deviation:.2}");
    }
    Ok(())
}

/// On how many images all logits of the packed network have the bits of the real one's.
fn agreement(model: &Model, batches: impl Iterator<Item = Batch>) -> Result<usize, Error> {
    let (mut real, mut packed) = (model.detached(), Packed::new(model)?);
    let mut same = 0;
    for batch in batches {
        let [a, b] = [
            real.forward(&batch.inputs, &mut Context::eval()).to_vec::<f32>(),
            packed.forward(&batch.inputs, &mut Context::eval()).to_vec::<f32>(),
        ];
        same += a.chunks(model.classes).zip(b.chunks(model.classes)).filter(|(a, b)| a == b).count();
    }
    Ok(same)
}

fn speed(batches: &[usize]) -> Result<(), Box<dyn std::error::Error>> {
    autograd::set_threads(1);
    println!(
        "network, image | batch | float, ms/image | packed | stem | ratio | without stem | bytes: float, packed"
    );
    for (name, size, channels, classes) in [
        ("basenet-small-k1", 14, 1, 10),
        ("basenet-small-k1", 28, 1, 10),
        ("boolnet-small-k1", 14, 1, 10),
        ("boolnet-small-k1", 28, 1, 10),
        ("boolnet-small-k4", 14, 1, 10),
        ("boolnet-small-k4", 28, 1, 10),
        ("basenet18-k1", 224, 3, 1000),
        ("basenet18-k4", 224, 3, 1000),
        ("boolnet18-k1", 224, 3, 1000),
        ("boolnet18-k4", 224, 3, 1000),
        ("boolnet18-k8", 224, 3, 1000),
    ] {
        let model = nn::models::build(name, [channels, size, size], classes, 1, Key::new(1), DType::F32)?;
        let packed = Packed::new(&model)?;
        let (floats, bytes) = (4 * model.parameter_count(), packed.to_bytes()?.len());
        for &batch in batches {
            let images = Tensor::normal([batch, channels, size, size], DType::F32, Key::new(2));
            let time = |module: &mut dyn Module| {
                let start = Instant::now();
                let _ = module.forward(&images, &mut Context::eval());
                1e3 * start.elapsed().as_secs_f64() / batch as f64
            };
            let (mut real, mut fast, mut stem) = (model.detached(), packed.clone(), packed.stem().clone());
            // One after another, so that the load of the machine is that of both; the first round is to warm up.
            let rounds = if size == 224 && batch > 8 { 5 } else { 25 };
            let times: Vec<[f64; 3]> =
                (0..=rounds).map(|_| [time(&mut real), time(&mut fast), time(&mut stem)]).skip(1).collect();
            let of = |f: fn(&[f64; 3]) -> f64| median(times.iter().map(f).collect());
            println!(
                "{name}, {size} x {size} | {batch} | {:.3} | {:.3} | {:.3} | {:.1} | {:.1} | {floats}, {bytes}",
                of(|t| t[0]),
                of(|t| t[1]),
                of(|t| t[2]),
                of(|t| t[0] / t[1]),
                of(|t| (t[0] - t[2]) / (t[1] - t[2])),
            );
        }
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
