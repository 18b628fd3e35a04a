//! The settings of a meta-learning run, and what is made of them.

use std::path::PathBuf;

use autograd::{DType, Key};
use clap::{Args, ValueEnum};
use datasets::{TaskOptions, Tasks};
use nn::meta::{Adaptation, GradientNoise, LEARNERS, Learner, MetaTrainer, NOISES, NoiseKind, NoiseSchedule};
use nn::models::{self, MODELS};
use nn::{CrossEntropy, Mse, OptimizerOptions, OptimizerSpec};
use registry::Row;
use serde::{Deserialize, Serialize};

use crate::config::Precision;
use crate::config::choice::{self, Choice, Table, rows};
use crate::failure::Failure;
use crate::run_folder::origin::named_now;
use crate::setup;

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

/// What a run is a function of; the fields are the flags and the keys of the file.
#[derive(Args, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[group(skip)]
pub struct Settings {
    /// Tasks: sinusoid, omniglot, fashion14, digits, or those of a file
    #[arg(long, default_value = "sinusoid", value_name = "TASK", help_heading = "Tasks")]
    pub task: String,
    /// Classes in a task
    #[arg(long, value_name = "N", default_value_t = 5, help_heading = "Tasks")]
    pub way: usize,
    /// Support examples of each class; of sinusoid, support points [default: 5; sinusoid 10]
    #[arg(long, value_name = "N", default_value_t = 5, hide_default_value = true, help_heading = "Tasks")]
    pub shot: usize,
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
    #[arg(long, value_name = "DIR", help_heading = "Tasks")]
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
    #[arg(
        long,
        value_name = "K",
        default_value_t = 5,
        hide_default_value = true,
        help_heading = "Inner loop"
    )]
    pub inner_steps: usize,
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
    #[arg(
        long,
        value_name = "N",
        default_value_t = 4,
        hide_default_value = true,
        help_heading = "Outer loop"
    )]
    pub meta_batch: u64,
    /// Number of steps [default: 1000; sinusoid 3000]
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1000,
        hide_default_value = true,
        help_heading = "Outer loop"
    )]
    pub meta_steps: u64,
    /// Learning rate of the steps [default: the optimiser's]
    #[arg(long, value_name = "RATE", help_heading = "Outer loop")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta_lr: Option<f64>,
    /// How meta-gradients change weights
    #[arg(
        long, default_value = "adam", value_parser = choice::chosen::<OptimizerSpec>(),
        help_heading = "Outer loop"
    )]
    pub optimizer: Choice<OptimizerSpec>,
    /// Minimise the mean over the tasks of a step in place of their sum, which MAML and the published code minimise
    #[arg(long, help_heading = "Outer loop")]
    #[serde(default)]
    pub task_mean: bool,

    /// Seed of the initial weights and the noise
    #[arg(long, value_name = "SEED", default_value_t = 0, help_heading = "Run")]
    pub seed: u64,
    /// Steps between two checkpoints
    #[arg(long, value_name = "N", default_value_t = 100, help_heading = "Run")]
    pub checkpoint_every: u64,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N", help_heading = "Run")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
}

impl Settings {
    /// The settings with the defaults of the task in place of what is not given: of sinusoid those of MAML (Finn et al.
    /// 2017), with fewer steps.
    pub fn of_task(mut self, given: &[String]) -> Settings {
        type Change = fn(&mut Settings);
        let of_sinusoid: [(&str, Change); 4] = [
            ("shot", |s| s.shot = 10),
            ("inner-steps", |s| s.inner_steps = 1),
            ("meta-batch", |s| s.meta_batch = 25),
            ("meta-steps", |s| s.meta_steps = 3000),
        ];
        for (key, set) in of_sinusoid {
            if self.task == "sinusoid" && !given.iter().any(|given| given == key) {
                set(&mut self);
            }
        }
        self
    }

    /// The settings with absolute paths, checked as far as that needs no data.
    pub fn resolved(&self) -> Result<Settings, Failure> {
        let mut settings = self.clone();
        settings.data_dir = self.data_dir.as_deref().map(named_now);
        if let Some(path) = self.task.strip_prefix("file:").filter(|path| !path.is_empty()) {
            settings.task = format!("file:{}", named_now(path.as_ref()).display());
        }
        let least = [
            ("meta-batch", self.meta_batch),
            ("meta-steps", self.meta_steps),
            ("checkpoint-every", self.checkpoint_every),
            ("test-tasks", self.test_tasks.unwrap_or(1)),
            ("threads", self.threads.map_or(1, |n| n as u64)),
        ];
        if let Some((key, _)) = least.into_iter().find(|(_, value)| *value == 0) {
            return Err(Failure::usage(format_args!("--{key} is 0; at least 1 is needed")));
        }
        let rates = [("meta-lr", self.meta_lr.unwrap_or(0.0)), ("inner-lr", self.inner_lr)];
        if let Some((key, rate)) = rates.into_iter().find(|(_, rate)| !(0.0..f64::INFINITY).contains(rate)) {
            return Err(Failure::usage(format_args!("--{key} is {rate}; it must be 0 or a positive number")));
        }
        if !(0.0..1.0).contains(&self.noise_rate) {
            let rate = self.noise_rate;
            return Err(Failure::usage(format_args!(
                "--noise-rate is {rate}; it must be from 0 to 1, below 1"
            )));
        }
        Ok(settings)
    }

    /// The name of a run's folder, without its number.
    pub fn name(&self) -> String {
        let task = self.task.split(':').next().unwrap_or_default();
        format!("meta-{task}-{}", self.learner)
    }

    /// The tasks.
    pub fn tasks(&self) -> Result<Tasks, Failure> {
        let &Settings { way, shot, query, pool, image_size, data_seed: seed, .. } = self;
        let data_dir = self.data_dir.clone();
        let options = TaskOptions { way, shot, query, pool, seed, data_dir, image_size };
        Ok(Tasks::load(&self.task, &options)?)
    }

    /// The number of test tasks.
    pub fn tests(&self, tasks: &Tasks) -> u64 {
        let all = tasks.tests().map(|n| n as u64);
        self.test_tasks.unwrap_or(1000).min(all.unwrap_or(u64::MAX))
    }

    /// The arithmetic.
    pub fn dtype(&self) -> DType {
        match self.dtype {
            Precision::F32 => DType::F32,
            Precision::F64 => DType::F64,
        }
    }

    /// The trainer at step 0.
    pub fn trainer(&self, tasks: &Tasks) -> Result<MetaTrainer, Failure> {
        autograd::set_threads(self.threads.unwrap_or_else(setup::cores));
        let key = Key::new(self.seed);
        let model = self.model.as_deref().unwrap_or(match tasks.shape {
            [_, 1, 1] => "mlp40",
            _ => "conv4",
        });
        let weights = key.stream("weights");
        let model = models::build(model, tasks.shape, tasks.outputs, self.width, weights, self.dtype())?;
        let schedule = match self.noise_schedule {
            Ramp::Constant => NoiseSchedule::Constant,
            Ramp::Linear => NoiseSchedule::Linear { steps: self.meta_steps },
        };
        let optimizer = self.optimizer.make;
        let mut trainer = MetaTrainer::new(model, key)
            .adaptation(Adaptation {
                learner: self.learner.make,
                steps: self.inner_steps,
                rate: self.inner_lr,
            })
            .noise(GradientNoise { kind: self.noise.make, rate: self.noise_rate, schedule })
            .optimizer((optimizer.build)(&OptimizerOptions::default()), self.meta_lr.unwrap_or(optimizer.lr));
        trainer.mean = self.task_mean;
        trainer.loss = if tasks.regression { Box::new(Mse) } else { Box::new(CrossEntropy::default()) };
        trainer.check()?;
        Ok(trainer)
    }
}
