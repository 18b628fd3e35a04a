//! The gradient of a step, with the losses of its evaluation.

use std::collections::BTreeMap;
use std::ops::Deref;

use autograd::Tensor;

use super::Targets;
use super::batch_loss::{Pass, State};
use crate::error::Error;
use crate::metrics::accuracy;

/// The losses and the accuracy of an evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbers {
    /// The objective: `fit` + `reg`.
    pub loss: f64,
    /// The loss of the outputs and the penalties of layers and inputs.
    pub fit: f64,
    /// The regulariser's term; 0 without one.
    pub reg: f64,
    /// The accuracy on the batch; NaN for real targets.
    pub accuracy: f64,
    /// The terms of `fit`, by name.
    pub terms: Vec<(String, f64)>,
}

/// The gradient of a [`BatchLoss`](super::BatchLoss) by its parameters, with the losses of the evaluation.
#[derive(Clone)]
pub struct Gradient {
    /// Loss and accuracy.
    pub numbers: Numbers,
    /// The outputs of the network, outside every graph.
    pub outputs: Tensor,
    /// The gradient by each parameter, without weight decay.
    pub parameters: BTreeMap<String, Tensor>,
    pub(crate) state: State,
    pub(super) parts: Option<Parts>,
}

/// What an evaluation keeps for instruments, with its graph.
#[derive(Clone)]
pub(super) struct Parts {
    pub fit: Tensor,
    pub penalty: Option<Tensor>,
    pub relus: Vec<(String, Tensor)>,
}

impl Gradient {
    /// The same evaluation with other gradients.
    pub fn with_parameters(self, parameters: BTreeMap<String, Tensor>) -> Gradient {
        Gradient { parameters, ..self }
    }

    /// The same losses and gradients with the state after another evaluation, which training then keeps.
    pub fn with_state_of(self, other: &Gradient) -> Gradient {
        Gradient { state: other.state.clone(), ..self }
    }
}

/// Loss, fit, reg and accuracy are read directly.
impl Deref for Gradient {
    type Target = Numbers;
    fn deref(&self) -> &Numbers {
        &self.numbers
    }
}

impl Pass {
    /// The numbers of the evaluation.
    pub fn numbers(&self, targets: &Targets) -> Numbers {
        let labels = targets.labels();
        Numbers {
            loss: self.loss.item(),
            fit: self.fit.item(),
            reg: self.regulariser.as_ref().map_or(0.0, Tensor::item),
            accuracy: labels.map_or(f64::NAN, |labels| accuracy(&self.outputs.values, &labels)),
            terms: self.terms.iter().map(|(name, term)| (name.clone(), term.item())).collect(),
        }
    }
}

/// The gradient of a loss by each of these parameters that is a leaf of the graph. If the loss is the only one that
/// holds its graph, the reverse pass frees it step by step.
///
/// # Errors
/// If a leaf has no gradient.
pub(crate) fn of_leaves(
    loss: Tensor,
    what: &str,
    parameters: Vec<(String, &Tensor)>,
) -> Result<BTreeMap<String, Tensor>, Error> {
    let leaves: Vec<(String, &Tensor)> = parameters.into_iter().filter(|(_, p)| p.is_leaf()).collect();
    if !loss.is_tracked()
        && let Some((name, _)) = leaves.first()
    {
        let reason = format!("{what} depends on no parameter");
        return Err(Error::NoGradient { name: name.clone(), reason });
    }
    if leaves.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut gradients = loss.backward();
    let taken = |(name, p): (String, &Tensor)| match gradients.take(p) {
        Some(g) => Ok((name, g)),
        None => Err(Error::NoGradient { name, reason: gradients.reason(p) }),
    };
    leaves.into_iter().map(taken).collect()
}
