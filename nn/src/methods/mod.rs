//! Training methods: from the loss of a step to the gradient for the optimiser.

mod adversarial;
mod amp;
mod asam;
mod awp;
mod distillation;
mod passes;
mod rmp;
mod sam;

pub use adversarial::AdversarialTraining;
pub use amp::Amp;
pub use asam::Asam;
pub use awp::Awp;
pub use distillation::Distillation;
pub use passes::{BnStats, Masks, Passes, Scope};
pub use rmp::Rmp;
pub use sam::Sam;

use autograd::Tensor;
use registry::{Row, Setting};

use crate::error::{Error, nothing_to_load};
use crate::train::{BatchLoss, Gradient};

/// How the gradient of a step is made from its loss, which is a function of the parameters: see [`BatchLoss`].
///
/// A method may evaluate the loss any number of times. Each evaluation starts from the state before the step (running
/// statistics of batch norm, state of the loss, penalties and the regulariser) and draws the same dropout masks;
/// [`BatchLoss::after`] and [`BatchLoss::redrawn`] choose otherwise. The step reports the losses of the evaluation
/// whose gradient the method returns, and keeps the state after this evaluation.
///
/// The extragradient method (Korpelevich 1976), with the gradient taken one step of gradient descent ahead:
///
/// ```
/// use nn::{BatchLoss, Error, Gradient, Method};
///
/// struct Extragradient;
/// impl Method for Extragradient {
///     fn name(&self) -> &str {
///         "extragradient"
///     }
///     fn gradient(&mut self, loss: &BatchLoss) -> Result<Gradient, Error> {
///         let here = loss.gradient()?;
///         let ahead = loss.moved(|name, p| match here.parameters.get(name) {
///             Some(g) => p - g * loss.step.lr,
///             None => p.clone(), // frozen
///         });
///         Ok(here.with_parameters(ahead.gradient()?.parameters))
///     }
/// }
/// ```
pub trait Method: Send {
    /// Its name in messages and logs.
    fn name(&self) -> &str;

    /// The gradient for the optimiser, by parameter.
    ///
    /// # Errors
    /// As [`BatchLoss::gradient`].
    fn gradient(&mut self, loss: &BatchLoss) -> Result<Gradient, Error>;

    /// The state, by name.
    fn state(&self) -> Vec<(String, Tensor)> {
        Vec::new()
    }

    /// Restores what [`Method::state`] gave.
    ///
    /// # Errors
    /// If the tensors are not what `state` gives.
    fn load_state(&mut self, state: &[(String, Tensor)]) -> Result<(), Error> {
        nothing_to_load("method", state)
    }
}

/// The settings of methods; each method reads those that its row of the table names.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MethodOptions {
    /// The radius of the perturbation; `None`: the method's default.
    pub eps: Option<f64>,
    /// The size of an ascent step.
    pub lr: Option<f64>,
    /// The number of ascent steps.
    pub steps: Option<usize>,
    /// What the ball of the radius contains.
    pub scope: Scope,
    /// Added to the size of each weight: see [`Asam::eta`].
    pub eta: Option<f64>,
    /// Biases have no normalisation: see [`Asam::plain_biases`].
    pub plain_biases: bool,
    /// How the passes of a step are made.
    pub passes: Passes,
}

/// How a method is made, and what it costs.
#[derive(Clone, Copy, Debug)]
pub struct MethodSpec {
    /// The method with these options.
    pub build: fn(&MethodOptions) -> Box<dyn Method>,
    /// The memory that it needs during a step, in copies of the parameters.
    pub copies: f64,
    /// The default radius; `None` if it has none.
    pub eps: Option<f64>,
}

// Settings of more than one method; the last three are the fields of [`MethodOptions::passes`].
const EPS: Setting = Setting::new("eps");
const STEPS: Setting = Setting::new("steps");
const SCOPE: Setting = Setting::new("scope");
const BN_STATS: Setting = Setting::new("bn-stats");
const MASKS: Setting = Setting::new("masks");
const PASS_CLIP: Setting = Setting::new("pass-clip");

/// Every method that is chosen by name, the default first.
pub static METHODS: &[Row<MethodSpec>] = &[PLAIN, sam::ROW, asam::ROW, amp::ROW, awp::ROW, rmp::ROW];

const PLAIN: Row<MethodSpec> = Row {
    name: "plain",
    help: "the gradient of the loss itself",
    settings: &[],
    make: MethodSpec { build: |_| Box::new(Plain), copies: 0.0, eps: None },
};

/// The gradient of the loss itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plain;

impl Method for Plain {
    fn name(&self) -> &str {
        "plain"
    }

    fn gradient(&mut self, loss: &BatchLoss) -> Result<Gradient, Error> {
        loss.gradient()
    }
}
