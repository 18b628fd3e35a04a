//! The settings of a meta-learning run.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use clap::{Args, ValueEnum};
use datasets::TASKS;
use nn::OptimizerSpec;
use nn::meta::{LEARNERS, Learner, NOISES, NoiseKind};
use nn::models::MODELS;
use registry::Row;
use serde::{Deserialize, Serialize};

use super::choice::{self, Choice, Table, rows};
use super::{MOST_THREADS, Precision, Settings, parts, settings};
use crate::failure::Failure;
use crate::run_folder::origin::named_now;

impl Table for Learner {
    const WHAT: &'static str = "learner";
    fn rows() -> &'static [Row<Learner>] {
        LEARNERS
    }
}

impl Table for NoiseKind {
    const WHAT: &'static str = "noise";
    fn rows() -> &'static [Row<NoiseKind>] {
        NOISES
    }
}

/// The level of the noise over time.
#[derive(Clone, Copy, Debug, Default, PartialEq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ramp {
    /// The same in all steps
    #[default]
    Constant,
    /// From 0 in the first step to the full level in the last
    Linear,
}

/// The learning rate over the meta-steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetaSchedule {
    /// The same in all steps
    #[default]
    Constant,
    /// A half cosine, to 0 at the end of the run
    Cosine,
}

/// What a run is a function of; the fields are the flags and the keys of the file.
#[derive(Args, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[group(skip)]
pub struct MetaConfig {
    /// The kind of tasks
    #[arg(long, default_value = "sinusoid", value_parser = choice::names(rows(TASKS)), help_heading = "Tasks")]
    pub task: String,
    /// Classes in a task
    #[arg(long, value_name = "N", default_value_t = 5, help_heading = "Tasks")]
    pub way: usize,
    /// Support examples of each class; of sinusoid, support points [default: 5; sinusoid 10]
    #[arg(long, value_name = "N", help_heading = "Tasks")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shot: Option<usize>,
    /// Query examples of each class; of sinusoid, query points
    #[arg(long, value_name = "N", default_value_t = 16, help_heading = "Tasks")]
    pub query: usize,
    /// Size of the pool of training tasks: classes of images, otherwise tasks [default: all; of sinusoid, a new task each
    /// time]
    #[arg(long, value_name = "N", help_heading = "Tasks")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<usize>,
    /// Number of test tasks [default: 1000; of a file, all]
    #[arg(long, value_name = "N", help_heading = "Tasks")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_tasks: Option<u64>,
    /// omniglot: height and width, 28 or 14
    #[arg(long, value_name = "PIXELS", default_value_t = 28, help_heading = "Tasks")]
    pub image_size: usize,
    /// For the tasks; the run's seed does not change them
    #[arg(long, value_name = "SEED", default_value_t = 0, help_heading = "Tasks")]
    pub data_seed: u64,
    /// The folder that holds data sets [default: the environment variable COMHE_DATA]
    #[arg(long, value_name = "DIR", help_heading = "Machine")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,

    /// Architecture [default: conv4; of 1 x 1 images, mlp40]
    #[arg(long, value_parser = choice::names(rows(MODELS)), help_heading = "Network")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Multiplies the filters: conv4 has 32 WIDTH, mlp40 40 WIDTH neurons
    #[arg(long, value_name = "WIDTH", default_value_t = 1, help_heading = "Network")]
    pub width: usize,
    /// Arithmetic
    #[arg(long, value_enum, default_value_t, help_heading = "Network")]
    pub dtype: Precision,

    /// What is learned, and how far gradients are differentiated
    #[arg(long, default_value_t, value_parser = choice::chosen::<Learner>(), help_heading = "Inner loop")]
    pub learner: Choice<Learner>,
    /// Steps of adaptation, in training and testing [default: 5; sinusoid 1]
    #[arg(long, value_name = "K", help_heading = "Inner loop")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inner_steps: Option<usize>,
    /// Learning rate of adaptation; of meta-sgd, the initial one
    #[arg(long, value_name = "RATE", default_value_t = 0.01, help_heading = "Inner loop")]
    pub inner_lr: f64,
    /// Noise on the gradients of adaptation in training (DropGrad)
    #[arg(long, default_value_t, value_parser = choice::chosen::<NoiseKind>(), help_heading = "Inner loop")]
    pub noise: Choice<NoiseKind>,
    /// Rate p of the noise, whose variance is p / (1 - p) for both kinds
    #[arg(long, value_name = "P", default_value_t = 0.1, help_heading = "Inner loop")]
    pub noise_rate: f64,
    /// Level of the noise over time
    #[arg(long, value_enum, default_value_t, help_heading = "Inner loop")]
    pub noise_schedule: Ramp,

    /// Tasks in a step [default: 4; sinusoid 25]
    #[arg(long, value_name = "N", help_heading = "Outer loop")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta_batch: Option<u64>,
    /// Number of steps [default: 1000; sinusoid 3000]
    #[arg(long, value_name = "N", help_heading = "Outer loop")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta_steps: Option<u64>,
    /// Learning rate of the steps [default: the optimiser's]
    #[arg(long, value_name = "RATE", help_heading = "Outer loop")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta_lr: Option<f64>,
    /// Learning rate over the steps
    #[arg(long, value_enum, default_value_t, help_heading = "Outer loop")]
    pub meta_schedule: MetaSchedule,
    /// How meta-gradients change weights
    #[arg(
        long, default_value = "adam", value_parser = choice::chosen::<OptimizerSpec>(),
        help_heading = "Outer loop"
    )]
    pub optimizer: Choice<OptimizerSpec>,
    /// Minimise the mean over the tasks of a step in place of their sum, which MAML and the published code minimise
    #[arg(long, help_heading = "Outer loop")]
    pub task_mean: bool,

    /// Seed of the initial weights and the noise
    #[arg(long, value_name = "SEED", default_value_t = 0, help_heading = "Run")]
    pub seed: u64,
    /// Steps between two checkpoints
    #[arg(long, value_name = "N", default_value_t = 100, help_heading = "Log")]
    pub checkpoint_every: u64,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N", help_heading = "Machine")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
}

/// Every key.
pub static KEYS: LazyLock<Vec<String>> = LazyLock::new(settings::keys::<MetaConfig>);

/// The settings whose defaults depend on the task.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sizes {
    /// Support examples.
    pub shot: usize,
    /// Steps of adaptation.
    pub inner_steps: usize,
    /// Tasks in a step.
    pub meta_batch: u64,
    /// Steps.
    pub meta_steps: u64,
}

impl Default for MetaConfig {
    /// What an empty command line gives.
    fn default() -> MetaConfig {
        settings::defaults()
    }
}

impl MetaConfig {
    /// The sizes that are given, and the defaults of the others: of sinusoid those of MAML (Finn et al. 2017), with fewer
    /// steps.
    pub fn sizes(&self) -> Sizes {
        let of_task = match self.task.as_str() {
            "sinusoid" => Sizes { shot: 10, inner_steps: 1, meta_batch: 25, meta_steps: 3000 },
            _ => Sizes { shot: 5, inner_steps: 5, meta_batch: 4, meta_steps: 1000 },
        };
        Sizes {
            shot: self.shot.unwrap_or(of_task.shot),
            inner_steps: self.inner_steps.unwrap_or(of_task.inner_steps),
            meta_batch: self.meta_batch.unwrap_or(of_task.meta_batch),
            meta_steps: self.meta_steps.unwrap_or(of_task.meta_steps),
        }
    }

    /// The learning rate, or the optimiser's default.
    pub fn rate(&self) -> f64 {
        self.meta_lr.unwrap_or(self.optimizer.make.lr)
    }

    /// The same settings with what depends on others spelt out, as far as that needs no file.
    pub fn settled(self) -> MetaConfig {
        let Sizes { shot, inner_steps, meta_batch, meta_steps } = self.sizes();
        let (model, tests) = match self.task.as_str() {
            task if task.starts_with("file:") => (None, None),
            "sinusoid" => (Some("mlp40"), Some(TEST_TASKS)),
            _ => (Some("conv4"), Some(TEST_TASKS)),
        };
        MetaConfig {
            shot: Some(shot),
            inner_steps: Some(inner_steps),
            meta_batch: Some(meta_batch),
            meta_steps: Some(meta_steps),
            meta_lr: Some(self.rate()),
            test_tasks: self.test_tasks.or(tests),
            model: self.model.or(model.map(String::from)),
            ..self
        }
    }

    /// The same settings with absolute paths.
    pub fn rooted(self) -> MetaConfig {
        let data_dir = self.data_dir.as_deref().map(named_now);
        let task = match self.task.strip_prefix("file:").filter(|path| !path.is_empty()) {
            Some(path) => format!("file:{}", named_now(path.as_ref()).display()),
            None => self.task,
        };
        MetaConfig { task, data_dir, ..self }
    }

    /// The first name that there is not: its key, the name, and the message.
    fn wrong_name(&self) -> Option<(&'static str, &str, String)> {
        let task = || match self.task.starts_with("file:") {
            true => None,
            false => registry::find(TASKS, "task", &self.task).err(),
        };
        let model = || registry::find(MODELS, "model", self.model.as_deref()?).err();
        let of_model = || Some(("model", self.model.as_deref()?, model()?));
        task().map(|what| ("task", self.task.as_str(), what)).or_else(of_model)
    }
}

/// The number of test tasks by default.
pub const TEST_TASKS: u64 = 1000;

impl Settings for MetaConfig {
    const COMMAND: &'static str = "meta";

    fn paths(&self) -> Vec<(&'static str, &Path)> {
        self.data_dir.as_deref().map(|path| ("data-dir", path)).into_iter().collect()
    }

    fn check(&self) -> Result<(), Failure> {
        let sizes = self.sizes();
        let least = [
            ("way", self.way as u64, 2),
            ("shot", sizes.shot as u64, 1),
            ("query", self.query as u64, 1),
            ("pool", self.pool.unwrap_or(1) as u64, 1),
            ("width", self.width as u64, 1),
            ("meta-batch", sizes.meta_batch, 1),
            ("meta-steps", sizes.meta_steps, 1),
            ("checkpoint-every", self.checkpoint_every, 1),
            ("test-tasks", self.test_tasks.unwrap_or(1), 1),
            ("threads", self.threads.unwrap_or(1) as u64, 1),
        ];
        if let Some((key, value, least)) = least.into_iter().find(|(_, value, least)| value < least) {
            return Err(Failure::usage(format_args!("--{key} is {value}; it must be at least {least}")));
        }
        let most = [
            ("width", self.width as u64, 64),
            ("threads", self.threads.unwrap_or(1) as u64, MOST_THREADS as u64),
        ];
        if let Some((key, value, most)) = most.into_iter().find(|(_, value, most)| value > most) {
            return Err(Failure::usage(format_args!("--{key} is {value}; it can be at most {most}")));
        }
        let rates = [("meta-lr", self.rate()), ("inner-lr", self.inner_lr)];
        if let Some((key, rate)) = rates.into_iter().find(|(_, rate)| !(0.0..f64::INFINITY).contains(rate)) {
            return Err(Failure::usage(format_args!(
                "--{key} is {rate}; it must be a finite number, not negative"
            )));
        }
        if !(0.0..1.0).contains(&self.noise_rate) {
            return Err(Failure::usage(format_args!(
                "--noise-rate is {}; it must be from 0 to 1, below 1",
                self.noise_rate
            )));
        }
        if let Some((key, _)) = self.paths().into_iter().find(|(_, path)| path.as_os_str().is_empty()) {
            return Err(Failure::usage(format_args!("--{key} is empty; it takes a path, or is left out")));
        }
        match self.wrong_name() {
            Some((key, name, what)) => Err(Failure::usage(format_args!("--{key} is {name}: {what}"))),
            None => Ok(()),
        }
    }

    fn check_effects(&self, given: &[String]) -> Result<(), Failure> {
        parts::check_names(self, given, &[])
    }

    fn changeable() -> Vec<&'static str> {
        vec!["meta-steps", "checkpoint-every", "data-dir", "threads"]
    }
}
