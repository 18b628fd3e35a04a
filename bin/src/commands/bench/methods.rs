//! `comhe bench methods`: what losses, penalties, methods and attacks cost a step.

use std::time::Instant;

use autograd::{Key, Tensor};
use clap::Args;
use nn::{Batch, Trainer};
use serde_json::json;

use super::Timing;
use crate::config::{Config, tables};
use crate::failure::Failure;
use crate::output::{self, Table};
use crate::statistics::median;
use crate::{memory, setup};

/// A step under each loss, penalty, method and attack, relative to a plain one
#[derive(Args, Debug)]
pub struct MethodsBench {
    /// Architecture, for 3 x 32 x 32 images of 10 classes
    #[arg(long, value_name = "NAME", default_value = "cnn9")]
    model: String,
    /// Images a step
    #[arg(long, value_name = "N", default_value_t = 128)]
    batch_size: usize,
    #[command(flatten)]
    timing: Timing,
}

/// The steps, each as settings of a file beside the defaults; the plain one first.
const STEPS: [&str; 19] = [
    "",
    "method.name = 'sam'",
    "method.name = 'asam'",
    "method.name = 'amp'",
    "method = {name = 'amp', steps = 2}",
    "method.name = 'awp'",
    "method.name = 'rmp'",
    "loss.name = 'isda'",
    "loss = {name = 'isda', isda-covariance = 'diagonal'}",
    "input-penalty.name = 'gradient'",
    "input-penalty.name = 'loss-gradient-l2'",
    "input-penalty.name = 'loss-gradient-l1'",
    "input-penalty.name = 'adversarial'",
    "input-penalty.name = 'deformation'",
    "input-penalty.name = 'tangent'",
    "attack.name = 'pgd-l2'",
    "spectral.name = 'penalty'",
    "spectral.name = 'exact'",
    "spectral.name = 'constraint'",
];

/// A kind of step, with the durations of its steps in milliseconds.
struct Arm {
    settings: &'static str,
    trainer: Trainer,
    times: Vec<f64>,
}

impl MethodsBench {
    /// Runs the command. All kinds of step take turns, so that each ratio is of neighbours in time.
    pub fn run(self) -> Result<(), Failure> {
        self.timing.check(self.batch_size)?;
        let shape = [3, 32, 32];
        let mut arms = STEPS.into_iter().map(|s| self.arm(s, shape)).collect::<Result<Vec<Arm>, _>>()?;
        let dtype = arms[0].trainer.model.dtype();
        memory::check(&arms[0].trainer.model, 1, self.batch_size, dtype)?;
        let inputs = Tensor::normal([self.batch_size, 3, 32, 32], dtype, Key::new(1));
        let batch = Batch::new(inputs, (0..self.batch_size as u32).map(|i| i * 7 % 10).collect::<Vec<u32>>());
        for round in 0..self.timing.warm_up + self.timing.repeat {
            for arm in &mut arms {
                let start = Instant::now();
                arm.trainer.step(&batch).map_err(|e| Failure::from(e).mid_run())?;
                let time = start.elapsed().as_secs_f64() * 1e3;
                if round >= self.timing.warm_up {
                    arm.times.push(time);
                }
            }
        }
        let mut table = Table::new(["step", "ms", "x plain", "quartiles"]);
        for arm in &arms {
            let mut ratios: Vec<f64> = arm.times.iter().zip(&arms[0].times).map(|(a, b)| a / b).collect();
            ratios.sort_by(f64::total_cmp);
            let quartile = |share: usize| ratios[share * (ratios.len() - 1) / 4];
            let mut times = arm.times.clone();
            times.sort_by(f64::total_cmp);
            let (ms, ratio) = (median(&times), median(&ratios));
            if self.timing.json {
                output::json(&json!({
                    "step": arm.settings, "model": self.model, "batch_size": self.batch_size, "ms": ms, "ratio": ratio,
                    "quartiles": [quartile(1), quartile(3)], "threads": autograd::threads(),
                }))?;
            }
            let name = if arm.settings.is_empty() { "plain" } else { arm.settings };
            let quartiles = format!("{:.2}, {:.2}", quartile(1), quartile(3));
            table.row([name.replace('\'', ""), format!("{ms:.1}"), format!("{ratio:.2}"), quartiles]);
        }
        if self.timing.json { Ok(()) } else { output::line(&table.text()) }
    }

    fn arm(&self, settings: &'static str, shape: [usize; 3]) -> Result<Arm, Failure> {
        let table = toml::from_str(settings).expect("settings as TOML");
        let (table, _) = tables::flat(table, |_| false).expect("each setting once");
        let config = Config {
            model: self.model.clone(),
            threads: self.timing.threads,
            // No penalty diverges so in the course of the rounds.
            lr: Some(1e-6),
            ..Config::from_table(table).map_err(Failure::usage)?
        };
        config.check()?;
        setup::apply(&config);
        let model = setup::model_of(shape, 10, &config)?;
        Ok(Arm { settings, trainer: setup::trainer(model, &config, None)?, times: Vec::new() })
    }
}
