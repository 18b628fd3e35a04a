//! Meta-learning: parameters from which a few steps of gradient descent solve a new task.
//!
//! A [`Task`] has a support batch, to adapt to, and a query batch, to be evaluated on. [`Adaptation`] is the inner loop, a
//! differentiable function of the model; [`MetaTrainer`] is the outer one, which minimises the query loss after
//! adaptation. [`GradientNoise`] is DropGrad.
//!
//! It is not a [`Method`](crate::Method) of [`Trainer`](crate::Trainer): a step has several pairs of batches instead of
//! one batch, and what the optimiser updates includes Meta-SGD's rates, which are not part of the model.
//!
//! Batch norm always uses the statistics of the batch, also in evaluation, as in the published code of MAML and DropGrad;
//! its scale and shift adapt like other parameters, and the running statistics never change. Layers with random draws
//! (dropout) draw in evaluation, too.

mod adapt;
mod evaluate;
mod model;
mod noise;
mod trainer;

pub use adapt::{Adaptation, Factors, LEARNERS, Learner};
pub use evaluate::{MeanInterval, MetaEvaluation};
pub use model::MetaModel;
pub use noise::{GradientNoise, NOISES, NoiseKind, NoiseSchedule};
pub use trainer::{MetaGradient, MetaMetrics, MetaTrainer, TaskFactors};

use crate::train::Batch;

/// A task: examples to adapt to, and other examples to be evaluated on.
#[derive(Clone, Debug)]
pub struct Task {
    /// Adaptation minimises the loss on these.
    pub support: Batch,
    /// Meta-training minimises the loss on these after adaptation.
    pub query: Batch,
}
