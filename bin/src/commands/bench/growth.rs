//! `comhe bench growth`: how cost grows with what it depends on, and the exponents of that.

use autograd::{DType, Key, Tensor, set_threads};
use clap::Args;
use comhe::Energy;
use nn::{Optimizer, Trainer};
use serde_json::json;

use super::Timing;
use crate::config::Config;
use crate::failure::Failure;
use crate::output::{self, Table};
use crate::statistics::median;
use crate::{memory, setup};

/// The half-space energy in neurons and dimensions, a training step in batch, width and threads (1, 2, 4, ... up to --threads)
#[derive(Args, Debug)]
pub struct GrowthBench {
    #[command(flatten)]
    timing: Timing,
}

/// What one thing costs at several sizes of another.
struct Series {
    what: String,
    of: &'static str,
    times: Vec<(usize, f64)>,
}

impl GrowthBench {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        self.timing.check(1)?;
        let config = Config { threads: self.timing.threads, ..Config::default() };
        config.check()?;
        setup::apply(&config);
        let threads = autograd::threads();
        let mut counts: Vec<usize> = [1, 2, 4, 8, 16, 32, 64].into_iter().filter(|&n| n < threads).collect();
        counts.push(threads);
        let all = [
            self.series(
                "half-space energy and gradient, d = 256",
                "neurons",
                &[128, 256, 512, 1024, 2048],
                |n| energy(&self.timing, n, 256),
            )?,
            self.series(
                "half-space energy and gradient, N = 512",
                "dimensions",
                &[64, 128, 256, 512, 1024],
                |d| energy(&self.timing, 512, d),
            )?,
            self.series("step of cnn9 x 1", "batch", &[16, 32, 64, 128, 256], |n| step(&self.timing, 1, n))?,
            self.series("step of cnn9, batch 32", "width", &[1, 2, 4, 8], |w| step(&self.timing, w, 32))?,
            self.series("step of cnn9 x 4, batch 64", "threads", &counts, |n| {
                set_threads(n);
                step(&self.timing, 4, 64)
            })?,
        ];
        if self.timing.json {
            return Ok(());
        }
        let mut table = Table::new(["cost of", "grows with", "at", "ms", "exponent"]);
        for Series { what, of, times } in all {
            let exponent = exponent(&times);
            for (i, (size, ms)) in times.iter().enumerate() {
                let first = |text: &str| if i == 0 { text.to_string() } else { String::new() };
                let power = exponent.map_or("-".into(), |e| format!("{e:.2}"));
                table.row([first(&what), first(of), size.to_string(), format!("{ms:.3}"), first(&power)]);
            }
        }
        output::line(&table.text())
    }

    fn series(
        &self,
        what: &str,
        of: &'static str,
        sizes: &[usize],
        mut time: impl FnMut(usize) -> Result<f64, Failure>,
    ) -> Result<Series, Failure> {
        let times = sizes.iter().map(|&size| Ok((size, time(size)?))).collect::<Result<Vec<_>, Failure>>()?;
        if self.timing.json {
            let points: Vec<_> = times.iter().map(|(size, ms)| json!({ "at": size, "ms": ms })).collect();
            let threads = autograd::threads();
            output::json(&json!({
                "cost": what, "grows_with": of, "points": points, "exponent": exponent(&times), "threads": threads,
            }))?;
        }
        Ok(Series { what: what.to_string(), of, times })
    }
}

/// The b of time = a size^b that fits best, by least squares of the logarithms; None for fewer than two sizes.
fn exponent(times: &[(usize, f64)]) -> Option<f64> {
    let logs: Vec<(f64, f64)> = times.iter().map(|&(size, ms)| ((size as f64).ln(), ms.ln())).collect();
    let mean = |of: fn(&(f64, f64)) -> f64| logs.iter().map(of).sum::<f64>() / logs.len() as f64;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let square: f64 = logs.iter().map(|p| (p.0 - x).powi(2)).sum();
    (logs.len() > 1).then(|| logs.iter().map(|p| (p.0 - x) * (p.1 - y)).sum::<f64>() / square)
}

fn energy(timing: &Timing, n: usize, d: usize) -> Result<f64, Failure> {
    let w = Tensor::normal([n, d], DType::F32, Key::new(1)).requires_grad();
    let energy = Energy { half_space: true, ..Energy::default() };
    let _ = energy.of(&w)?;
    Ok(median(&timing.measure(|| {
        let e = energy.of(&w).expect("checked before");
        drop(std::hint::black_box(e.backward()));
    })))
}

fn step(timing: &Timing, width: usize, batch: usize) -> Result<f64, Failure> {
    let model = nn::models::build("cnn9", [3, 32, 32], 100, width, Key::new(0), DType::F32)?;
    memory::check(&model, width, batch, DType::F32)?;
    let mut trainer = Trainer::new(model, Optimizer::sgd(0.9), 0.01, Key::new(0));
    let images = Tensor::normal([batch, 3, 32, 32], DType::F32, Key::new(1));
    let labels: Vec<u32> = (0..batch as u32).map(|i| i * 7 % 100).collect();
    let batch = nn::Batch::new(images, labels);
    let mut failed = None;
    let times = timing.measure(|| {
        if failed.is_none() {
            failed = trainer.step(&batch).err();
        }
    });
    failed.map_or(Ok(median(&times)), |error| Err(Failure::from(error).mid_run()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponents_are_those_of_powers() {
        let times: Vec<(usize, f64)> = [2, 4, 16].map(|n| (n, 3.0 * (n as f64).powf(1.5))).to_vec();
        assert!((exponent(&times).unwrap() - 1.5).abs() < 1e-12);
        assert_eq!(exponent(&times[..1]), None);
    }
}
