//! Energy under an angle-preserving projection (AP-CoMHE).
//!
//!   P* = argmin over P of L(P, W),   E(W) = E_s(P* W')
//!
//!   angle form    L = sum over ordered i != j of (theta(w_i, w_j) - theta(P w_i, P w_j))^2
//!   cosine form   L = | cos(P W') - cos(W) |_F, the root of the sum of squares over all N x N cosines
//!
//! theta is arccos of the cosine, cosines have n = sqrt(|w|^2 + eps) below them. At L = 0 the cosine form's
//! subgradient is 0, and an L of the size of rounding errors counts as 0. Angles of 0 and pi up to rounding have no
//! gradient. See `learned.rs` for how P is learned.
//!
//! Source: Lin et al., CVPR 2020, section 3.2. The paper has the angle form; the published code the cosine form, and
//! one plain step of P before each energy.

use std::f64::consts::PI;

use autograd::{DType, Tensor};
use registry::{Row, Setting};

use crate::energy::Energy;
use crate::error::Error;
use crate::learned::{Gram, Inner, InnerSteps, Learned, Learning, Lesson, learned_energy};
use crate::named::named;
use crate::table::{
    Build, HALF_SPACE, HEAD_WEIGHT, Hidden, INNER_DECAY, INNER_LR, INNER_STEPS, K, MODE, RegulariserSpec,
    UNROLL, WEIGHT, below, pairs,
};

pub(crate) const ROW: Row<RegulariserSpec> = Row {
    name: "ap",
    help: "half-space energy under a projection that learns to preserve angles (AP-CoMHE)",
    settings: &[
        WEIGHT,
        HEAD_WEIGHT,
        HALF_SPACE,
        K,
        INNER_STEPS,
        INNER_LR,
        INNER_DECAY,
        MODE,
        UNROLL,
        Setting::new("objective"),
    ],
    make: RegulariserSpec {
        build: Build::Energy(|options| {
            let (half, learning) = (options.hidden_energy(true), options.learning);
            let regulariser = Box::new(AnglePreserving::new(half, options.preserve, learning)?);
            Ok(Hidden { name: "ap", regulariser, small: below(learning.k) })
        }),
        memory: pairs,
    },
};

/// What the projection preserves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preserve {
    /// Cosines: the published code.
    #[default]
    Cosine,
    /// Angles: the paper.
    Angle,
}

named! {
    Preserve, "objective":
    Cosine = "cosine",
    Angle = "angle",
}

/// The regulariser AP-CoMHE.
pub type AnglePreserving = Learned<Preserve>;

impl Learned<Preserve> {
    /// Energies under projections that are learned to preserve cosines or angles.
    ///
    /// # Errors
    /// If an option is out of range.
    pub fn new(energy: Energy, objective: Preserve, learning: Learning) -> Result<AnglePreserving, Error> {
        Learned::teach(objective, energy, learning)
    }
}

/// The energy after angle-preserving inner steps from a given P (k x d).
///
/// # Errors
/// If the weight or P has a wrong shape, an element is not finite, a row is zero, or is projected to zero, while
/// eps = 0, or a step leaves the range of finite numbers.
pub fn angle_preserving_energy(
    energy: &Energy,
    w: &Tensor,
    p: &Tensor,
    objective: Preserve,
    steps: InnerSteps,
) -> Result<Tensor, Error> {
    learned_energy(&objective, energy, w, p, steps)
}

/// The inner loss for given neurons.
pub struct Discrepancy {
    objective: Preserve,
    energy: Energy,
    gram: Gram,
    /// The neurons' own cosines or angles, N x N.
    target: Tensor,
}

impl Lesson for Preserve {
    const NAME: &'static str = "ap";
    const PLAIN: usize = 1;
    type Inner = Discrepancy;

    fn at(&self, energy: &Energy, rows: &Tensor, _: usize) -> Result<Discrepancy, Error> {
        energy.check_batch(&rows.unsqueeze(0), false)?;
        let gram = Gram::formed(rows);
        let cosines = gram.cosines(energy.eps);
        let target = match self {
            Preserve::Cosine => cosines,
            Preserve::Angle => angles(&cosines),
        };
        Ok(Discrepancy { objective: *self, energy: *energy, gram, target })
    }

    fn constant(&self, inner: &Discrepancy) -> Discrepancy {
        let (gram, target) = (inner.gram.detach(), inner.target.detach());
        Discrepancy { objective: *self, energy: inner.energy, gram, target }
    }
}

impl Inner for Discrepancy {
    const SIGN: f64 = -1.0;

    fn loss(&self, y: &Tensor) -> Result<Tensor, Error> {
        let u = self.energy.directions(&y.unsqueeze(0), true)?.reshape(y.shape());
        let cosines = u.gram();
        match self.objective {
            Preserve::Cosine => {
                let loss = (cosines - &self.target).norm(..);
                // Cosines are exact to a few units of rounding: a difference of that size counts as 0.
                let rounding = 16.0 * epsilon(y.dtype()) * y.shape()[0] as f64;
                Ok(if loss.item() <= rounding { loss * 0.0 } else { loss })
            }
            Preserve::Angle => {
                let others = 1.0 - Tensor::eye(y.shape()[0], y.dtype());
                let difference = (angles(&cosines) - &self.target) * others;
                Ok((&difference * &difference).sum(..))
            }
        }
    }

    fn gram_times(&self, v: &Tensor) -> Tensor {
        self.gram.times(v)
    }
}

/// arccos, which is 0 or pi, with no gradient, where a cosine is 1 or -1 up to rounding.
fn angles(cosines: &Tensor) -> Tensor {
    let value = cosines.detach();
    let sine2 = (1.0 - &value) * (1.0 + &value);
    let inside = (sine2 - 16.0 * epsilon(value.dtype())).step();
    let end = (-value).step() * PI;
    (cosines * &inside).acos() * &inside + end * (1.0 - inside)
}

fn epsilon(dtype: DType) -> f64 {
    if dtype == DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) }
}
