//! Maximum hyperspherical polarisation (MHP), which raises the potential of the neurons where it is least.
//!
//!   -(1/N) sum over i of 1 / (2 - 2 cos(v, w_i))
//!
//! at a pole v that learns to make the potential small: see `pole.rs`.
//!
//! Source: Liu, Lin, Liu, Xiong, Schölkopf, Weller: Learning with Hyperspherical Uniformity, AISTATS 2021
//! (arXiv 2103.01649). 2 - 2c below 1e-12 counts as 1e-12, without gradient.

use autograd::Tensor;
use registry::Row;

use super::pole::loss_of;
use crate::error::Error;
use crate::table::{
    Build, HALF_SPACE, HEAD_WEIGHT, INNER_LR, INNER_STEPS, POLE_DECAY, POLE_MOMENTUM, RegulariserSpec,
    WEIGHT, of_pole,
};

pub(crate) const ROW: Row<RegulariserSpec> = Row {
    name: "mhp",
    help: "hyperspherical polarisation: the least potential of the neurons, at a learned pole, maximised",
    settings: &[WEIGHT, HEAD_WEIGHT, HALF_SPACE, INNER_STEPS, INNER_LR, POLE_MOMENTUM, POLE_DECAY],
    make: RegulariserSpec { build: Build::Pole(loss), memory: of_pole },
};

/// Minus the potential of the neurons at a pole v of d elements, a scalar; both receive gradients. 0 without neurons.
///
/// # Errors
/// If the weight or v has a wrong shape, an element is not finite, a row is zero while eps = 0, or eps is out of range.
pub fn mhp(w: &Tensor, v: &Tensor, eps: f64) -> Result<Tensor, Error> {
    loss_of(loss, 0.0, w, v, eps)
}

fn loss(q: &Tensor, _: f64) -> Tensor {
    -q.powi(-1).mean(..)
}
