//! The training loop.

mod checkpoint;
mod evaluate;
mod observe;
mod regulariser;

pub use evaluate::{Evaluation, evaluate};
pub use observe::Observed;
pub use regulariser::Regulariser;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use autograd::{Key, Tensor, detect_anomaly};

use crate::error::Error;
use crate::loss::cross_entropy;
use crate::metrics::accuracy;
use crate::models::Model;
use crate::module::{Context, Module};
use crate::optim::{Optimizer, Schedule};

/// Images with their labels.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The images, [N, C, H, W], in the model's dtype.
    pub images: Tensor,
    /// The class of each image.
    pub labels: Vec<u32>,
    /// How many times the data were gone through before.
    pub epoch: u64,
}

/// What one step of training did. Loss and accuracy are those before the update.
#[derive(Clone, Debug, PartialEq)]
pub struct StepMetrics {
    /// The number of the step, from 0 on.
    pub step: u64,
    /// The epoch of the batch.
    pub epoch: u64,
    /// What was minimised: `fit` + `reg`.
    pub loss: f64,
    /// The cross-entropy, with label smoothing.
    pub fit: f64,
    /// The regulariser's term.
    pub reg: f64,
    /// The learning rate.
    pub lr: f64,
    /// The accuracy on the batch.
    pub accuracy: f64,
    /// How long the step took.
    pub time: Duration,
    /// The regulariser's own numbers.
    pub extra: Vec<(String, f64)>,
}

/// How [`Trainer::fit`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There were no more batches.
    Finished,
    /// The stop flag was set.
    Stopped,
}

/// A model in training, with all that the next step depends on.
pub struct Trainer {
    /// What is trained.
    pub model: Model,
    /// How gradients change it.
    pub optimizer: Optimizer,
    /// The base learning rate.
    pub lr: f64,
    /// The learning rate over time.
    pub schedule: Schedule,
    /// Label smoothing a: the target is (1 - a) one-hot + a / classes.
    pub smoothing: f64,
    /// What is added to the cross-entropy.
    pub regulariser: Option<Box<dyn Regulariser>>,
    key: Key,
    step: u64,
    wanted: Option<Box<dyn Fn(u64) -> bool + Send>>,
    observed: Option<Observed>,
}

/// The numbers of a forward pass.
struct Values {
    loss: f64,
    fit: f64,
    reg: f64,
    accuracy: f64,
}

/// What a step computes before its update.
type Gradients = (Values, BTreeMap<String, Tensor>, Option<observe::Parts>);

impl Trainer {
    /// A trainer at step 0 with a constant learning rate. `key` names the random draws of the run; those of a
    /// step depend on its number alone.
    pub fn new(model: Model, optimizer: Optimizer, lr: f64, key: Key) -> Trainer {
        Trainer {
            model,
            optimizer,
            lr,
            schedule: Schedule::Constant,
            smoothing: 0.0,
            regulariser: None,
            key: key.stream("train"),
            step: 0,
            wanted: None,
            observed: None,
        }
    }

    /// The same trainer with a schedule.
    pub fn schedule(self, schedule: Schedule) -> Trainer {
        Trainer { schedule, ..self }
    }

    /// The same trainer with label smoothing.
    pub fn smoothing(self, smoothing: f64) -> Trainer {
        Trainer { smoothing, ..self }
    }

    /// The same trainer with a regulariser.
    pub fn regulariser(self, regulariser: impl Regulariser + 'static) -> Trainer {
        Trainer { regulariser: Some(Box::new(regulariser)), ..self }
    }

    /// Keeps what the steps for whose number `wanted` holds did, each until the next step. What they do does not
    /// depend on that.
    pub fn observe(&mut self, wanted: impl Fn(u64) -> bool + Send + 'static) {
        self.wanted = Some(Box::new(wanted));
    }

    /// What the last step did, if that was to be kept: see [`Trainer::observe`].
    pub fn observed(&self) -> Option<&Observed> {
        self.observed.as_ref()
    }

    /// How many steps have been done: the number of the next one.
    pub fn step_count(&self) -> u64 {
        self.step
    }

    /// Trains on each batch, until there are none or `stop` is set, which is looked at before each step:
    /// after a return the trainer is between two steps and can be saved. `after` is called after each step.
    ///
    /// # Errors
    /// As [`Trainer::step`], and whatever `after` returns.
    pub fn fit<E: From<Error>>(
        &mut self,
        batches: impl IntoIterator<Item = Batch>,
        stop: &AtomicBool,
        mut after: impl FnMut(&Trainer, &StepMetrics) -> Result<(), E>,
    ) -> Result<Outcome, E> {
        self.optimizer.check(&self.model)?;
        for batch in batches {
            if stop.load(Ordering::Relaxed) {
                return Ok(Outcome::Stopped);
            }
            let metrics = self.step(&batch)?;
            after(self, &metrics)?;
        }
        Ok(Outcome::Finished)
    }

    /// One step: forward, backward, update.
    ///
    /// # Errors
    /// If the loss or a gradient is not finite (the error names the first operation that made it so), a
    /// parameter has no gradient, the regulariser fails, or the batch has labels that the model has no class for.
    /// Model and optimiser are then as before the step. Also if the update itself overflows; the model is then
    /// lost.
    ///
    /// # Panics
    /// If the images do not fit the model.
    pub fn step(&mut self, batch: &Batch) -> Result<StepMetrics, Error> {
        let start = Instant::now();
        self.observed = None;
        self.optimizer.prepare(&self.model);
        let before = self.model.clone();
        match self.gradients(batch) {
            Ok((values, gradients, parts)) => {
                self.observed =
                    parts.map(|parts| Observed::new(self, batch, before.clone(), &gradients, parts));
                // With nobody else holding the weights, they change in place.
                drop(before);
                let step = self.step;
                let lr = self.schedule.lr(self.lr, step);
                self.optimizer.update(&mut self.model, gradients, lr);
                self.check_update(lr)?;
                self.step += 1;
                let Values { loss, fit, reg, accuracy } = values;
                let extra = self.regulariser.as_ref().map_or(Vec::new(), |r| r.metrics());
                let time = start.elapsed();
                Ok(StepMetrics { step, epoch: batch.epoch, loss, fit, reg, lr, accuracy, time, extra })
            }
            Err(Error::NotFinite { step, what, .. }) => {
                self.model = before.clone();
                let again = detect_anomaly(|| {
                    // Not backwards from a loss that already is not finite: all its gradients would be to
                    // blame.
                    self.forward(batch).map(|(loss, ..)| {
                        if loss.is_finite() {
                            drop(loss.backward())
                        }
                    })
                });
                self.model = before;
                Err(Error::NotFinite { step, what, anomaly: again.err() })
            }
            Err(error) => {
                self.model = before;
                Err(error)
            }
        }
    }

    /// Whether the update left every weight and statistic a finite number.
    fn check_update(&self, lr: f64) -> Result<(), Error> {
        let mut bad = None;
        self.model.visit(&mut |name, t, _| {
            if bad.is_none() && !t.is_finite() {
                bad = Some(name.to_string());
            }
        });
        match bad {
            Some(name) => Err(Error::Overflow { step: self.step, name, lr }),
            None => Ok(()),
        }
    }

    /// What the forward pass of this step depends on besides images and weights.
    fn context(&self) -> Context {
        Context::train(self.key.step(self.step))
    }

    /// The loss as a graph, its numbers, and its parts if they are to be kept.
    fn forward(&mut self, batch: &Batch) -> Result<(Tensor, Values, Option<observe::Parts>), Error> {
        let (images, labels) = (batch.images.shape(), batch.labels.len());
        if labels == 0 || images.first() != Some(&labels) {
            return Err(Error::Config(format!("the batch has images {images} for {labels} labels")));
        }
        let watched = self.wanted.as_ref().is_some_and(|wanted| wanted(self.step));
        let mut cx = if watched { self.context().tapped() } else { self.context() };
        let logits = self.model.forward(&batch.images, &mut cx);
        let classes = logits.shape().get(1).copied().unwrap_or(0);
        if let Some(label) = batch.labels.iter().find(|&&label| label as usize >= classes) {
            return Err(Error::Config(format!("the batch has a label {label}, the model {classes} classes")));
        }
        let accuracy = accuracy(&logits, &batch.labels);
        let mut loss = cross_entropy(&logits, &batch.labels, self.smoothing);
        let fit = loss.item();
        let mut parts =
            watched.then(|| observe::Parts { fit: loss.clone(), penalty: None, relus: cx.relus() });
        let mut reg = 0.0;
        if let Some(regulariser) = &mut self.regulariser {
            let penalty = regulariser.penalty(&self.model.weights(), self.step)?;
            if penalty.numel() != 1 {
                let shape = penalty.shape();
                return Err(Error::Config(format!(
                    "the regulariser gave shape {shape}; one element is needed"
                )));
            }
            reg = penalty.item();
            if let Some(parts) = &mut parts {
                parts.penalty = Some(penalty.clone());
            }
            loss = loss + penalty.reshape([]);
        }
        let values = Values { loss: loss.item(), fit, reg, accuracy };
        Ok((loss, values, parts))
    }

    /// The numbers of a forward pass, the gradients by parameter, all of them finite, and the loss's parts if they
    /// are to be kept.
    fn gradients(&mut self, batch: &Batch) -> Result<Gradients, Error> {
        let not_finite = |step, what: String| Err(Error::NotFinite { step, what, anomaly: None });
        let (loss, values, parts) = self.forward(batch)?;
        if !values.loss.is_finite() {
            return not_finite(self.step, "the loss".to_string());
        }
        let gradients = self.optimizer.collect(&self.model, loss.backward())?;
        match gradients.iter().find(|(_, g)| !g.is_finite()) {
            Some((name, _)) => not_finite(self.step, format!("the gradient of {name}")),
            None => Ok((values, gradients, parts)),
        }
    }
}

#[cfg(test)]
mod tests;
