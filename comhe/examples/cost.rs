//! What each regulariser costs a step: forward and backward on the ten matrices of CNN-9 at width 4, without network.
//!
//!     cargo run --release -p comhe --example cost -- THREADS

use std::time::Instant;

use autograd::{DType, Key, Tensor};
use comhe::{LayerWeight, Learning, NAMES, Objective, Options, Role, Step};

const LAYERS: [[usize; 2]; 10] = [
    [64, 27],
    [64, 576],
    [64, 576],
    [128, 576],
    [128, 1152],
    [128, 1152],
    [256, 1152],
    [256, 2304],
    [256, 2304],
    [256, 4096],
];

fn main() -> Result<(), comhe::Error> {
    let threads = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(2);
    autograd::set_threads(threads);
    let draw = |(i, [n, d]): (usize, &[usize; 2])| {
        (Tensor::normal([*n, *d], DType::F32, Key::new(i as u64)) * (2.0 / *d as f64).sqrt()).requires_grad()
    };
    let weights: Vec<Tensor> = LAYERS.iter().enumerate().map(draw).collect();
    let names: Vec<String> = (0..LAYERS.len()).map(|i| format!("layer{i}")).collect();
    let layers: Vec<LayerWeight> = names
        .iter()
        .zip(&weights)
        .map(|(name, weight)| LayerWeight { name, role: Role::Conv, weight })
        .collect();
    let unrolled_alone =
        Options { learning: Learning { plain: Some(0), ..Learning::default() }, ..Options::default() };
    let published = NAMES.iter().skip(1).map(|(name, _)| (*name, name.to_string(), Options::default()));
    let alone = ("ap", "ap, no plain step".to_string(), unrolled_alone);
    for (name, label, options) in published.chain([alone]) {
        let mut objective = Objective::new(name, &options)?;
        let mut times = Vec::new();
        for index in 0..25 {
            let start = Instant::now();
            objective.penalty(&layers, Step { index, lr: 0.01 })?.backward();
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        println!(
            "{label}: median {:.2} ms, least {:.2} ms ({threads} threads)",
            times[times.len() / 2],
            times[0]
        );
    }
    Ok(())
}
