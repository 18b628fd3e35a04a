//! How good a model is on data it does not learn from.

use super::Batch;
use crate::loss::cross_entropy;
use crate::metrics::{ConfusionMatrix, label_ranks};
use crate::models::Model;
use crate::module::{Context, Module};

/// The outcome of [`evaluate`].
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// How many images were seen.
    pub images: usize,
    /// The mean cross-entropy, without label smoothing.
    pub loss: f64,
    /// The part of the images whose label has the largest logit.
    pub accuracy: f64,
    /// The part of the images whose label is among the five largest logits.
    pub top5: f64,
    /// How often each class was taken for each other.
    pub confusion: ConfusionMatrix,
}

/// Evaluates a model on batches: running statistics, no dropout, nothing recorded. Without images all is NaN.
///
/// # Panics
/// If a batch does not fit the model.
pub fn evaluate(model: &Model, batches: impl IntoIterator<Item = Batch>) -> Evaluation {
    let mut model = model.detached();
    let mut confusion = ConfusionMatrix::new(model.classes);
    let (mut loss, mut ranks) = (0.0, Vec::new());
    for batch in batches {
        let logits = model.forward(&batch.images, &mut Context::eval());
        loss += cross_entropy(&logits, &batch.labels, 0.0).item() * batch.labels.len() as f64;
        ranks.extend(label_ranks(&logits, &batch.labels));
        confusion.add(&logits, &batch.labels);
    }
    let images = ranks.len();
    let top = |k: usize| ranks.iter().filter(|&&rank| rank < k).count() as f64 / images as f64;
    Evaluation { images, loss: loss / images as f64, accuracy: top(1), top5: top(5), confusion }
}
