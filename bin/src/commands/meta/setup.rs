//! What is made of the settings.

use autograd::{DType, Key};
use datasets::{TaskOptions, Tasks};
use nn::meta::{Adaptation, GradientNoise, MetaTrainer, NoiseSchedule};
use nn::{CrossEntropy, Mse, OptimizerOptions, Schedule, models};

use crate::config::Precision;
use crate::config::meta::{MetaConfig, MetaSchedule, Ramp, TEST_TASKS};
use crate::failure::Failure;
use crate::{memory, setup};

/// The name of a run's folder, without its number.
pub fn name(config: &MetaConfig) -> String {
    let task = config.task.split(':').next().unwrap_or_default();
    format!("meta-{task}-{}", config.learner)
}

/// The tasks.
pub fn tasks(config: &MetaConfig) -> Result<Tasks, Failure> {
    let &MetaConfig { way, query, pool, image_size, data_seed: seed, .. } = config;
    let (shot, data_dir) = (config.sizes().shot, config.data_dir.clone());
    let options = TaskOptions { way, shot, query, pool, seed, data_dir, image_size };
    Ok(Tasks::load(&config.task, &options)?)
}

/// The number of test tasks.
pub fn tests(config: &MetaConfig, tasks: &Tasks) -> u64 {
    let all = tasks.tests().map(|n| n as u64);
    config.test_tasks.unwrap_or(TEST_TASKS).min(all.unwrap_or(u64::MAX))
}

/// The arithmetic.
pub fn dtype(config: &MetaConfig) -> DType {
    match config.dtype {
        Precision::F32 => DType::F32,
        Precision::F64 => DType::F64,
    }
}

/// The trainer at step 0.
pub fn trainer(config: &MetaConfig, tasks: &Tasks) -> Result<MetaTrainer, Failure> {
    autograd::set_threads(config.threads.unwrap_or_else(setup::cores));
    let (key, sizes, dtype) = (Key::new(config.seed), config.sizes(), dtype(config));
    let model = config.model.as_deref().unwrap_or(match tasks.shape {
        [_, 1, 1] => "mlp40",
        _ => "conv4",
    });
    let weights = key.stream("weights");
    let of_width = |width: usize| models::build(model, tasks.shape, tasks.outputs, width, weights, dtype);
    memory::check_weights(config.width, dtype, of_width)?;
    let noise_schedule = match config.noise_schedule {
        Ramp::Constant => NoiseSchedule::Constant,
        Ramp::Linear => NoiseSchedule::Linear { steps: sizes.meta_steps },
    };
    let schedule = match config.meta_schedule {
        MetaSchedule::Constant => Schedule::Constant,
        MetaSchedule::Cosine => Schedule::Cosine { steps: sizes.meta_steps, min: 0.0 },
    };
    let optimizer = (config.optimizer.make.build)(&OptimizerOptions::default());
    let (learner, steps, rate) = (config.learner.make, sizes.inner_steps, config.inner_lr);
    let mut trainer = MetaTrainer::new(of_width(config.width)?, key)
        .adaptation(Adaptation { learner, steps, rate })
        .noise(GradientNoise { kind: config.noise.make, rate: config.noise_rate, schedule: noise_schedule })
        .optimizer(optimizer, config.rate())
        .schedule(schedule);
    trainer.mean = config.task_mean;
    trainer.loss = if tasks.regression { Box::new(Mse) } else { Box::new(CrossEntropy::default()) };
    trainer.check()?;
    Ok(trainer)
}
