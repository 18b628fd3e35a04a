//! What each regulariser costs a step: forward and backward on the ten matrices of CNN-9 at width 4, without network.
//!
//! Of random projections, also what drawing them takes; of low-rank layers, what their weights take beside the energy.
//!
//!     cargo run --release -p bin --example cost -- [THREADS [REGULARISER]]

use std::hint::black_box;
use std::time::Instant;

use autograd::{DType, Key, Tensor};
use comhe::{Energy, Learning, LowRank, Objective, Options, REGULARISERS};
use nn::{Regulariser, Step, Weight};

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

fn main() -> Result<(), nn::Error> {
    let mut arguments = std::env::args().skip(1);
    let threads = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(2);
    let wanted = arguments.next();
    autograd::set_threads(threads);
    let draw = |(i, [n, d]): (usize, &[usize; 2])| {
        (Tensor::normal([*n, *d], DType::F32, Key::new(i as u64)) * (2.0 / *d as f64).sqrt()).requires_grad()
    };
    let weights: Vec<Tensor> = LAYERS.iter().enumerate().map(draw).collect();
    let layers: Vec<Weight> =
        weights.iter().enumerate().map(|(i, w)| Weight::new(format!("layer{i}"), w)).collect();
    let unrolled_alone =
        Options { learning: Learning { plain: Some(0), ..Learning::default() }, ..Options::default() };
    let published = REGULARISERS
        .iter()
        .skip(1)
        .filter(|row| !comhe::peers::knows(row.name))
        .map(|row| (row.name, row.name.to_string(), Options::default()));
    let alone = ("ap", "ap, no plain step".to_string(), unrolled_alone);
    let asked = |name: &str| wanted.as_ref().is_none_or(|wanted| wanted == name);
    for (name, label, options) in published.chain([alone]).filter(|(name, ..)| asked(name)) {
        let mut objective = Objective::new(name, &options)?;
        let median = report(&label, |index| {
            let _ = objective.penalty(&layers, Step { index, lr: 0.01 })?.backward();
            Ok(())
        })?;
        if name == "rp" {
            let projections = options.projections;
            let drawing = report("    drawing alone", |index| {
                for [_, d] in LAYERS.into_iter().filter(|[_, d]| *d >= projections.k) {
                    let _ = black_box(projections.draw("layer", index, d, DType::F32)?);
                }
                Ok(())
            })?;
            println!("    which is {:.0} %", 100.0 * drawing / median);
        }
    }
    if asked("low-rank") {
        let energy = Energy { half_space: true, ..Energy::default() };
        let factors = LAYERS.iter().zip(&weights).map(|([n, d], w)| LowRank::near(w, 40.min(*n).min(*d), 0));
        let factors = factors.collect::<Result<Vec<LowRank>, comhe::Error>>()?;
        report("low-rank, rank 40: the weights from their factors, and the factors' energy", |_| {
            let mut sum = Tensor::zeros([], DType::F32);
            for layer in &factors {
                sum = sum + layer.energy(&energy)? + layer.weight()?.sum(..);
            }
            let _ = sum.backward();
            Ok(())
        })?;
    }
    Ok(())
}

/// Times 25 calls of `step`, prints and returns the median in milliseconds.
fn report(label: &str, mut step: impl FnMut(u64) -> Result<(), nn::Error>) -> Result<f64, nn::Error> {
    let mut times = Vec::new();
    for index in 0..25 {
        let start = Instant::now();
        step(index)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let (median, least) = (times[times.len() / 2], times[0]);
    println!("{label}: median {median:.2} ms, least {least:.2} ms ({} threads)", autograd::threads());
    Ok(median)
}
