//! The record of a training step, for instruments.

use std::collections::BTreeMap;

use autograd::Tensor;

use super::gradient::Parts;
use super::{BatchLoss, Gradient};
use crate::models::Model;
use crate::module::Module;

/// One training step: the model before the update, its batch and its gradients. Kept by
/// [`Trainer::observe`](super::Trainer::observe).
///
/// Holds the step's graph, and with it the memory of its forward pass.
pub struct Observed {
    /// The number of the step, from 0 on.
    pub step: u64,
    /// The model before the update.
    pub before: Model,
    /// The gradient of the loss by parameter, before clipping and weight decay.
    pub gradients: BTreeMap<String, Tensor>,
    /// The output of each ReLU, with units or channels on the second axis, by the path of its layer.
    pub relus: Vec<(String, Tensor)>,
    /// The loss of the batch as a function of the parameters, as the step computed it, without the regulariser and the
    /// penalties of inputs.
    pub loss: BatchLoss,
    fit: Tensor,
    penalty: Option<Tensor>,
}

impl Observed {
    /// The record of a step, if its evaluation kept one.
    pub(super) fn new(loss: &BatchLoss, gradient: &Gradient) -> Option<Observed> {
        let Gradient { parameters, parts, .. } = gradient;
        let Parts { fit, penalty, relus } = parts.clone()?;
        Some(Observed {
            step: loss.step.index,
            before: loss.model.clone(),
            gradients: parameters.clone(),
            relus,
            loss: loss.data_term(),
            fit,
            penalty,
        })
    }

    /// The gradient of the loss without the regulariser, by parameter.
    pub fn fit_gradients(&self) -> BTreeMap<String, Tensor> {
        self.of(&self.fit)
    }

    /// The gradient of the regulariser's term alone, for the parameters that it depends on; `None` without
    /// one, or if it depends on none.
    pub fn penalty_gradients(&self) -> Option<BTreeMap<String, Tensor>> {
        self.penalty.as_ref().filter(|penalty| penalty.is_tracked()).map(|penalty| self.of(penalty))
    }

    fn of(&self, term: &Tensor) -> BTreeMap<String, Tensor> {
        if !term.is_tracked() {
            return BTreeMap::new();
        }
        let mut found = term.clone().sum(..).backward();
        let parameters = self.before.named_parameters().into_iter();
        parameters.filter_map(|(name, p)| Some((name, found.take(p)?))).collect()
    }
}
