//! Adaptive sharpness-aware minimisation.

use autograd::Tensor;
use registry::{Row, Setting};

use super::passes::{Named, Passes, Scope, not_negative, scaled, to_sphere, weights};
use super::{BN_STATS, EPS, MASKS, Method, MethodSpec, PASS_CLIP};
use crate::error::Error;
use crate::train::{BatchLoss, Gradient};

/// Adaptive sharpness-aware minimisation (Kwon, Kim, Park, Choi, ICML 2021, arXiv 2102.11600): the gradient at
///
///   p + rho T^2 g / |T g|,   T = diag(|p| + eta),   g the gradient at p, |T g| the norm over all parameters
///
/// which is the steepest ascent in the ellipsoid |T^-1 d| <= rho. With eta = 0 it does not depend on how a network is
/// scaled: if p is replaced by A p with a diagonal A that leaves the loss unchanged, the displaced loss remains the same
/// as well. eta bounds T away from 0. Losses are those at p.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Asam {
    /// The radius; 0.5 in the paper for CIFAR-10.
    pub rho: f64,
    /// Added to the size of each weight; 0.01 in the paper.
    pub eta: f64,
    /// T = 1 for parameters whose name does not contain `weight`, as in the published code.
    pub plain_biases: bool,
    /// How the two passes are made.
    pub passes: Passes,
}

/// The settings of the paper.
impl Default for Asam {
    fn default() -> Asam {
        Asam { rho: 0.5, eta: 0.01, plain_biases: false, passes: Passes::default() }
    }
}

pub(super) const ROW: Row<MethodSpec> = Row {
    name: "asam",
    help: "adaptive SAM: the ascent is relative to the size of each weight (default eps 0.5)",
    settings: &[EPS, Setting::new("eta"), Setting::new("plain-biases"), BN_STATS, MASKS, PASS_CLIP],
    // The displacement and the ascended weights.
    make: MethodSpec {
        build: |o| {
            let default = Asam::default();
            Box::new(Asam {
                rho: o.eps.unwrap_or(default.rho),
                eta: o.eta.unwrap_or(default.eta),
                plain_biases: o.plain_biases,
                passes: o.passes,
            })
        },
        copies: 2.0,
        eps: Some(0.5),
    },
};

impl Asam {
    /// T t for each tensor.
    fn normalised(&self, weights: &Named, tensors: Named) -> Named {
        let by_size = |(name, t): (String, Tensor)| {
            let plain = self.plain_biases && !name.contains("weight");
            let t = if plain { t } else { t * (weights[&name].abs() + self.eta) };
            (name, t)
        };
        tensors.into_iter().map(by_size).collect()
    }
}

impl Method for Asam {
    fn name(&self) -> &str {
        "asam"
    }

    fn gradient(&mut self, loss: &BatchLoss) -> Result<Gradient, Error> {
        self.passes.check("asam", self.rho)?;
        not_negative("asam", "eta", self.eta)?;
        let weights = weights(loss);
        self.passes.gradient(loss, self.rho, 1, |g, _| {
            let direction = self.normalised(&weights, g);
            let direction = scaled(Scope::Global, direction, |_, norm| to_sphere(norm, self.rho));
            self.normalised(&weights, direction)
        })
    }
}
