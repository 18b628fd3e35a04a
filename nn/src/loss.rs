//! The loss of a classifier.

use autograd::{CrossEntropy, Index, Tensor};

/// The mean cross-entropy of `logits` [N, classes] and labels: of softmax(logits) against
/// (1 - a) one-hot + a / classes, a the label smoothing (Szegedy et al. 2016, arXiv 1512.00567).
///
/// # Panics
/// If the logits are not [N, classes] for N labels, or a label is no class.
#[track_caller]
pub fn cross_entropy(logits: &Tensor, labels: &[u32], smoothing: f64) -> Tensor {
    let labels = Index::new(labels, [labels.len()]);
    logits.cross_entropy(&labels, CrossEntropy { label_smoothing: smoothing, ..CrossEntropy::default() })
}
