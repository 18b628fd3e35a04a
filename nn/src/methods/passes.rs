//! Gradients at displaced weights: what SAM, ASAM, AMP, AWP and RMP have in common.

use std::collections::BTreeMap;

use autograd::Tensor;

use crate::error::Error;
use crate::named::named;
use crate::optim::{Clip, global_norm};
use crate::train::{BatchLoss, Gradient};

/// Tensors by the names of their parameters.
pub(super) type Named = BTreeMap<String, Tensor>;

/// How a method evaluates the loss more than once in a step.
///
/// ```
/// use nn::{Amp, BnStats, Passes};
/// // The published AMP code: statistics move in every pass, dropout is redrawn, the norm is clipped inside each pass.
/// let code = Passes { bn_stats: BnStats::Every, masks: nn::Masks::Renewed, clip: Some(50.0) };
/// let amp = Amp { scope: nn::Scope::Tensor, passes: code, ..Amp::default() };
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Passes {
    /// Which passes move running statistics.
    pub bn_stats: BnStats,
    /// The dropout masks of the passes after the first.
    pub masks: Masks,
    /// The largest global norm of the gradient of each pass, which bounds the direction of ascent, too; `None`: no
    /// limit.
    pub clip: Option<f64>,
}

/// Which passes of a step move the state: the running statistics of batch norm, and what losses, penalties and
/// regularisers keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BnStats {
    /// The first, at the weights themselves.
    #[default]
    Clean,
    /// Each, one after the other: N + 1 updates in a step of N displacements, as in the published AMP code.
    Every,
}

named!(BnStats, "policy of running statistics": Clean = "clean", Every = "every");

/// The dropout masks of the passes after the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Masks {
    /// Those of the first pass.
    #[default]
    Same,
    /// Others in each pass, as in the published AMP code.
    Renewed,
}

named!(Masks, "policy of dropout masks": Same = "same", Renewed = "renewed");

/// What a ball of radius eps contains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// The displacement of all parameters together, as in the papers.
    #[default]
    Global,
    /// The displacement of each tensor on its own: with T tensors up to sqrt(T) eps together, as in the published AMP
    /// code.
    Tensor,
}

named!(Scope, "scope": Global = "global", Tensor = "tensor");

impl Passes {
    /// The gradient at the weights after the last of `steps` displacements, with the losses of the first pass, at the
    /// weights themselves. `displace` computes a displacement of the weights from the gradient at the one before, and
    /// that one (at first empty). Parameters without a displacement do not move. Without steps, or with a radius of 0,
    /// the result is the gradient of the first pass.
    ///
    /// The weights are never changed: each pass has parameters of its own.
    pub(super) fn gradient(
        &self,
        loss: &BatchLoss,
        radius: f64,
        steps: usize,
        mut displace: impl FnMut(Named, Named) -> Named,
    ) -> Result<Gradient, Error> {
        let mut first = loss.gradient()?;
        let mut g = self.clipped(std::mem::take(&mut first.parameters));
        let mut shift = Named::new();
        for number in 1..=if radius > 0.0 { steps as u64 } else { 0 } {
            shift = displace(g, shift);
            let mut there = loss.moved(|name, p| match shift.get(name) {
                Some(shift) => p + shift,
                None => p.clone(),
            });
            if self.masks == Masks::Renewed {
                there = there.redrawn(number);
            }
            if self.bn_stats == BnStats::Every {
                there = there.after(&first);
            }
            let pass = there.gradient()?;
            if self.bn_stats == BnStats::Every {
                first = first.with_state_of(&pass);
            }
            g = self.clipped(pass.parameters);
        }
        Ok(first.with_parameters(g))
    }

    fn clipped(&self, mut g: Named) -> Named {
        if let Some(norm) = self.clip {
            Clip::Norm(norm).apply(g.values_mut());
        }
        g
    }

    /// Checks the settings of a method: its radius and these.
    pub(super) fn check(&self, method: &str, radius: f64) -> Result<(), Error> {
        not_negative(method, "eps", radius)?;
        match self.clip {
            Some(norm) if norm.is_nan() || norm <= 0.0 => Err(Error::Config(format!(
                "{method}: the gradient norm inside a pass is clipped to {norm}; it must be positive"
            ))),
            _ => Ok(()),
        }
    }
}

/// Checks a setting of a method.
pub(super) fn not_negative(method: &str, key: &str, value: f64) -> Result<(), Error> {
    if value >= 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(Error::Config(format!("{method}: {key} is {value}; it must be finite and not negative")))
}

/// The weights of a loss.
pub(super) fn weights(loss: &BatchLoss) -> Named {
    let (names, values) = loss.parameters();
    names.into_iter().zip(values).collect()
}

/// Multiplies each tensor by a factor of its name and a norm: its own, or that of all together.
pub(super) fn scaled(scope: Scope, tensors: Named, factor: impl Fn(&str, f64) -> f64) -> Named {
    let together = (scope == Scope::Global).then(|| global_norm(tensors.values()));
    let scale = |(name, t): (String, Tensor)| {
        let norm = together.unwrap_or_else(|| global_norm([&t].into_iter()));
        let factor = factor(&name, norm);
        (name, if factor == 1.0 { t } else { t * factor })
    };
    tensors.into_iter().map(scale).collect()
}

/// The factor from a norm to a radius. At a stationary point there is no direction: what is 0 remains 0, and the bound
/// keeps factors finite in f32.
pub(super) fn to_sphere(norm: f64, radius: f64) -> f64 {
    (radius / norm).min(1e30)
}

/// The factor of the projection onto the ball of a radius, at most 1.
pub(super) fn into_ball(norm: f64, radius: f64) -> f64 {
    (radius / (norm + 1e-12)).min(1.0)
}

/// Adds two displacements.
pub(super) fn sum(mut a: Named, b: Named) -> Named {
    for (name, b) in b {
        let total = match a.remove(&name) {
            Some(a) => a + b,
            None => b,
        };
        a.insert(name, total);
    }
    a
}
