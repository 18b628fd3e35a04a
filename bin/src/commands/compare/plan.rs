//! The plan of a comparison: everything that its result depends on, from the flags or from its folder.

use std::fs;
use std::path::Path;

use clap::ArgMatches;
use comhe::short;
use serde::{Deserialize, Serialize};

use super::arm::{Arm, arms};
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
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub losses: Vec<String>,
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

    /// What is compared, the baseline first.
    pub fn arms(&self) -> Vec<Arm> {
        arms(&self.regs, &self.methods, &self.losses)
    }

    /// The arms whose regulariser has weights to choose.
    pub fn tuned(&self) -> Vec<Arm> {
        self.arms().into_iter().filter(|arm| arm.reg != "none").collect()
    }

    /// The number of runs.
    pub fn total(&self) -> usize {
        let tuned = self.tune_seeds as usize * self.tune.len() * self.tuned().len();
        self.seeds as usize * self.arms().len() + tuned
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
        for (key, list, names) in [("method", "methods", &self.methods), ("loss", "losses", &self.losses)] {
            if !names.is_empty() && given.iter().any(|name| name == key) {
                return Err(Failure::usage(format_args!(
                    "--{key} has no effect beside --{list}, which names them all"
                )));
            }
        }
        if self.seeds == 0 || self.tune_seeds == 0 {
            let flag = if self.seeds == 0 { "seeds" } else { "tune-seeds" };
            return Err(Failure::usage(format_args!(
                "--{flag} is 0; it must be at least 1, and at least 2 for a standard deviation"
            )));
        }
        let regs = self.regs(&given);
        let arms = arms(&regs, &self.methods, &self.losses);
        let most = |n: u64| n.saturating_mul(arms.len().max(self.tune.len()) as u64) > MOST;
        if most(self.seeds) || most(self.tune_seeds.saturating_mul(arms.len() as u64)) {
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
        for (flag, names) in [("regs", &regs), ("methods", &self.methods), ("losses", &self.losses)] {
            if let Some((_, name)) = names.iter().enumerate().find(|(i, name)| names[..*i].contains(name)) {
                return Err(Failure::usage(format_args!("--{flag} names {name} twice")));
            }
        }
        self.check_given(&config, &given, &arms)?;
        let settings = config.settled();
        for arm in &arms {
            let config = arm.config(&settings);
            setup::objective(&config)?;
            setup::method(&config, None)?;
        }
        Ok(Plan {
            regs,
            methods: self.methods.clone(),
            losses: self.losses.clone(),
            seeds: self.seeds,
            tune: self.tune.clone(),
            tune_seeds: self.tune_seeds,
            validation: self.validation,
            settings,
        })
    }

    /// The regularisers: with a list of methods or losses only the baseline by default.
    fn regs(&self, given: &[String]) -> Vec<String> {
        let listed = !self.methods.is_empty() || !self.losses.is_empty();
        match listed && !given.iter().any(|key| key == "regs") {
            true => vec!["none".into()],
            false => self.regs.clone(),
        }
    }

    /// Checks that every flag has an effect in some arm.
    fn check_given(&self, config: &Config, given: &[String], arms: &[Arm]) -> Result<(), Failure> {
        let regs: Vec<String> = arms.iter().map(|arm| arm.reg.clone()).collect();
        let mut first = None;
        for key in given {
            let key = std::slice::from_ref(key);
            let results = arms.iter().map(|arm| config::parts::check(&arm.config(config), key, &regs));
            let failures: Vec<Failure> = results.filter_map(Result::err).collect();
            if failures.len() == arms.len() {
                first = first.or(failures.into_iter().next());
            }
        }
        first.map_or(Ok(()), Err)
    }
}
