//! The gradient of one batch, for those who want to look at it.

use autograd::Tensor;

use super::{Batch, Trainer};
use crate::error::Error;

/// What a step of training would see before its update.
#[derive(Clone, Debug)]
pub struct Gradient {
    /// What is minimised: `fit` + `reg`.
    pub loss: f64,
    /// The cross-entropy, with label smoothing, and the network's own penalties.
    pub fit: f64,
    /// The regulariser's term.
    pub reg: f64,
    /// The accuracy on the batch.
    pub accuracy: f64,
    /// The gradient of the loss by each parameter, without weight decay, in the order of the names.
    pub parameters: Vec<(String, Tensor)>,
}

impl Trainer {
    /// The loss of a batch and its gradient by all parameters. Nothing is updated but the running statistics of batch
    /// norm.
    ///
    /// # Errors
    /// As [`Trainer::step`].
    ///
    /// # Panics
    /// If the images do not fit the model.
    pub fn gradient(&mut self, batch: &Batch) -> Result<Gradient, Error> {
        let (values, gradients, _) = self.gradients(batch)?;
        Ok(Gradient {
            loss: values.loss,
            fit: values.fit,
            reg: values.reg,
            accuracy: values.accuracy,
            parameters: gradients.into_iter().collect(),
        })
    }
}
