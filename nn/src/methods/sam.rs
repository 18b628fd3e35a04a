//! Sharpness-aware minimisation.

use registry::Row;

use super::passes::{Passes, Scope, scaled, to_sphere};
use super::{BN_STATS, EPS, MASKS, Method, MethodSpec, PASS_CLIP};
use crate::error::Error;
use crate::train::{BatchLoss, Gradient};

/// Sharpness-aware minimisation (Foret, Kleiner, Mobahi, Neyshabur, ICLR 2021, arXiv 2010.01412): the gradient at
///
///   p + rho g / |g|,   g the gradient at p, |g| its norm over all parameters
///
/// which is the steepest ascent to a distance of rho (equation 2). Losses are those at p.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sam {
    /// The radius; 0.05 in the paper.
    pub rho: f64,
    /// How the two passes are made.
    pub passes: Passes,
}

/// The radius of the paper.
impl Default for Sam {
    fn default() -> Sam {
        Sam { rho: 0.05, passes: Passes::default() }
    }
}

pub(super) const ROW: Row<MethodSpec> = Row {
    name: "sam",
    help: "sharpness-aware minimisation: the gradient at the ascended weights (default eps 0.05)",
    settings: &[EPS, BN_STATS, MASKS, PASS_CLIP],
    // The displacement and the ascended weights.
    make: MethodSpec {
        build: |o| Box::new(Sam { rho: o.eps.unwrap_or(Sam::default().rho), passes: o.passes }),
        copies: 2.0,
        eps: Some(0.05),
    },
};

impl Method for Sam {
    fn name(&self) -> &str {
        "sam"
    }

    fn gradient(&mut self, loss: &BatchLoss) -> Result<Gradient, Error> {
        self.passes.check("sam", self.rho)?;
        self.passes
            .gradient(loss, self.rho, 1, |g, _| scaled(Scope::Global, g, |_, norm| to_sphere(norm, self.rho)))
    }
}
