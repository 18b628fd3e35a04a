//! `comhe lrfind`: a learning rate from one short run whose rate rises.

use std::path::PathBuf;

use clap::{ArgMatches, Args};
use serde_json::json;

use crate::config::layers::Layers;
use crate::config::{Config, Schedule};
use crate::failure::Failure;
use crate::picture::chart;
use crate::plot::Curve;
use crate::setup::Setup;
use crate::{output, run_folder, stop};

/// A learning rate: the rate rises from step to step, and the loss says where it falls fastest
#[derive(Args, Debug)]
#[group(skip)]
#[command(
    mut_arg("lr", |arg| arg.hide(true)),
    mut_arg("schedule", |arg| arg.hide(true)),
    mut_arg("milestones", |arg| arg.hide(true)),
    mut_arg("warmup", |arg| arg.hide(true)),
    mut_arg("epochs", |arg| arg.hide(true)),
    mut_arg("steps", |arg| arg.help("How many rates are tried, a step each [default: 100]")),
    after_help = "Examples:
  comhe lrfind --model cnn9 --dataset cifar10 --data-dir data
  comhe lrfind --reg rp --optimizer adam --from 1e-6 --to 1

The rates are a geometric sequence (Smith, arXiv 1506.01186). The loss of the data is averaged over
steps (0.9 of the past); the run ends early when that exceeds four times its least. The suggestion is
the rate where it falls fastest against the rate's logarithm. The folder, whose path is printed last,
gets lrfind.svg, lrfind.png and lrfind.json."
)]
pub struct LrFind {
    /// The smallest rate
    #[arg(long, value_name = "RATE", default_value_t = 1e-5)]
    from: f64,
    /// The largest
    #[arg(long, value_name = "RATE", default_value_t = 10.0)]
    to: f64,
    /// The folder of the results [default: a new one in runs/]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The result as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    layers: Layers,
    #[command(flatten)]
    settings: Config,
}

/// What the search sets itself; in a file it may stand, for the run that comes after.
const OWN: [&str; 8] =
    ["lr", "schedule", "milestones", "warmup", "epochs", "plateau", "plateau-patience", "early-stopping"];
/// Steps by default.
const STEPS: u64 = 100;
/// More rates than this say nothing new.
const MOST: u64 = 100_000;
/// How much of the past the smoothed loss keeps.
const KEPT: f64 = 0.9;
/// The run ends when the smoothed loss is so many times its least.
const DIVERGED: f64 = 4.0;

impl LrFind {
    /// Runs the command.
    pub fn run(self, matches: &ArgMatches) -> Result<(), Failure> {
        let (_, given) = self.layers.own(&self.settings, matches)?;
        if let Some(key) = given.iter().find(|key| OWN.contains(&key.as_str())) {
            return Err(Failure::usage(format_args!(
                "--{key} has no effect in comhe lrfind: --from, --to and --steps say which rates are tried"
            )));
        }
        let config = self.layers.resolve(&self.settings, matches)?;
        if !(self.from > 0.0 && self.to.is_finite() && self.from < self.to) {
            return Err(Failure::usage(format_args!(
                "--from {:e} --to {:e}: the rates must be positive, the first one smaller",
                self.from, self.to
            )));
        }
        let steps = config.steps.unwrap_or(STEPS);
        if !(10..=MOST).contains(&steps) {
            return Err(Failure::usage(format_args!("--steps is {steps}; a curve needs from 10 to {MOST}")));
        }
        let config = Config {
            steps: Some(steps),
            epochs: None,
            lr: None,
            schedule: Schedule::Constant,
            milestones: Vec::new(),
            warmup: 0,
            ..config
        };
        stop::on_signals()?;
        let mut setup = Setup::new(&config)?;
        let out = self.out.clone().unwrap_or_else(|| run_folder::fresh("lrfind"));
        run_folder::made(&out)?;

        let rate = |i: u64| self.from * (self.to / self.from).powf(i as f64 / (steps - 1) as f64);
        let (mut rates, mut losses) = (Vec::new(), Vec::new());
        let mut least = f64::INFINITY;
        for (i, batch) in (0..steps).zip(setup.batches()) {
            if stop::wanted() {
                return Err(Failure::unfinished(format_args!("stopped after {i} of {steps} rates")));
            }
            setup.trainer.lr = rate(i);
            let Ok(m) = setup.trainer.step(&batch) else {
                eprintln!("at {:.3e} the loss is no longer finite", rate(i));
                break;
            };
            rates.push(rate(i));
            losses.push(m.fit);
            let smooth = *smoothed(&losses).last().expect("just pushed");
            least = least.min(smooth);
            if i > 10 && smooth > DIVERGED * least {
                break;
            }
        }
        let smooth = smoothed(&losses);
        let Some(at) = steepest(&smooth) else {
            return Err(Failure::unfinished(format_args!(
                "the loss never falls between {:e} and {:e}; try a smaller --from, or more --steps",
                self.from, self.to
            )));
        };
        let suggestion = rates[at];

        let x = |i: usize| rates[i].log10();
        let curve = |name: &str, values: &[f64]| Curve {
            name: name.into(),
            points: values.iter().enumerate().map(|(i, &v)| (x(i), v)).collect(),
            spread: Vec::new(),
        };
        // What explodes at the end would press the rest flat.
        let top = DIVERGED.min(1.5) * smooth[0];
        let cut: Vec<f64> = losses.iter().map(|&v| if v <= top { v } else { f64::NAN }).collect();
        let cut_smooth: Vec<f64> = smooth.iter().map(|&v| if v <= top { v } else { f64::NAN }).collect();
        let bottom = losses.iter().copied().fold(f64::INFINITY, f64::min);
        let mark = Curve {
            name: format!("suggestion {suggestion:.2e}"),
            points: vec![(x(at), bottom), (x(at), top)],
            spread: Vec::new(),
        };
        let curves = [curve("batch", &cut), curve("smoothed", &cut_smooth), mark];
        let title = format!("{} on {}, {}", config.model, setup.dataset.name, config.reg);
        if let Some(picture) = chart::of_curves(&title, "learning rate, as a power of ten", &curves) {
            picture.write(&out, "lrfind")?;
        }
        let result = json!({ "suggestion": suggestion, "rates": rates, "loss": losses, "smoothed": smooth });
        nn::write_atomic(&out.join("lrfind.json"), (output::to_json(&result) + "\n").as_bytes())?;
        if self.json {
            return output::json(&result);
        }
        output::line(&format!(
            "learning rate {suggestion:.2e}: the loss falls fastest there ({} of {steps} rates were tried)",
            rates.len()
        ))?;
        output::line(&out.display().to_string())
    }
}

/// Exponential averages, each corrected for its short past.
fn smoothed(losses: &[f64]) -> Vec<f64> {
    let mut average = 0.0;
    let one = |(i, loss): (usize, &f64)| {
        average = KEPT * average + (1.0 - KEPT) * loss;
        average / (1.0 - KEPT.powi(i as i32 + 1))
    };
    losses.iter().enumerate().map(one).collect()
}

/// Where the values, which are evenly spaced, fall fastest: by the slope of the least-squares line through a tenth of them
/// to either side, as a single difference is mostly noise; up to the least value. None if they never fall.
fn steepest(values: &[f64]) -> Option<usize> {
    let half = (values.len() / 10).max(1);
    let end = (0..values.len()).min_by(|&a, &b| values[a].total_cmp(&values[b]))?;
    let end = end.min(values.len() - half);
    let slope = |i: usize| (1..=half).map(|k| k as f64 * (values[i + k] - values[i - k])).sum::<f64>();
    let best = (half..end).min_by(|&a, &b| slope(a).total_cmp(&slope(b)))?;
    (slope(best) < 0.0).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steepest_place_of_a_logistic_fall_is_its_middle() {
        let fall =
            |i: i32| 1.0 / (1.0 + f64::from(i - 20).exp2()) + if i > 35 { f64::from(i - 35) } else { 0.0 };
        let values: Vec<f64> = (0..40).map(fall).collect();
        assert_eq!(steepest(&values), Some(20));
        assert_eq!((steepest(&[1.0, 2.0, 3.0]), steepest(&[])), (None, None));
    }

    #[test]
    fn a_constant_stays_what_it_is() {
        assert!(smoothed(&[2.0; 5]).iter().all(|v| (v - 2.0).abs() < 1e-12));
    }
}
