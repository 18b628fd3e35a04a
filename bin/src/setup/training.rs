//! From settings to what a trainer is made of: loss, penalties, method, optimiser.

use std::path::PathBuf;

use autograd::{DType, Key, Tensor};
use datasets::Deform;
use nn::binary::{Anneal, Progressive};
use nn::{
    AdversarialTraining, Attack, AttackOptions, Average, Clip, Distillation, Loss, LossOptions, Method,
    MethodOptions, Model, Optimizer,
};
use nn::{OptimizerOptions, Passes, Penalty, PenaltyOptions, Ramp, Spectral, SpectralOptions, Transforms};

use crate::config::Config;
use crate::failure::Failure;
use crate::run_folder::Trained;

/// The length of a run, in steps, and of an epoch.
#[derive(Clone, Copy, Debug)]
pub struct Length {
    pub steps: u64,
    pub epoch: u64,
}

/// The loss of the settings, which [`data::with_loss`](crate::data::with_loss) has completed.
pub fn loss(config: &Config, length: Option<Length>) -> Result<Box<dyn Loss>, Failure> {
    let ramp = length.map(|length| Ramp::new(length.steps));
    Ok((config.loss.unwrap_or_default().make)(&LossOptions { ramp, ..loss_options(config)? }))
}

/// The same with estimates that do not change, and nothing that grows.
pub fn frozen_loss(config: &Config) -> Result<Box<dyn Loss>, Failure> {
    Ok((config.loss.unwrap_or_default().make)(&LossOptions { frozen: true, ..loss_options(config)? }))
}

fn loss_options(config: &Config) -> Result<LossOptions, Failure> {
    Ok(LossOptions {
        smoothing: config.label_smoothing,
        floor: config.loss_floor,
        lambda: Some(config.isda_lambda),
        covariance: config.isda_covariance.parse()?,
        ..LossOptions::default()
    })
}

/// The penalty on inputs of the settings.
pub fn input_penalty(config: &Config) -> Result<Option<Box<dyn Penalty>>, Failure> {
    let options = PenaltyOptions {
        weight: config.input_weight,
        eps: config.input_eps,
        steps: config.input_steps,
        deformations: Some(deformations(Deform::versions, Deform::versions)),
        tangents: Some(deformations(Deform::tangents, Deform::tangents)),
    };
    Ok((config.input_penalty.make)(&options)?)
}

/// Results of a deformation of images, in either dtype.
type Deformed<T> = fn(&Deform, &[T], [usize; 3], usize, Key) -> Result<Vec<T>, datasets::Error>;

/// The deformations of data as transforms of tensors.
fn deformations(single: Deformed<f32>, double: Deformed<f64>) -> Transforms {
    Transforms::new(move |images, count, key| {
        let [n, c, h, w] = images.shape()[..] else { panic!("images are N x C x H x W") };
        let (deform, shape) = (Deform::of_size(h.min(w)), [c, h, w]);
        let valid = "the deformations of a size are valid";
        match images.dtype() {
            DType::F32 => {
                let all = single(&deform, &images.to_vec(), shape, count, key).expect(valid);
                Tensor::new(&all, [n, count, c, h, w])
            }
            DType::F64 => {
                let all = double(&deform, &images.to_vec(), shape, count, key).expect(valid);
                Tensor::new(&all, [n, count, c, h, w])
            }
        }
    })
}

/// The control of spectral norms of the settings.
pub fn spectral(config: &Config, length: Option<Length>) -> Result<Option<Spectral>, Failure> {
    let options = SpectralOptions {
        weight: config.spectral_weight,
        steps: config.spectral_steps,
        tau: config.spectral_tau,
        kappa: config.spectral_kappa,
        steps_per_epoch: length.map_or(1, |length| length.epoch.max(1)),
    };
    Ok((config.spectral.make)(&options)?)
}

/// The method of the settings, on attacked inputs if there is an attack. In a run it gives binary weights their
/// temperature; without a length they keep what they have.
pub fn method(config: &Config, length: Option<Length>) -> Result<Box<dyn Method>, Failure> {
    let options = MethodOptions {
        eps: config.method_eps,
        lr: config.method_lr,
        steps: config.method_steps,
        scope: config.method_scope.parse()?,
        eta: config.method_eta,
        plain_biases: config.method_plain_biases,
        passes: Passes {
            bn_stats: config.bn_stats.parse()?,
            masks: config.method_masks.parse()?,
            clip: config.method_pass_clip,
        },
    };
    let method = (config.method.make.build)(&options);
    let method: Box<dyn Method> = match attack(config)? {
        Some(attack) => Box::new(AdversarialTraining { attack, method }),
        None => method,
    };
    let Some(length) = length else { return Ok(method) };
    let Anneal { factor, every } = Anneal::over(length.steps);
    let anneal = Anneal {
        factor: config.temperature_factor.unwrap_or(factor),
        every: config.temperature_every.unwrap_or(every),
    };
    Ok(Box::new(Progressive { anneal, inner: method }))
}

/// The method on the predictions of the teachers, if there are any.
pub fn taught(method: Box<dyn Method>, config: &Config, model: &Model) -> Result<Box<dyn Method>, Failure> {
    let teachers = teachers(config, model)?;
    Ok(if teachers.is_empty() { method } else { Box::new(Distillation { teachers, inner: method }) })
}

/// The teachers of a network.
pub fn teachers(config: &Config, model: &Model) -> Result<Vec<Model>, Failure> {
    let teacher = |path: &PathBuf| {
        let trained = Trained::find(path)?;
        trained.network(model.input, model.classes, &trained.settings()?)
    };
    config.teacher.iter().map(teacher).collect()
}

/// The attack of the settings.
pub fn attack(config: &Config) -> Result<Option<Attack>, Failure> {
    let options =
        AttackOptions { eps: config.attack_eps, steps: config.attack_steps, step: config.attack_step };
    let attack = (config.attack.make)(&options);
    attack.iter().try_for_each(Attack::check)?;
    Ok(attack)
}

/// The optimiser of the settings; the constraint comes before the average.
pub fn optimizer(config: &Config, spectral: &Option<Spectral>) -> Optimizer {
    let (momentum, nesterov) = (config.momentum, config.nesterov);
    let mut optimizer = (config.optimizer.make.build)(&OptimizerOptions { momentum, nesterov });
    if let Some(norm) = config.clip {
        optimizer = optimizer.clip(Clip::Norm(norm));
    }
    if let Some(Spectral::Constraint(constraint)) = spectral {
        optimizer = optimizer.then(*constraint);
    }
    if let Some(decay) = config.ema {
        optimizer = optimizer.then(Average { decay });
    }
    optimizer.weight_decay(config.weight_decay)
}
