//! The training loop.

mod batch;
mod batch_loss;
mod checkpoint;
mod evaluate;
mod gradient;
mod monitor;
mod observe;
mod regulariser;

pub use batch::{Batch, Targets};
pub use batch_loss::{BatchLoss, Pass};
pub use evaluate::{Evaluation, evaluate, evaluate_loss};
pub(crate) use gradient::of_leaves;
pub use gradient::{Gradient, Numbers};
pub use monitor::{EarlyStopping, Plateau};
pub use observe::Observed;
pub use regulariser::{CloneRegulariser, Regulariser};

use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use autograd::Key;

use crate::error::Error;
use crate::losses::{CrossEntropy, Loss};
use crate::methods::{Method, Plain};
use crate::models::Model;
use crate::module::{Context, Module};
use crate::optim::{Average, Optimizer, Schedule};
use crate::penalties::Penalty;

/// The progress of training. The random draws and periods of losses, penalties and regularisers depend on it alone, so
/// that a resumed run has the same ones.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Step {
    /// The number of updates before this one.
    pub index: u64,
    /// The learning rate of this step.
    pub lr: f64,
}

/// The result of one training step. Loss and accuracy are those before the update.
#[derive(Clone, Debug, PartialEq)]
pub struct StepMetrics {
    /// The number of the step, from 0 on.
    pub step: u64,
    /// The epoch of the batch.
    pub epoch: u64,
    /// The objective: `fit` + `reg`.
    pub loss: f64,
    /// The loss of the outputs and the penalties of layers and inputs.
    pub fit: f64,
    /// The regulariser's term.
    pub reg: f64,
    /// The learning rate.
    pub lr: f64,
    /// The accuracy on the batch; NaN for real targets.
    pub accuracy: f64,
    /// The duration of the step.
    pub time: Duration,
    /// The values that the regulariser logs and the penalties, by name.
    pub extra: Vec<(String, f64)>,
}

/// How [`Trainer::fit`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All batches were used.
    Finished,
    /// The stop flag was set.
    Stopped,
    /// Early stopping: the evaluation loss has not improved for a number of evaluations.
    Converged,
}

/// A model in training, with all that the next step depends on.
///
/// In a step the [`Method`] computes a gradient of the [loss of the batch as a function](Trainer::batch_loss), and the
/// [`Optimizer`] updates the model with it.
pub struct Trainer {
    /// The model in training.
    pub model: Model,
    /// The loss of outputs and targets.
    pub loss: Box<dyn Loss>,
    /// Penalties on the network as a function of its inputs.
    pub penalties: Vec<Box<dyn Penalty>>,
    /// The penalty on the weights.
    pub regulariser: Option<Box<dyn Regulariser>>,
    /// How a gradient is made from the loss.
    pub method: Box<dyn Method>,
    /// How gradients change the model.
    pub optimizer: Optimizer,
    /// The base learning rate.
    pub lr: f64,
    /// The learning rate over time.
    pub schedule: Schedule,
    /// Reduces the learning rate further when the evaluation loss does not improve.
    pub plateau: Option<Plateau>,
    /// Ends training when the evaluation loss does not improve.
    pub early_stopping: Option<EarlyStopping>,
    key: Key,
    step: u64,
    wanted: Option<Box<dyn Fn(u64) -> bool + Send>>,
    observed: Option<Observed>,
}

impl Trainer {
    /// A trainer at step 0 with cross-entropy and a constant learning rate. `key` is the seed of the random draws of
    /// the run; those of a step depend only on the key and the number of the step.
    pub fn new(model: Model, optimizer: Optimizer, lr: f64, key: Key) -> Trainer {
        Trainer {
            model,
            loss: Box::new(CrossEntropy::default()),
            penalties: Vec::new(),
            regulariser: None,
            method: Box::new(Plain),
            optimizer,
            lr,
            schedule: Schedule::Constant,
            plateau: None,
            early_stopping: None,
            key: key.stream("train"),
            step: 0,
            wanted: None,
            observed: None,
        }
    }

    /// The same trainer with another loss.
    pub fn loss(self, loss: impl Loss + 'static) -> Trainer {
        Trainer { loss: Box::new(loss), ..self }
    }

    /// The same trainer with one more penalty on the network as a function of its inputs.
    pub fn penalty(mut self, penalty: impl Penalty + 'static) -> Trainer {
        self.penalties.push(Box::new(penalty));
        self
    }

    /// The same trainer with a regulariser.
    pub fn regulariser(self, regulariser: impl Regulariser) -> Trainer {
        Trainer { regulariser: Some(Box::new(regulariser)), ..self }
    }

    /// The same trainer with another method.
    pub fn method(self, method: impl Method + 'static) -> Trainer {
        Trainer { method: Box::new(method), ..self }
    }

    /// The same trainer with a schedule.
    pub fn schedule(self, schedule: Schedule) -> Trainer {
        Trainer { schedule, ..self }
    }

    /// The regulariser, if it is an `R`.
    pub fn regulariser_as<R: Regulariser>(&self) -> Option<&R> {
        let regulariser: &dyn Any = &**self.regulariser.as_ref()?;
        regulariser.downcast_ref()
    }

    /// Keeps an [`Observed`] of each step whose number `wanted` accepts, until the next step. This does not change
    /// training.
    pub fn observe(&mut self, wanted: impl Fn(u64) -> bool + Send + 'static) {
        self.wanted = Some(Box::new(wanted));
    }

    /// The record of the last step, if it was kept: see [`Trainer::observe`].
    pub fn observed(&self) -> Option<&Observed> {
        self.observed.as_ref()
    }

    /// The number of completed steps, which is the number of the next one.
    pub fn step_count(&self) -> u64 {
        self.step
    }

    /// The progress of training: the number of the next step, and its learning rate.
    pub fn now(&self) -> Step {
        let scale = self.plateau.as_ref().map_or(1.0, Plateau::scale);
        Step { index: self.step, lr: scale * self.schedule.lr(self.lr, self.step) }
    }

    /// Takes the loss of an evaluation, for [`Plateau`] and [`EarlyStopping`].
    pub fn judge(&mut self, loss: f64) {
        self.plateau.iter_mut().for_each(|plateau| plateau.judge(loss));
        self.early_stopping.iter_mut().for_each(|stopping| stopping.judge(loss));
    }

    /// The loss that the next step minimises on a batch, as a function. Frozen parameters are constants.
    pub fn batch_loss(&self, batch: &Batch) -> BatchLoss {
        let context = Context::train(self.key.step(self.step));
        let watched = self.wanted.as_ref().is_some_and(|wanted| wanted(self.step));
        BatchLoss {
            model: self.optimizer.freeze(&self.model),
            batch: batch.clone(),
            loss: self.loss.clone(),
            penalties: self.penalties.clone(),
            regulariser: self.regulariser.clone(),
            context: if watched { context.tapped() } else { context },
            step: self.now(),
        }
    }

    /// The gradient of the next step on a batch, before clipping and weight decay. Only the method's state changes.
    ///
    /// # Errors
    /// As [`Trainer::step`].
    ///
    /// # Panics
    /// If the inputs do not fit the model.
    pub fn gradient(&mut self, batch: &Batch) -> Result<Gradient, Error> {
        self.method.gradient(&self.batch_loss(batch))
    }

    /// The model for evaluation: the [averaged](Trainer::averaged) one if there is an average, else the model itself,
    /// outside every graph.
    pub fn trained(&self) -> Model {
        self.averaged().unwrap_or_else(|| self.model.detached())
    }

    /// Evaluates [`Trainer::trained`] on batches, with the training loss: see [`Loss::evaluation`].
    ///
    /// # Errors
    /// If the loss does not accept outputs or targets.
    ///
    /// # Panics
    /// If the inputs do not fit the model.
    pub fn evaluate(&self, batches: impl IntoIterator<Item = Batch>) -> Result<Evaluation, Error> {
        evaluate_loss(&self.trained(), &*self.loss, batches)
    }

    /// The model with the moving average of its parameters, which [`Average`] keeps; `None` without one, or before the
    /// first step. Running statistics are those of the model itself.
    pub fn averaged(&self) -> Option<Model> {
        let averages = self.optimizer.slot(Average::NAME, "value");
        if averages.is_empty() || self.step == 0 {
            return None;
        }
        Some(self.model.map(|name, p| averages.get(name).unwrap_or(p).detach()))
    }

    /// Trains on each batch until there are no more batches, `stop` is set, or early stopping ends training. These are
    /// checked before each step, so that the trainer returns between two steps and can be saved. `after` is called
    /// after each step.
    ///
    /// # Errors
    /// As [`Trainer::step`], and the errors of `after`.
    pub fn fit<E: From<Error>>(
        &mut self,
        batches: impl IntoIterator<Item = Batch>,
        stop: &AtomicBool,
        mut after: impl FnMut(&mut Trainer, &StepMetrics) -> Result<(), E>,
    ) -> Result<Outcome, E> {
        self.optimizer.check(&self.model)?;
        for batch in batches {
            if stop.load(Ordering::Relaxed) {
                return Ok(Outcome::Stopped);
            }
            if self.early_stopping.as_ref().is_some_and(EarlyStopping::ended) {
                return Ok(Outcome::Converged);
            }
            let metrics = self.step(&batch)?;
            after(self, &metrics)?;
        }
        Ok(Outcome::Finished)
    }

    /// One step: forward, backward, update.
    ///
    /// # Errors
    /// If the loss or a gradient is not finite (the error names the first operation with such a result), a parameter
    /// has no gradient, loss, penalties or regulariser fail, or the batch has labels that the model has no class for.
    /// The trainer is then as before the step. Also if the update itself overflows; the model is then lost.
    ///
    /// # Panics
    /// If the inputs do not fit the model.
    pub fn step(&mut self, batch: &Batch) -> Result<StepMetrics, Error> {
        let start = Instant::now();
        self.observed = None;
        self.optimizer.prepare(&self.model);
        let loss = self.batch_loss(batch);
        let gradient = self.method.gradient(&loss)?;
        let Step { index: step, lr } = loss.step;
        self.observed = Observed::new(&loss, &gradient);
        let Gradient { numbers, parameters, state, .. } = gradient;
        // The weights are not shared here, so they are updated in place.
        drop(loss);
        batch_loss::adopt(&mut self.model, &state.model);
        drop(state.model);
        (self.loss, self.penalties, self.regulariser) = (state.loss, state.penalties, state.regulariser);
        self.optimizer.update(&mut self.model, parameters, lr)?;
        self.check_update(lr)?;
        self.step += 1;
        let Numbers { loss, fit, reg, accuracy, terms } = numbers;
        let mut extra = self.regulariser.as_ref().map_or(Vec::new(), |r| r.metrics());
        extra.extend(terms.into_iter().skip(1));
        let time = start.elapsed();
        Ok(StepMetrics { step, epoch: batch.epoch, loss, fit, reg, lr, accuracy, time, extra })
    }

    /// Whether every weight and statistic is finite after the update.
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
}

#[cfg(test)]
mod tests;
