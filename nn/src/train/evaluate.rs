//! Evaluation of a model on test data.

use super::{Batch, Targets};
use crate::error::Error;
use crate::losses::{CrossEntropy, Loss};
use crate::metrics::{ConfusionMatrix, RegressionErrors, label_ranks};
use crate::models::Model;
use crate::module::{Context, Module};

use super::BatchLoss;

/// The outcome of [`evaluate`].
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// The number of inputs.
    pub images: usize,
    /// The mean loss; of [`evaluate`] the cross-entropy.
    pub loss: f64,
    /// The share of the inputs whose label has the largest logit; NaN for real targets.
    pub accuracy: f64,
    /// The share of the inputs whose label is among the five largest logits; NaN for real targets.
    pub top5: f64,
    /// The confusion matrix; empty for real targets.
    pub confusion: ConfusionMatrix,
    /// The errors of real targets; `None` for classes.
    pub regression: Option<RegressionErrors>,
}

/// Evaluates a classifier on batches: with running statistics, without dropout, and without recording. Without inputs
/// all results are NaN.
///
/// # Panics
/// If a batch does not fit the model, or its targets are not classes of it.
pub fn evaluate(model: &Model, batches: impl IntoIterator<Item = Batch>) -> Evaluation {
    evaluate_loss(model, &CrossEntropy::default(), batches)
        .unwrap_or_else(|error| panic!("evaluate: {error}"))
}

/// As [`evaluate`], with the [evaluation](Loss::evaluation) form of any loss.
///
/// # Errors
/// If the loss does not accept outputs or targets.
///
/// # Panics
/// If the inputs of a batch do not fit the model.
pub fn evaluate_loss(
    model: &Model,
    loss: &dyn Loss,
    batches: impl IntoIterator<Item = Batch>,
) -> Result<Evaluation, Error> {
    let (model, loss) = (model.detached(), loss.evaluation());
    let mut confusion = ConfusionMatrix::new(model.classes);
    let mut regression: Option<RegressionErrors> = None;
    let (mut sum, mut images, mut ranks) = (0.0, 0, Vec::new());
    for batch in batches {
        let n = batch.len();
        let one = BatchLoss {
            loss: loss.clone(),
            context: Context::eval(),
            ..BatchLoss::new(model.clone(), batch)
        };
        let pass = one.pass()?;
        let outputs = &pass.outputs.values;
        sum += pass.terms[0].1.item() * n as f64;
        images += n;
        if let Some(labels) = one.batch.targets.labels() {
            ranks.extend(label_ranks(outputs, &labels));
            confusion.add(outputs, &labels);
        }
        if let Targets::Values(y) = &one.batch.targets {
            regression.get_or_insert_default().add(outputs, y);
        }
    }
    let top = |k: usize| ranks.iter().filter(|&&rank| rank < k).count() as f64 / ranks.len() as f64;
    let loss = sum / images as f64;
    Ok(Evaluation { images, loss, accuracy: top(1), top5: top(5), confusion, regression })
}
