//! Adversarial model perturbation.

use registry::{Row, Setting};

use super::passes::{Passes, Scope, into_ball, not_negative, scaled, sum};
use super::{BN_STATS, EPS, MASKS, Method, MethodSpec, PASS_CLIP, SCOPE, STEPS};
use crate::error::Error;
use crate::train::{BatchLoss, Gradient};

/// Adversarial model perturbation (Zheng, Zhang, Mao, CVPR 2021, arXiv 2010.04925): training minimises the largest loss
/// in a ball around the weights,
///
///   max over |d| <= eps of loss(p + d)
///
/// approximated by N steps of projected gradient ascent of size zeta from d = 0:
///
///   d <- P(d + zeta g(p + d)),   P(d) = d min(1, eps / (|d| + 1e-12))
///
/// and the result is the gradient at p + d, with d held constant. The projection only shrinks d, so that a small
/// gradient gives a small d. To first order N = 1 minimises loss + zeta |g|^2 where zeta |g| <= eps, and loss + eps |g|
/// elsewhere; in one ball it is then [`Sam`](super::Sam) of radius eps. Losses are those at p.
///
/// The paper's ball contains all parameters, [`Scope::Global`]. In the published code each tensor has a ball of its own,
/// [`Scope::Tensor`], so that radii of the two are not comparable.
///
/// ```
/// use autograd::{DType, Key, Tensor};
/// use nn::{Amp, Batch, Optimizer, Trainer};
/// let model = nn::models::build("mlp", [1, 4, 4], 2, 1, Key::new(0), DType::F64)?;
/// let batch = Batch::new(Tensor::normal([8, 1, 4, 4], DType::F64, Key::new(1)), vec![0, 1, 0, 1, 0, 1, 0, 1]);
/// let mut trainer = Trainer::new(model, Optimizer::sgd(0.9), 0.01, Key::new(0)).method(Amp::default());
/// let clean = trainer.batch_loss(&batch).pass()?.loss.item();
/// assert_eq!(trainer.step(&batch)?.loss, clean);
/// # Ok::<(), nn::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Amp {
    /// The radius; 0.05 to 0.5 is advised.
    pub eps: f64,
    /// The size zeta of an ascent step; 1 in the paper.
    pub lr: f64,
    /// The number N of ascent steps; 1 in all published results.
    pub steps: usize,
    /// What the ball contains.
    pub scope: Scope,
    /// How the N + 1 passes are made.
    pub passes: Passes,
}

/// eps = 0.5, the published script's; zeta = 1 and N = 1; the paper's ball.
impl Default for Amp {
    fn default() -> Amp {
        Amp { eps: 0.5, lr: 1.0, steps: 1, scope: Scope::Global, passes: Passes::default() }
    }
}

pub(super) const ROW: Row<MethodSpec> = Row {
    name: "amp",
    help: "adversarial model perturbation: the gradient where the loss is largest nearby (default eps 0.5)",
    settings: &[EPS, Setting::new("lr"), STEPS, SCOPE, BN_STATS, MASKS, PASS_CLIP],
    // The displacement and the ascended weights.
    make: MethodSpec {
        build: |o| {
            let default = Amp::default();
            Box::new(Amp {
                eps: o.eps.unwrap_or(default.eps),
                lr: o.lr.unwrap_or(default.lr),
                steps: o.steps.unwrap_or(default.steps),
                scope: o.scope,
                passes: o.passes,
            })
        },
        copies: 2.0,
        eps: Some(0.5),
    },
};

impl Method for Amp {
    fn name(&self) -> &str {
        "amp"
    }

    fn gradient(&mut self, loss: &BatchLoss) -> Result<Gradient, Error> {
        self.passes.check("amp", self.eps)?;
        not_negative("amp", "lr", self.lr)?;
        self.passes.gradient(loss, self.eps, self.steps, |g, shift| {
            let ascent = g.into_iter().map(|(name, g)| (name, g * self.lr)).collect();
            scaled(self.scope, sum(shift, ascent), |_, norm| into_ball(norm, self.eps))
        })
    }
}
