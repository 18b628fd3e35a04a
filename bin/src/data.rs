//! From a data set to the batches of a training run.

use std::sync::Arc;

use autograd::{DType, Tensor};
use datasets::{Augment, Dataset, Epoch, Loader, LoaderConfig, Options, Reading, Rows, Split};
use nn::Unlabelled;

use crate::config::choice::Choice;
use crate::config::{Config, Precision};
use crate::failure::Failure;

/// Images in a batch of evaluation.
const EVALUATED: usize = 250;

/// What the settings say about the data besides their name.
pub fn options(config: &Config) -> Options {
    Options {
        data_dir: config.data_dir.clone(),
        seed: config.data_seed,
        train_size: config.train_size,
        keep_rest: config.isda_unlabelled.is_some(),
        label_noise: config.label_noise,
        reading: reading(config),
        image_size: config.image_size,
        grey: config.grey,
        points: config.points,
        ..Options::default()
    }
}

/// How numbers in files are understood.
pub fn reading(config: &Config) -> Reading {
    Reading { distributions: config.has_loss("cross-entropy"), single: config.dtype == Precision::F32 }
}

/// Loads the data that a run is about.
pub fn load(config: &Config) -> Result<Dataset, Failure> {
    let dataset = datasets::load(&config.dataset, &options(config))?;
    if config.hold_out == 0.0 {
        return Ok(dataset);
    }
    let held = dataset.hold_out(config.hold_out, config.data_seed);
    held.map_err(|e| Failure::usage(format_args!("--hold-out: {e}")))
}

/// The settings with the loss that suits the data, unless they have one: see [`suited`].
///
/// # Errors
/// As [`suited`].
pub fn with_loss(config: &Config, dataset: &Dataset) -> Result<Config, Failure> {
    suited(config, dataset.is_regression(), &dataset.name)
}

/// The settings with the loss that suits the targets of `name`, unless they have one: the mean squared error of real
/// targets, else cross-entropy.
///
/// # Errors
/// If the targets are real values, and a setting needs classes.
pub fn suited(config: &Config, real: bool, name: &str) -> Result<Config, Failure> {
    let default = if real { Choice::named("mse") } else { Choice::default() };
    let loss = config.loss.unwrap_or(default);
    let of_classes =
        [("label smoothing", config.label_smoothing), ("the floor of the loss", config.loss_floor)];
    if let (true, Some((what, value))) = (real, of_classes.iter().find(|(_, value)| *value != 0.0)) {
        return Err(Failure::usage(format_args!(
            "{what} is {value}; it has no effect on real targets, which {name} has: leave it out"
        )));
    }
    if real && !config.teacher.is_empty() {
        return Err(Failure::usage(format_args!(
            "--teacher gives distributions of classes; the targets of {name} are real values"
        )));
    }
    if real && loss.name != "mse" {
        return Err(Failure::usage(format_args!(
            "--loss {loss} needs classes; the targets of {name} are real values: use --loss mse"
        )));
    }
    Ok(Config { loss: Some(loss), ..config.clone() })
}

/// Whether the targets of the data are classes, and neither real values nor distributions. Reads a file that may hold
/// either.
pub fn has_classes(config: &Config) -> Result<bool, Failure> {
    let name = config.dataset.as_str();
    if !name.starts_with("file:") && name != "teacher-regression" {
        return Ok(true);
    }
    let whole = Options { label_noise: 0.0, train_size: None, ..options(config) };
    Ok(datasets::load(name, &whole)?.train.labels().is_some())
}

/// The loader of a run's training images.
pub fn training(dataset: &Dataset, config: &Config) -> Result<Loader, Failure> {
    loader(&dataset.train, config)
}

/// The images without labels of each step of a run.
pub fn unlabelled(dataset: &Dataset, config: &Config) -> Result<Unlabelled, Failure> {
    let rest = dataset.rest.as_ref().filter(|rest| !rest.is_empty());
    let Some(rest) = rest else {
        return Err(Failure::usage(format_args!(
            "--isda-unlabelled: --train-size leaves no images of {} out",
            dataset.name
        )));
    };
    let loader = loader(rest, config)?;
    let steps = loader.steps() as u64;
    let images = move |epoch: u64, step: usize, dtype: Precision| match dtype {
        Precision::F32 => {
            let batch = loader.batch::<f32>(epoch, step);
            Tensor::new(&batch.images, batch.shape)
        }
        Precision::F64 => {
            let batch = loader.batch::<f64>(epoch, step);
            Tensor::new(&batch.images, batch.shape)
        }
    };
    let dtype = config.dtype;
    Ok(Unlabelled::new(move |step| images(step.index / steps, (step.index % steps) as usize, dtype)))
}

fn loader(split: &Arc<Split>, config: &Config) -> Result<Loader, Failure> {
    let augment: Augment = config.augment.parse()?;
    augment.check(split.shape)?;
    let settings = LoaderConfig {
        batch_size: config.batch_size.min(split.len()),
        shuffle: !config.no_shuffle,
        augment,
        seed: config.seed,
        ..LoaderConfig::default()
    };
    Ok(Loader::new(split.clone(), settings))
}

/// The batches of the test images, in order.
pub fn test(dataset: &Dataset, dtype: DType) -> Stream {
    in_order(&dataset.test, dtype)
}

/// The batches that a run is judged on while it goes: held-out images if there are any, else test images.
pub fn judged(dataset: &Dataset, dtype: DType) -> Stream {
    in_order(dataset.validation.as_ref().unwrap_or(&dataset.test), dtype)
}

fn in_order(split: &Arc<Split>, dtype: DType) -> Stream {
    let settings = LoaderConfig { batch_size: EVALUATED, shuffle: false, ..LoaderConfig::default() };
    let loader = Loader::new(split.clone(), settings);
    let steps = loader.steps() as u64;
    Stream::new(loader, dtype, 0, steps)
}

/// The batches of steps `from..to` of a run that goes through the data again and again.
pub struct Stream {
    loader: Loader,
    dtype: DType,
    step: u64,
    end: u64,
    pass: Option<Pass>,
}

/// What is left of an epoch.
enum Pass {
    F32(Epoch<f32>),
    F64(Epoch<f64>),
}

impl Stream {
    /// The batches from step `from` on, up to `to`.
    pub fn new(loader: Loader, dtype: DType, from: u64, to: u64) -> Stream {
        Stream { loader, dtype, step: from, end: to, pass: None }
    }

    fn pass(&self) -> Pass {
        let steps = self.loader.steps() as u64;
        let (epoch, step) = (self.step / steps, (self.step % steps) as usize);
        match self.dtype {
            DType::F32 => Pass::F32(self.loader.epoch_from(epoch, step)),
            DType::F64 => Pass::F64(self.loader.epoch_from(epoch, step)),
        }
    }
}

impl Iterator for Stream {
    type Item = nn::Batch;

    fn next(&mut self) -> Option<nn::Batch> {
        if self.step >= self.end {
            return None;
        }
        let steps = self.loader.steps() as u64;
        if self.step.is_multiple_of(steps) || self.pass.is_none() {
            self.pass = Some(self.pass());
        }
        let epoch = self.step / steps;
        self.step += 1;
        let (images, targets) = match self.pass.as_mut()? {
            Pass::F32(pass) => {
                let batch = pass.next()?;
                let images = Tensor::new(&batch.images, batch.shape);
                pass.recycle(batch.images);
                (images, batch.targets)
            }
            Pass::F64(pass) => {
                let batch = pass.next()?;
                let images = Tensor::new(&batch.images, batch.shape);
                pass.recycle(batch.images);
                (images, batch.targets)
            }
        };
        Some(nn::Batch::new(images, tensors(targets, self.dtype)).epoch(epoch))
    }
}

/// Targets as a loss takes them.
pub fn tensors(targets: datasets::Targets, dtype: DType) -> nn::Targets {
    let tensor = |rows: Rows| Tensor::new(&rows.values, [rows.len(), rows.width]).to_dtype(dtype);
    match targets {
        datasets::Targets::Classes(labels) => nn::Targets::Classes(labels),
        datasets::Targets::Distributions(rows) => nn::Targets::Distributions(tensor(rows)),
        datasets::Targets::Values(rows) => nn::Targets::Values(tensor(rows)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(batch: &nn::Batch) -> Vec<u32> {
        batch.targets.labels().expect("classes").into_owned()
    }

    fn stream(from: u64, to: u64, dtype: DType) -> Vec<(u64, Vec<u32>, Vec<f64>)> {
        let config =
            Config { dataset: "moons".into(), train_size: Some(50), batch_size: 20, ..Config::default() };
        let loader = training(&load(&config).unwrap(), &config).unwrap();
        Stream::new(loader, dtype, from, to).map(|b| (b.epoch, labels(&b), b.inputs.to_vec())).collect()
    }

    #[test]
    fn any_part_of_a_run_is_the_same_as_in_the_whole() {
        for dtype in [DType::F32, DType::F64] {
            let whole = stream(0, 8, dtype);
            // 50 images in batches of 20: 20, 20, 10 an epoch.
            assert_eq!(
                whole.iter().map(|b| (b.0, b.1.len())).collect::<Vec<_>>()[1..4],
                [(0, 20), (0, 10), (1, 20)]
            );
            assert_eq!(whole.len(), 8);
            assert_ne!(whole[0].1, whole[3].1, "another order in the next epoch");
            for cut in 0..=8 {
                assert_eq!([stream(0, cut, dtype), stream(cut, 8, dtype)].concat(), whole);
            }
        }
    }

    #[test]
    fn evaluation_sees_every_test_image_once() {
        let dataset = load(&Config { dataset: "digits".into(), ..Config::default() }).unwrap();
        let labels: Vec<u32> = test(&dataset, DType::F32).flat_map(|b| labels(&b)).collect();
        assert_eq!(labels, dataset.test.labels().unwrap());
    }

    #[test]
    fn real_targets_choose_their_loss_and_refuse_what_needs_classes() {
        let config = Config { dataset: "teacher-regression".into(), ..Config::default() };
        let dataset = load(&config).unwrap();
        assert_eq!(with_loss(&config, &dataset).unwrap().loss, Some(Choice::named("mse")));
        let refused =
            |config: Config| with_loss(&config, &dataset).unwrap_err().message().unwrap().to_string();
        let line = refused(Config { loss: Some(Choice::named("cross-entropy")), ..config.clone() });
        assert!(
            line.starts_with("--loss cross-entropy needs classes") && line.contains("--loss mse"),
            "{line}"
        );
        assert!(
            refused(Config { label_smoothing: 0.1, ..config.clone() }).starts_with("label smoothing is 0.1")
        );
        assert!(refused(Config { loss_floor: 1e-4, ..config.clone() }).starts_with("the floor of the loss"));
        let classes = load(&Config { dataset: "moons".into(), ..config.clone() }).unwrap();
        assert_eq!(with_loss(&config, &classes).unwrap().loss, Some(Choice::named("cross-entropy")));
        let mse = Config { loss: Some(Choice::named("mse")), ..config.clone() };
        assert_eq!(with_loss(&mse, &classes).unwrap(), mse);
        let batch = test(&dataset, DType::F32).next().unwrap();
        assert_eq!((batch.len(), batch.targets.labels()), (250, None));
    }
}
