//! Adversarial weight perturbation.

use std::collections::BTreeMap;

use registry::Row;

use super::passes::{Passes, Scope, into_ball, scaled, sum, to_sphere, weights};
use super::{BN_STATS, EPS, MASKS, Method, MethodSpec, PASS_CLIP, STEPS};
use crate::error::Error;
use crate::optim::global_norm;
use crate::train::{BatchLoss, Gradient};

/// Adversarial weight perturbation (Wu, Xia, Wang, NeurIPS 2020, arXiv 2004.05884): the gradient at p + d, where the
/// displacement of each weight w is relative to its norm,
///
///   d_w <- P(d_w + gamma |w| g_w / |g_w|),   P onto |d_w| <= gamma |w|
///
/// repeated N times from d = 0. Weights are parameters with at least two axes; biases and the parameters of norms do
/// not move, as in the published code. Losses are those at p.
///
/// The paper perturbs inputs, too: combine it with adversarial training for that.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Awp {
    /// The radius, relative to the norm of each weight; 0.005 to 0.01 in the paper.
    pub gamma: f64,
    /// The number N of ascent steps; 1 in the paper.
    pub steps: usize,
    /// How the N + 1 passes are made.
    pub passes: Passes,
}

/// gamma = 0.01, N = 1.
impl Default for Awp {
    fn default() -> Awp {
        Awp { gamma: 0.01, steps: 1, passes: Passes::default() }
    }
}

pub(super) const ROW: Row<MethodSpec> = Row {
    name: "awp",
    help: "adversarial weight perturbation: ascent relative to the norm of each weight (default eps 0.01)",
    settings: &[EPS, STEPS, BN_STATS, MASKS, PASS_CLIP],
    // The displacement and the ascended weights.
    make: MethodSpec {
        build: |o| {
            let default = Awp::default();
            let gamma = o.eps.unwrap_or(default.gamma);
            Box::new(Awp { gamma, steps: o.steps.unwrap_or(default.steps), passes: o.passes })
        },
        copies: 2.0,
        eps: Some(0.01),
    },
};

impl Method for Awp {
    fn name(&self) -> &str {
        "awp"
    }

    fn gradient(&mut self, loss: &BatchLoss) -> Result<Gradient, Error> {
        self.passes.check("awp", self.gamma)?;
        let matrices = weights(loss).into_iter().filter(|(_, w)| w.rank() >= 2);
        let radii: BTreeMap<String, f64> =
            matrices.map(|(name, w)| (name, self.gamma * global_norm([&w].into_iter()))).collect();
        self.passes.gradient(loss, self.gamma, self.steps, |mut g, shift| {
            g.retain(|name, _| radii.contains_key(name));
            let ascent = scaled(Scope::Tensor, g, |name, norm| to_sphere(norm, radii[name]));
            scaled(Scope::Tensor, sum(shift, ascent), |name, norm| into_ball(norm, radii[name]))
        })
    }
}
