//! The plan of a comparison: everything that its result depends on, from the flags or from its folder.

use std::fs;
use std::path::Path;

use clap::ArgMatches;
use comhe::short;
use serde::{Deserialize, Serialize};

use super::{Compare, READS};
use crate::config::{self, Choice, Config, given};
use crate::failure::Failure;
use crate::{data, setup};

/// The file of the plan.
pub const PLAN: &str = "plan.json";
/// The default length of a run in epochs: twenty runs of lenet take two minutes on two cores.
pub const EPOCHS: u64 = 20;
/// The largest number of runs of a comparison.
const MOST: u64 = 100_000;
/// The default learning rate of SGD: the best of 0.01, 0.02, 0.05 and 0.1 without a regulariser.
const RATE: f64 = 0.02;

/// Everything that the result of a comparison depends on.
#[derive(Clone, Serialize, Deserialize)]
pub struct Plan {
    pub regs: Vec<String>,
    pub seeds: u64,
    pub tune: Vec<f64>,
    pub tune_seeds: u64,
    pub validation: f64,
    pub settings: Config,
}

impl Plan {
    /// The plan in a folder.
    pub fn load(folder: &Path) -> Result<Plan, Failure> {
        let path = folder.join(PLAN);
        if !path.is_file() {
            return Err(Failure::place(folder, format_args!("is no comparison: it has no {PLAN}")));
        }
        let text = fs::read_to_string(&path)
            .map_err(|e| Failure::place(&path, format_args!("cannot be read: {e}")))?;
        serde_json::from_str(&text).map_err(|e| Failure::place(&path, e))
    }

    /// The number of runs.
    pub fn total(&self) -> usize {
        let tuned = self.regs.iter().filter(|reg| *reg != "none").count();
        self.seeds as usize * self.regs.len() + self.tune_seeds as usize * self.tune.len() * tuned
    }
}

impl Compare {
    /// The plan of the flags.
    pub fn planned(&self, matches: &ArgMatches) -> Result<Plan, Failure> {
        let given = given(matches);
        if let Some(key) = READS.first_unread(&given) {
            let instead = match key.as_str() {
                "reg" => "--regs names the regularisers",
                "preset" => "it sets one regulariser; --regs names several, which share all other settings",
                "hold-out" => "--validation is the share that --tune holds out",
                "energy-every" => "energies are measured with each evaluation (--eval-every)",
                "tensorboard" => "it writes no run folders",
                "watch" | "watch-every" => "instruments are for comhe train",
                _ => "it resumes after the last finished run",
            };
            return Err(Failure::usage(format_args!("--{key} is not for compare; {instead}")));
        }
        if self.seeds == 0 || self.tune_seeds == 0 {
            let flag = if self.seeds == 0 { "seeds" } else { "tune-seeds" };
            return Err(Failure::usage(format_args!(
                "--{flag} is 0; it must be at least 1, and at least 2 for a standard deviation"
            )));
        }
        let most = |n: u64| n.saturating_mul(self.regs.len().max(self.tune.len()) as u64) > MOST;
        if most(self.seeds) || most(self.tune_seeds.saturating_mul(self.regs.len() as u64)) {
            return Err(Failure::usage(format_args!("--seeds and --tune ask for more than {MOST} runs")));
        }
        let of_tuning = ["tune-seeds", "validation"];
        if let Some(key) =
            of_tuning.iter().find(|key| self.tune.is_empty() && given.contains(&key.to_string()))
        {
            return Err(Failure::usage(format_args!("--{key} has no effect without --tune")));
        }
        if let Some(bad) = self.tune.iter().find(|factor| !(0.0..=f64::MAX).contains(*factor)) {
            return Err(Failure::usage(format_args!(
                "--tune has the factor {}; it must be a finite number, not negative",
                short(*bad)
            )));
        }
        if !(0.0..1.0).contains(&self.validation) {
            return Err(Failure::usage(format_args!(
                "--validation is {}; it must be at least 0 and below 1",
                short(self.validation)
            )));
        }
        let mut config = self.settings.clone();
        if config.steps.is_none() && config.epochs.is_none() {
            config.epochs = Some(EPOCHS);
        }
        if config.lr.is_none() && config.optimizer == Choice::default() {
            config.lr = Some(RATE);
        }
        // Label noise, on by default, needs classes.
        if !given.iter().any(|key| key == "label-noise") && !data::has_classes(&config)? {
            config.label_noise = 0.0;
        }
        config.check()?;
        config::parts::check(&config, &given, &self.regs)?;
        let settings = config.settled();
        for (i, reg) in self.regs.iter().enumerate() {
            if self.regs[..i].contains(reg) {
                return Err(Failure::usage(format_args!("--regs names {reg} twice")));
            }
            setup::objective(&Config { reg: reg.clone(), ..settings.clone() })?;
        }
        Ok(Plan {
            regs: self.regs.clone(),
            seeds: self.seeds,
            tune: self.tune.clone(),
            tune_seeds: self.tune_seeds,
            validation: self.validation,
            settings,
        })
    }
}
