//! The bridge between the two crates that do not know one another: a CoMHE objective as a network's regulariser.

use autograd::Tensor;
use comhe::{LayerReport, LayerWeight, Objective, Step};
use nn::{Schedule, Weight};

/// An objective, with the learning rate that its step sizes follow.
pub struct Penalty {
    /// What is added to the loss.
    pub objective: Objective,
    /// The base learning rate.
    pub lr: f64,
    /// The learning rate over time.
    pub schedule: Schedule,
}

impl nn::Regulariser for Penalty {
    fn penalty(&mut self, weights: &[Weight], step: u64) -> Result<Tensor, nn::Error> {
        let step = Step { index: step, lr: self.schedule.lr(self.lr, step) };
        self.objective.penalty(&layers(weights), step).map_err(config)
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        self.objective.state()
    }

    fn load_state(&mut self, state: &[(String, Tensor)]) -> Result<(), nn::Error> {
        self.objective.load_state(state).map_err(config)
    }
}

fn config(error: comhe::Error) -> nn::Error {
    nn::Error::Config(error.to_string())
}

/// A network's weights as a regulariser sees them.
fn layers(weights: &[Weight]) -> Vec<LayerWeight<'_>> {
    let role = |role| match role {
        nn::Role::Conv => comhe::Role::Conv,
        nn::Role::Hidden => comhe::Role::Hidden,
        nn::Role::Classifier => comhe::Role::Classifier,
    };
    weights
        .iter()
        .map(|w| LayerWeight { name: &w.name, role: role(w.role), weight: &w.value, stride: w.stride })
        .collect()
}

/// The energies of all layers of a network, whatever it is trained with.
pub fn energies(
    objective: &Objective,
    weights: &[Weight],
    step: Step,
) -> Result<Vec<LayerReport>, comhe::Error> {
    objective.report(&layers(weights), step)
}
