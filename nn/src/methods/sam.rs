//! Sharpness-aware minimisation.

use registry::Row;

use super::{EPS, Method, MethodSpec};
use crate::error::Error;
use crate::optim::global_norm;
use crate::train::{BatchLoss, Gradient};

/// Sharpness-aware minimisation (Foret, Kleiner, Mobahi, Neyshabur, ICLR 2021, arXiv 2010.01412): the gradient at
///
///   p + rho g / |g|,   g the gradient at p, |g| its norm over all parameters
///
/// which is the steepest ascent to a distance of rho. Losses and statistics are those at p.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sam {
    /// The radius; 0.05 in the paper.
    pub rho: f64,
}

/// The radius of the paper.
impl Default for Sam {
    fn default() -> Sam {
        Sam { rho: 0.05 }
    }
}

pub(super) const ROW: Row<MethodSpec> = Row {
    name: "sam",
    help: "sharpness-aware minimisation: the gradient at the ascended weights (default eps 0.05)",
    settings: &[EPS],
    // The first gradient and the ascended weights.
    make: MethodSpec {
        build: |options| Box::new(Sam { rho: options.eps.unwrap_or(Sam::default().rho) }),
        copies: 2.0,
    },
};

impl Method for Sam {
    fn name(&self) -> &str {
        "sam"
    }

    fn gradient(&mut self, loss: &BatchLoss) -> Result<Gradient, Error> {
        let clean = loss.gradient()?;
        let norm = global_norm(clean.parameters.values());
        // At a stationary point there is no direction of ascent.
        let scale = if norm > 0.0 { self.rho / norm } else { 0.0 };
        let ascended = loss.moved(|name, p| match clean.parameters.get(name) {
            Some(g) => p + g * scale,
            None => p.clone(),
        });
        Ok(clean.with_parameters(ascended.gradient()?.parameters))
    }
}
