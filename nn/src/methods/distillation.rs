//! Distillation from trained networks.

use autograd::Tensor;

use super::Method;
use crate::error::Error;
use crate::metrics::accuracy;
use crate::models::Model;
use crate::module::{Context, Module};
use crate::train::{Batch, BatchLoss, Gradient, Targets};

/// Another method with the outputs of teachers as targets: the distribution of an input is the mean of the teachers'
/// softmaxes, in evaluation mode and outside every graph. With cross-entropy the loss is
///
///   - mean_n sum_c q_nc log softmax(z_n)_c,   q the mean of softmax(teacher's logits)
///
/// as in the published BoolNet runs (arXiv 2106.06991), where it replaces the loss of the labels. The accuracy of a step
/// is that on the labels.
pub struct Distillation {
    /// Trained networks with the inputs and classes of the network in training.
    pub teachers: Vec<Model>,
    /// The method that computes the gradient.
    pub inner: Box<dyn Method>,
}

impl Distillation {
    /// The targets of a batch.
    ///
    /// # Errors
    /// If there is no teacher, or a teacher does not fit the inputs.
    pub fn targets(&self, batch: &Batch, classes: usize) -> Result<Tensor, Error> {
        let softmax = |teacher: &Model| {
            let inputs = &batch.inputs;
            let Model { name, input, classes: known, .. } = teacher;
            if inputs.shape()[1..] != *input || *known != classes {
                return Err(Error::Config(format!(
                    "distillation: teacher {name} takes inputs {input:?} and has {known} classes; the batch has inputs {} \
                     and {classes} classes",
                    inputs.shape()
                )));
            }
            let logits = teacher.detached().forward(&inputs.to_dtype(teacher.dtype()), &mut Context::eval());
            Ok(logits.softmax(1).to_dtype(inputs.dtype()))
        };
        let mut each = self.teachers.iter().map(softmax);
        let first =
            each.next().unwrap_or_else(|| Err(Error::Config("distillation: there is no teacher".into())));
        let sum = each.try_fold(first?, |sum, q| Ok::<_, Error>(sum + q?))?;
        Ok(sum * (1.0 / self.teachers.len() as f64))
    }
}

impl Method for Distillation {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn gradient(&mut self, loss: &BatchLoss) -> Result<Gradient, Error> {
        let targets = Targets::Distributions(self.targets(&loss.batch, loss.model.classes)?);
        let batch = Batch { targets, ..loss.batch.clone() };
        let mut gradient = self.inner.gradient(&BatchLoss { batch, ..loss.clone() })?;
        if let Some(labels) = loss.batch.targets.labels() {
            gradient.numbers.accuracy = accuracy(&gradient.outputs, &labels);
        }
        Ok(gradient)
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        self.inner.state()
    }

    fn load_state(&mut self, state: &[(String, Tensor)]) -> Result<(), Error> {
        self.inner.load_state(state)
    }
}
