//! Adaptation to a task: gradient descent as a differentiable function of where it starts.

use autograd::Tensor;
use registry::Row;

use super::MetaModel;
use crate::error::Error;
use crate::models::{Model, Role};
use crate::module::Module;
use crate::train::BatchLoss;

/// What meta-training learns and how far it differentiates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Learner {
    /// Model-agnostic meta-learning (Finn, Abbeel, Levine, ICML 2017, arXiv 1703.03400), second order: the meta-gradient
    /// passes through the gradients of adaptation.
    #[default]
    Maml,
    /// First-order MAML (the same paper): the gradients of adaptation are constants, so that the meta-gradient is that of
    /// the query loss at the adapted parameters.
    FirstOrder,
    /// Meta-SGD (Li, Zhou, Chen, Li 2017, arXiv 1707.03141): second order, and the rate of each element of each parameter
    /// is learned, too.
    MetaSgd,
    /// Almost no inner loop (Raghu, Raghu, Bengio, Vinyals, ICLR 2020, arXiv 1909.09157): second order, and only the last
    /// fully connected layer adapts.
    Anil,
}

/// Every learner, by name, the default first.
pub static LEARNERS: &[Row<Learner>] = &[
    Row { name: "maml", help: "second-order MAML", settings: &[], make: Learner::Maml },
    Row {
        name: "first-order",
        help: "MAML without second derivatives: less time and memory",
        settings: &[],
        make: Learner::FirstOrder,
    },
    Row {
        name: "meta-sgd",
        help: "second-order MAML with a learned rate for each element of each parameter",
        settings: &[],
        make: Learner::MetaSgd,
    },
    Row {
        name: "anil",
        help: "second-order MAML in which only the last fully connected layer adapts",
        settings: &[],
        make: Learner::Anil,
    },
];

/// The factors of a gradient of adaptation, from the number of the inner step, the parameter's name and the gradient;
/// `None` for no change. They are constants of the meta-gradient.
pub type Factors<'a> = dyn Fn(usize, &str, &Tensor) -> Option<Tensor> + 'a;

/// Gradient descent on the support loss of a task, from the meta-learned parameters:
///
///   p_0 = p,   p_(k+1) = p_k - a * (n_k * g_k),   g_k the gradient of the support loss at p_k
///
/// with a rate a and factors n_k, see [`GradientNoise`](super::GradientNoise). The result is a function of p that can be
/// differentiated.
///
/// ```
/// use autograd::{DType, Key, Tensor};
/// use nn::meta::{Adaptation, MetaModel};
/// use nn::{Batch, BatchLoss};
/// let model = nn::models::build("mlp40", [1, 4, 4], 2, 1, Key::new(0), DType::F64)?;
/// let batch = Batch::new(Tensor::normal([4, 1, 4, 4], DType::F64, Key::new(1)), vec![0, 1, 0, 1]);
/// let adaptation = Adaptation { rate: 0.1, ..Adaptation::default() };
/// let start = MetaModel::new(model, &adaptation);
/// let support = BatchLoss::new(start.model.clone(), batch);
/// let adapted = adaptation.adapt(&start, &support, &|_, _, _| None)?;
/// let after = BatchLoss { model: adapted, ..support.clone() };
/// assert!(after.pass()?.loss.item() < support.pass()?.loss.item());
/// # Ok::<(), nn::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adaptation {
    /// What is learned.
    pub learner: Learner,
    /// The number of inner steps K.
    pub steps: usize,
    /// The inner rate a; of Meta-SGD, the initial one.
    pub rate: f64,
}

/// Second-order MAML with the 5 steps and the rate 0.01 of the published DropGrad code.
impl Default for Adaptation {
    fn default() -> Adaptation {
        Adaptation { learner: Learner::Maml, steps: 5, rate: 0.01 }
    }
}

impl Adaptation {
    /// Checks the settings.
    ///
    /// # Errors
    /// If the rate is not a number, if Meta-SGD has no step, or if ANIL's model has no fully connected layer.
    pub fn check(&self, model: &Model) -> Result<(), Error> {
        if !self.rate.is_finite() {
            return Err(Error::Config(format!("inner rate is {}; it must be a number", self.rate)));
        }
        if self.learner == Learner::MetaSgd && self.steps == 0 {
            return Err(Error::Config(
                "meta-sgd with 0 inner steps learns no rate; at least 1 is needed".to_string(),
            ));
        }
        self.prefix(model).map(drop)
    }

    /// The model after adaptation to the support loss, whose model is that of `start`. Parameters that are constants,
    /// such as frozen ones, do not adapt. Running statistics remain those of `start`.
    ///
    /// # Errors
    /// As [`Adaptation::check`] and [`BatchLoss::pass`].
    ///
    /// # Panics
    /// If the inputs do not fit the model, or the loss does not depend on a parameter that adapts.
    #[track_caller]
    pub fn adapt(
        &self,
        start: &MetaModel,
        support: &BatchLoss,
        factors: &Factors<'_>,
    ) -> Result<Model, Error> {
        self.descend(start, support, factors, self.learner != Learner::FirstOrder)
    }

    /// As [`Adaptation::adapt`]; unless `recorded`, the gradients are constants.
    #[track_caller]
    pub(super) fn descend(
        &self,
        start: &MetaModel,
        support: &BatchLoss,
        factors: &Factors<'_>,
        recorded: bool,
    ) -> Result<Model, Error> {
        let prefix = self.prefix(&start.model)?;
        let adapts = |name: &str, p: &Tensor| p.is_tracked() && name.starts_with(&prefix);
        let mut model = start.model.clone();
        for k in 0..self.steps {
            let here = BatchLoss { model, ..support.redrawn(k as u64) };
            let mut inputs = here.model.named_parameters();
            inputs.retain(|(name, p)| adapts(name, p));
            let inputs: Vec<&Tensor> = inputs.into_iter().map(|(_, p)| p).collect();
            let loss = here.pass()?.loss;
            let gradients = if recorded { loss.recorded().grad(&inputs[..]) } else { loss.grad(&inputs[..]) };
            let (mut gradients, mut rates) = (gradients.into_iter(), start.rates().into_iter());
            model = here.model.map(|name, p| {
                let rate = rates.next();
                if !adapts(name, p) {
                    return p.clone();
                }
                let mut g = gradients.next().expect("a gradient for each parameter that adapts");
                if let Some(n) = factors(k, name, &g) {
                    g *= n;
                }
                match rate {
                    Some(rate) => p - rate * g,
                    None => p - g * self.rate,
                }
            });
        }
        Ok(model)
    }

    /// What the names of the parameters that adapt begin with: of ANIL the last fully connected layer.
    fn prefix(&self, model: &Model) -> Result<String, Error> {
        if self.learner != Learner::Anil {
            return Ok(String::new());
        }
        let weights = model.weights();
        let last = weights.iter().find(|w| w.role == Role::Classifier);
        match last.and_then(|w| w.name.strip_suffix("weight")) {
            Some(layer) => Ok(layer.to_string()),
            None => Err(Error::Config(format!(
                "anil adapts the last fully connected layer; model {} has none",
                model.name
            ))),
        }
    }
}
