//! The outer loop.

use std::collections::BTreeMap;

use autograd::{Key, Tensor, detect_anomaly};

use super::{Adaptation, Factors, GradientNoise, MetaModel, Task};
use crate::archive::Archive;
use crate::error::Error;
use crate::losses::{CrossEntropy, Loss};
use crate::models::Model;
use crate::module::{Context, Module};
use crate::optim::{Adam, Optimizer, Schedule};
use crate::state::load_state_dict;
use crate::train::{Batch, BatchLoss, Step, of_leaves};

/// As [`Factors`], with the position of the task in the meta-batch first.
pub type TaskFactors<'a> = dyn Fn(usize, usize, &str, &Tensor) -> Option<Tensor> + 'a;

/// The losses of a meta-batch before the update: means over its tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MetaMetrics {
    /// The number of the meta-step, from 0 on.
    pub step: u64,
    /// The loss on the query examples after adaptation.
    pub query_loss: f64,
    /// The accuracy there; NaN for real targets.
    pub query_accuracy: f64,
    /// The loss on the support examples after adaptation: below `query_loss` if adaptation overfits.
    pub support_loss: f64,
}

/// The gradient of a meta-batch by the meta-learned parameters.
#[derive(Clone, Debug)]
pub struct MetaGradient {
    /// By name; frozen parameters have none.
    pub parameters: BTreeMap<String, Tensor>,
    /// The losses.
    pub metrics: MetaMetrics,
}

/// A model in meta-training, with all that the next step depends on. A step adapts a copy of the model to each task and
/// updates the model by the gradient of
///
///   sum over the tasks of the query loss after adaptation.
///
/// Adaptation and query loss are those of [`BatchLoss`] in training mode, without penalties. A loss with state keeps the
/// state that it has.
///
/// ```
/// use autograd::{DType, Key, Tensor};
/// use nn::meta::{MetaTrainer, Task};
/// use nn::{Batch, Mse, Targets};
///
/// // Lines y = a x through the origin with different slopes.
/// let batch = |slope: f64, key: Key| {
///     let x = Tensor::normal([8, 1, 1, 1], DType::F64, key);
///     let y = Targets::Values(&x.reshape([8, 1]) * slope);
///     Batch::new(x, y)
/// };
/// let task = |i: u64| {
///     let (slope, key) = (1.0 + i as f64, Key::new(i));
///     Task { support: batch(slope, key.stream("support")), query: batch(slope, key.stream("query")) }
/// };
/// let model = nn::models::build("mlp40", [1, 1, 1], 1, 1, Key::new(0), DType::F64)?;
/// let mut trainer = MetaTrainer::new(model, Key::new(1)).loss(Mse);
/// let before = trainer.step(&[task(0), task(1)])?;
/// for _ in 0..50 {
///     trainer.step(&[task(0), task(1)])?;
/// }
/// assert!(trainer.step(&[task(0), task(1)])?.query_loss < 0.5 * before.query_loss);
/// # Ok::<(), nn::Error>(())
/// ```
pub struct MetaTrainer {
    /// The model and Meta-SGD's rates.
    pub model: MetaModel,
    /// The inner loop.
    pub adaptation: Adaptation,
    /// The noise on its gradients; evaluation has none.
    pub noise: GradientNoise,
    /// The loss of both loops.
    pub loss: Box<dyn Loss>,
    /// The meta-optimiser.
    pub optimizer: Optimizer,
    /// Its learning rate, which the schedule changes.
    pub lr: f64,
    /// The learning rate over the steps.
    pub schedule: Schedule,
    /// Whether the sum over tasks is divided by their number. MAML's paper and the code of DropGrad have the sum, and so
    /// has the default. Adam's steps are the same for both (but for its eps); with SGD the sum is a larger learning rate.
    pub mean: bool,
    key: Key,
    step: u64,
}

impl MetaTrainer {
    /// A trainer at step 0: second-order MAML with cross-entropy and Adam at 0.001. `key` is the seed of the random draws
    /// of the run.
    pub fn new(model: Model, key: Key) -> MetaTrainer {
        let adaptation = Adaptation::default();
        MetaTrainer {
            model: MetaModel::new(model, &adaptation),
            adaptation,
            noise: GradientNoise::default(),
            loss: Box::new(CrossEntropy::default()),
            optimizer: Optimizer::new(Adam::default()),
            lr: 0.001,
            schedule: Schedule::Constant,
            mean: false,
            key: key.stream("meta"),
            step: 0,
        }
    }

    /// The same trainer with another loss.
    pub fn loss(self, loss: impl Loss + 'static) -> MetaTrainer {
        MetaTrainer { loss: Box::new(loss), ..self }
    }

    /// The same trainer with another inner loop. Meta-SGD's rates begin anew.
    pub fn adaptation(self, adaptation: Adaptation) -> MetaTrainer {
        MetaTrainer { model: MetaModel::new(self.model.model, &adaptation), adaptation, ..self }
    }

    /// The same trainer with noise on the gradients of adaptation.
    pub fn noise(self, noise: GradientNoise) -> MetaTrainer {
        MetaTrainer { noise, ..self }
    }

    /// The same trainer with another meta-optimiser and its learning rate.
    pub fn optimizer(self, optimizer: Optimizer, lr: f64) -> MetaTrainer {
        MetaTrainer { optimizer, lr, ..self }
    }

    /// The same trainer with another learning-rate schedule.
    pub fn schedule(self, schedule: Schedule) -> MetaTrainer {
        MetaTrainer { schedule, ..self }
    }

    /// The same trainer with the mean over tasks in place of their sum.
    pub fn mean(self) -> MetaTrainer {
        MetaTrainer { mean: true, ..self }
    }

    /// The number of completed steps, which is the number of the next one.
    pub fn step_count(&self) -> u64 {
        self.step
    }

    /// The learning rate of the next step.
    pub fn rate(&self) -> f64 {
        self.schedule.lr(self.lr, self.step)
    }

    /// Checks all settings.
    ///
    /// # Errors
    /// If one is out of range, or does not fit the model.
    pub fn check(&self) -> Result<(), Error> {
        self.adaptation.check(&self.model.model)?;
        self.noise.check()?;
        self.optimizer.check(&self.model)
    }

    /// The loss of a batch of task `task` as a function, in the next step.
    pub(super) fn batch_loss(&self, model: &Model, batch: &Batch, task: usize) -> BatchLoss {
        let key = self.key.stream("task").stream(&format!("{task} of {}", self.step));
        BatchLoss {
            loss: self.loss.clone(),
            context: Context::train(key),
            step: Step { index: self.step, lr: self.rate() },
            ..BatchLoss::new(model.clone(), batch.clone())
        }
    }

    /// The factors that the next step draws: a function of the key of the run, step, task, inner step and name.
    fn factor(&self, task: usize, k: usize, name: &str, g: &Tensor) -> Option<Tensor> {
        let key = self.key.stream("noise").stream(&task.to_string()).stream(&k.to_string()).stream(name);
        self.noise.factor(g.shape(), g.dtype(), key.step(self.step), self.step)
    }

    /// The meta-gradient of the next step.
    ///
    /// # Errors
    /// As [`MetaTrainer::step`].
    ///
    /// # Panics
    /// As [`Adaptation::adapt`].
    pub fn gradient(&self, tasks: &[Task]) -> Result<MetaGradient, Error> {
        self.gradient_with(tasks, &|task, k, name, g| self.factor(task, k, name, g))
    }

    /// The meta-gradient with given factors in place of [`MetaTrainer::noise`].
    ///
    /// # Errors
    /// As [`MetaTrainer::step`].
    ///
    /// # Panics
    /// As [`Adaptation::adapt`].
    pub fn gradient_with(&self, tasks: &[Task], factors: &TaskFactors<'_>) -> Result<MetaGradient, Error> {
        if tasks.is_empty() {
            return Err(Error::Config("a meta-batch without tasks; at least 1 is needed".to_string()));
        }
        let mut sum = BTreeMap::new();
        let mut metrics = MetaMetrics { step: self.step, ..MetaMetrics::default() };
        let n = tasks.len() as f64;
        for (i, task) in tasks.iter().enumerate() {
            let one = |k: usize, name: &str, g: &Tensor| factors(i, k, name, g);
            let MetaGradient { parameters, metrics: m } = self.of_task(i, task, &one)?;
            if !m.query_loss.is_finite() || !parameters.values().all(Tensor::is_finite) {
                let anomaly = detect_anomaly(|| drop(self.of_task(i, task, &one))).err();
                let what = format!("the query loss of task {i} of the meta-batch, or its gradient,");
                return Err(Error::NotFinite { step: self.step, what, anomaly });
            }
            for (name, g) in parameters {
                let g = if self.mean { g / n } else { g };
                match sum.get_mut(&name) {
                    Some(sum) => *sum = &*sum + g,
                    None => drop(sum.insert(name, g)),
                }
            }
            metrics.query_loss += m.query_loss / n;
            metrics.query_accuracy += m.query_accuracy / n;
            metrics.support_loss += m.support_loss / n;
        }
        Ok(MetaGradient { parameters: sum, metrics })
    }

    /// The gradient of the query loss of a task by each parameter that is not frozen.
    fn of_task(&self, i: usize, task: &Task, factors: &Factors<'_>) -> Result<MetaGradient, Error> {
        let start = self.optimizer.freeze(&self.model);
        let support = self.batch_loss(&start.model, &task.support, i);
        let adapted = self.adaptation.adapt(&start, &support, factors)?;
        let after = support.redrawn(self.adaptation.steps as u64);
        let support_loss = BatchLoss { model: adapted.detached(), ..after.clone() }.pass()?.loss.item();
        let query = BatchLoss { model: adapted, batch: task.query.clone(), ..after };
        let pass = query.pass()?;
        let numbers = pass.numbers(&task.query.targets);
        let loss = pass.loss.clone();
        // The graph is then not shared, so that the reverse pass frees it step by step.
        drop((pass, query));
        let metrics = MetaMetrics {
            step: self.step,
            query_loss: numbers.loss,
            query_accuracy: numbers.accuracy,
            support_loss,
        };
        let parameters = of_leaves(loss, "the query loss", start.named_parameters())?;
        Ok(MetaGradient { parameters, metrics })
    }

    /// One step: adapts to each task, and updates the model by the meta-gradient.
    ///
    /// # Errors
    /// If a query loss or the meta-gradient is not finite, a parameter has no gradient, the loss fails, or there are no
    /// tasks. The trainer is then as before the step. Also if the update itself overflows; the model is then lost.
    ///
    /// # Panics
    /// As [`Adaptation::adapt`].
    pub fn step(&mut self, tasks: &[Task]) -> Result<MetaMetrics, Error> {
        let MetaGradient { parameters, metrics } = self.gradient(tasks)?;
        let lr = self.rate();
        self.optimizer.update(&mut self.model, parameters, lr)?;
        for (name, t) in self.model.named_parameters() {
            if !t.is_finite() {
                return Err(Error::Overflow { step: self.step, name, lr });
            }
        }
        self.step += 1;
        Ok(metrics)
    }

    /// All that a resumed run needs besides its settings: `model.*` (with `model.rates.*`), `optimizer.*`, and the step in
    /// the metadata.
    pub fn checkpoint(&self) -> Archive {
        let mut archive = Archive::default();
        archive.add("model", self.model.state_dict());
        archive.add("optimizer", self.optimizer.state());
        archive.metadata.insert("step".to_string(), self.step.to_string());
        archive
    }

    /// Resumes from a checkpoint of a trainer with the same settings: the following steps are bitwise identical to those
    /// of the uninterrupted run.
    ///
    /// # Errors
    /// If tensors are missing, unexpected or of another shape; nothing has then changed.
    pub fn restore(&mut self, archive: &Archive) -> Result<(), Error> {
        let Some(step) = archive.metadata.get("step").and_then(|step| step.parse().ok()) else {
            return Err(Error::Format("not a checkpoint: its metadata has no step".to_string()));
        };
        let (mut model, mut optimizer) = (self.model.clone(), self.optimizer.clone());
        load_state_dict(&mut model, &archive.part("model"))?;
        optimizer.load_state(&model, &archive.part("optimizer"))?;
        (self.model, self.optimizer, self.step) = (model, optimizer, step);
        Ok(())
    }
}
