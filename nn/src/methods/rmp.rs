//! Random model perturbation.

use autograd::Tensor;
use registry::Row;

use super::passes::{Named, Passes, Scope, scaled, to_sphere};
use super::{BN_STATS, EPS, MASKS, Method, MethodSpec, PASS_CLIP, SCOPE};
use crate::error::Error;
use crate::train::{BatchLoss, Gradient};

/// Random model perturbation, the control of AMP (Zheng, Zhang, Mao, CVPR 2021, arXiv 2010.04925): the gradient at
/// p + d with d uniform on the sphere |d| = eps, drawn anew in each step. The difference from
/// [`Amp`](super::Amp) at the same radius is the effect of the direction. Losses are those at p.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rmp {
    /// The radius.
    pub eps: f64,
    /// Whether the sphere is that of all parameters together, or each tensor has one.
    pub scope: Scope,
    /// How the two passes are made.
    pub passes: Passes,
}

/// The radius of [`Amp`](super::Amp).
impl Default for Rmp {
    fn default() -> Rmp {
        Rmp { eps: super::Amp::default().eps, scope: Scope::Global, passes: Passes::default() }
    }
}

pub(super) const ROW: Row<MethodSpec> = Row {
    name: "rmp",
    help: "random model perturbation, the control of amp: the gradient at a random distance eps (default 0.5)",
    settings: &[EPS, SCOPE, BN_STATS, MASKS, PASS_CLIP],
    // The displacement and the displaced weights.
    make: MethodSpec {
        build: |o| {
            Box::new(Rmp { eps: o.eps.unwrap_or(Rmp::default().eps), scope: o.scope, passes: o.passes })
        },
        copies: 2.0,
        eps: Some(0.5),
    },
};

impl Method for Rmp {
    fn name(&self) -> &str {
        "rmp"
    }

    fn gradient(&mut self, loss: &BatchLoss) -> Result<Gradient, Error> {
        self.passes.check("rmp", self.eps)?;
        let key = loss.context.clone().next_key().stream("rmp");
        self.passes.gradient(loss, self.eps, 1, |g, _| {
            let draw = |(name, g): (String, Tensor)| {
                let drawn = Tensor::normal(g.shape(), g.dtype(), key.stream(&name));
                (name, drawn)
            };
            let drawn: Named = g.into_iter().map(draw).collect();
            scaled(self.scope, drawn, |_, norm| to_sphere(norm, self.eps))
        })
    }
}
