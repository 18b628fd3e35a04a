//! Adversarial training.

use autograd::Tensor;

use super::Method;
use crate::attack::Attack;
use crate::error::Error;
use crate::train::{BatchLoss, Gradient};

/// Adversarial training (Madry et al., ICLR 2018, arXiv 1706.06083; the robust loss of Bietti et al., ICML 2019): the
/// inputs of the batch are replaced by attacked ones, and another method computes the gradient there. Losses and
/// accuracies that a step reports are those on attacked inputs; penalties are evaluated there, too.
///
/// ```
/// use nn::{AdversarialTraining, Attack, Sam};
/// let method = AdversarialTraining::new(Attack::l2(1.0), Sam::default());
/// ```
pub struct AdversarialTraining {
    /// The attack.
    pub attack: Attack,
    /// The method on attacked inputs.
    pub method: Box<dyn Method>,
}

impl AdversarialTraining {
    /// The method on inputs after the attack.
    pub fn new(attack: Attack, method: impl Method + 'static) -> AdversarialTraining {
        AdversarialTraining { attack, method: Box::new(method) }
    }
}

impl Method for AdversarialTraining {
    fn name(&self) -> &str {
        "adversarial-training"
    }

    fn gradient(&mut self, loss: &BatchLoss) -> Result<Gradient, Error> {
        self.method.gradient(&loss.on(self.attack.inputs(loss)?))
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        self.method.state()
    }

    fn load_state(&mut self, state: &[(String, Tensor)]) -> Result<(), Error> {
        self.method.load_state(state)
    }
}
