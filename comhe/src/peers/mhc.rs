//! Maximum hyperspherical covering (MHC), which brings the nearest neuron to the emptiest spot of the sphere.
//!
//!   -(1/gamma) log (1/N) sum over i of exp(-gamma (2 - 2 cos(v, w_i))),   a soft minimum of 2 - 2c over the neurons,
//!
//! at a pole v that learns to be far from all of them: see `pole.rs`. It lies between the minimum and the smaller of
//! the mean and the minimum plus log(N) / gamma.
//!
//! Source: Liu, Lin, Liu, Xiong, Schölkopf, Weller: Learning with Hyperspherical Uniformity, AISTATS 2021
//! (arXiv 2103.01649), whose published code has gamma = 10.

use autograd::Tensor;
use registry::{Row, Setting};

use super::check_sharpness;
use super::pole::loss_of;
use crate::error::Error;
use crate::table::{
    Build, HALF_SPACE, HEAD_WEIGHT, INNER_LR, INNER_STEPS, POLE_DECAY, POLE_MOMENTUM, RegulariserSpec,
    WEIGHT, of_pole,
};

pub(crate) const ROW: Row<RegulariserSpec> = Row {
    name: "mhc",
    help: "hyperspherical covering: the distance of a learned pole to its nearest neuron, minimised",
    settings: &[
        WEIGHT,
        HEAD_WEIGHT,
        HALF_SPACE,
        INNER_STEPS,
        INNER_LR,
        POLE_MOMENTUM,
        POLE_DECAY,
        Setting::new("sharpness"),
    ],
    make: RegulariserSpec { build: Build::Pole(loss), memory: of_pole },
};

/// The soft minimum of 2 - 2c at a pole v of d elements, a scalar; both receive gradients. 0 without neurons.
///
/// # Errors
/// If the weight or v has a wrong shape, an element is not finite, a row is zero while eps = 0, or an option is out of
/// range.
pub fn mhc(w: &Tensor, v: &Tensor, gamma: f64, eps: f64) -> Result<Tensor, Error> {
    check_sharpness(gamma)?;
    loss_of(loss, gamma, w, v, eps)
}

fn loss(q: &Tensor, gamma: f64) -> Tensor {
    ((q.numel() as f64).ln() - (q * -gamma).logsumexp(..)) / gamma
}
