//! `comhe train --dry` and `--overfit`: is this a network that can learn, and does it fit?

use clap::Args;
use nn::{Batch, Targets};

use crate::config::{Config, Schedule};
use crate::failure::Failure;
use crate::memory;
use crate::setup::Setup;
use crate::{output, statistics, stop, system};

/// Looks at a network before a run; nothing is written.
#[derive(Args, Debug)]
#[group(skip)]
pub struct Sanity {
    /// Build everything, show shapes, parameters, FLOPs and memory, make two steps, and write nothing
    #[arg(long, conflicts_with_all = ["resume", "out", "overfit"], help_heading = "Run")]
    dry: bool,
    /// Overfit the first N batches, to check a setup: train on them alone until the loss is within 0.01 of its least
    /// value (of real targets, 0.01 of their variance), or fail after --steps [default: 1000]; write nothing
    #[arg(long, value_name = "N", conflicts_with_all = ["resume", "out", "epochs"], help_heading = "Run")]
    overfit: Option<usize>,
}

/// How near to its least value the loss must come; for real targets, in units of their variance.
const NEAR: f64 = 0.01;
/// Steps of --overfit by default.
const STEPS: u64 = 1000;
const MIB: f64 = (1u64 << 20) as f64;

impl Sanity {
    /// Whether one of them is asked for.
    pub fn wanted(&self) -> bool {
        self.dry || self.overfit.is_some()
    }

    /// Does what is asked for. The settings have been checked and settled.
    pub fn run(&self, config: &Config) -> Result<(), Failure> {
        match self.overfit {
            None => dry(config),
            Some(0) => Err(Failure::usage("--overfit is 0; it must be at least 1")),
            Some(batches) => overfit(config, batches),
        }
    }
}

fn dry(config: &Config) -> Result<(), Failure> {
    let mut setup = Setup::new(config)?;
    let batches: Vec<Batch> = setup.batches().take(2).collect();
    let images = batches.first().map_or(0, |batch| batch.len());
    let summary = setup.trainer.model.summary();
    output::line(&summary.to_string())?;
    let step = 3.0 * summary.flops() as f64 * images as f64;
    output::line(&format!(
        "A step on {images} examples: {:.2} GFLOP in products (forward, and twice that backward), {} steps an epoch, {} in all",
        step / 1e9,
        setup.epoch,
        setup.steps
    ))?;
    // Data, weights and the program itself are there already; reading the data may have taken more for a while.
    let before = system::memory().zip(system::peak_memory());
    let estimate = memory::step(&setup.trainer.model, images, config, setup.dtype)? / MIB;
    for batch in &batches {
        let m = setup.trainer.step(batch).map_err(|e| Failure::from(e).mid_run())?;
        if m.step == 0 {
            let ms = m.time.as_secs_f64() * 1e3;
            output::line(&format!(
                "First step: loss {:.4} (data {:.4}, penalty {:.4}), {ms:.0} ms",
                m.loss, m.fit, m.reg
            ))?;
        }
    }
    match (before, system::peak_memory()) {
        (Some((before, reading)), Some(peak)) => output::line(&format!(
            "Memory: about {:.0} MiB expected ({reading:.0} while data were read, {before:.0} before the step and {estimate:.0} for \
             it), {peak:.0} MiB measured at the peak",
            reading.max(before + estimate)
        )),
        _ => output::line(&format!("Memory of a step: about {estimate:.0} MiB")),
    }
}

fn overfit(config: &Config, count: usize) -> Result<(), Failure> {
    let limit = config.steps.unwrap_or(STEPS);
    let fixed = Config {
        steps: Some(limit),
        epochs: None,
        schedule: Schedule::Constant,
        milestones: Vec::new(),
        warmup: 0,
        ..config.clone()
    };
    let mut setup = Setup::new(&fixed)?;
    let batches: Vec<Batch> = setup.batches().take(count).collect();
    let images: usize = batches.iter().map(|batch| batch.len()).sum();
    let goals: Vec<[f64; 2]> =
        batches.iter().map(|batch| goal(config, batch, setup.trainer.model.classes)).collect();
    let [least, near] = [0, 1].map(|k| mean(&goals.iter().map(|goal| goal[k]).collect::<Vec<_>>()));
    let what = format!("{} of {images} examples", statistics::count(batches.len(), "batch"));
    let mut first = f64::NAN;
    let mut latest = vec![f64::INFINITY; batches.len()];
    for step in 0..limit {
        if stop::wanted() {
            return Err(Failure::unfinished(format_args!("stopped after step {step}")));
        }
        let i = step as usize % batches.len();
        let m = setup.trainer.step(&batches[i]).map_err(|e| Failure::from(e).mid_run())?;
        if step == 0 {
            first = m.fit;
        }
        latest[i] = m.fit;
        if step.is_multiple_of(50) {
            // Real targets have no accuracy.
            let accuracy = match m.accuracy.is_nan() {
                true => String::new(),
                false => format!(", accuracy {:.1} %", 100.0 * m.accuracy),
            };
            eprintln!("step {step}: loss {:.4}{accuracy}", m.fit);
        }
        if latest.iter().zip(&goals).all(|(fit, [least, near])| fit - least < *near) {
            return output::line(&format!(
                "{what}: loss {first:.4} at first, {:.4} after {step} steps: overfitted",
                mean(&latest)
            ));
        }
    }
    Err(Failure::unfinished(format_args!(
        "{what}: loss {first:.4} at first, {:.4} after {limit} steps, not within {} of {least:.4}, the least; try another \
         --lr (comhe lrfind), more --steps, less regularisation, or look for a mistake in labels or network",
        mean(&latest),
        comhe::short(near)
    )))
}

/// The least loss of a batch, and how near the loss must come to it.
fn goal(config: &Config, batch: &Batch, classes: usize) -> [f64; 2] {
    let smoothing = config.label_smoothing;
    match &batch.targets {
        _ if config.has_loss("mse") && batch.targets.labels().is_some() => [0.0, NEAR],
        Targets::Classes(_) => [entropy(smoothing, classes), NEAR],
        Targets::Distributions(t) => {
            let rows = t.to_vec::<f64>();
            let smoothed = rows.iter().map(|p| (1.0 - smoothing) * p + smoothing / classes as f64);
            [smoothed.map(term).sum::<f64>() / batch.len() as f64, NEAR]
        }
        Targets::Values(t) => {
            let (values, width) = (t.to_vec::<f64>(), classes.max(1));
            let output = |k: usize| values.iter().skip(k).step_by(width).copied().collect::<Vec<f64>>();
            let variance = |values: Vec<f64>| {
                let centre = mean(&values);
                mean(&values.iter().map(|v| (v - centre).powi(2)).collect::<Vec<_>>())
            };
            let variance = mean(&(0..width).map(|k| variance(output(k))).collect::<Vec<_>>());
            // Of constant targets, the scale of the numbers as they are.
            [0.0, if variance > 0.0 { NEAR * variance } else { NEAR }]
        }
    }
}

/// A term of an entropy.
fn term(p: f64) -> f64 {
    if p > 0.0 { -p * p.ln() } else { 0.0 }
}

/// The least cross-entropy with smoothed labels: the entropy of the target.
fn entropy(smoothing: f64, classes: usize) -> f64 {
    let other = smoothing / classes as f64;
    term(1.0 - smoothing + other) + (classes as f64 - 1.0) * term(other)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_loss_is_the_entropy_of_the_target() {
        assert_eq!(entropy(0.0, 10), 0.0);
        assert!((entropy(0.5, 2) - (-0.75 * 0.75f64.ln() - 0.25 * 0.25f64.ln())).abs() < 1e-12);
    }
}
