//! Poles: what MHP and MHC have in common.
//!
//! A pole v in R^d belongs to a layer. Neurons descend and the pole ascends the same loss L of the squared distances
//! q_i = 2 - 2 cos(v, w_i), in turn: before each step of the weights the pole takes T steps of
//!
//!   g = -dL/dv + decay v,   m = momentum m + g,   v = v - eta m
//!
//! with the neurons as constants; then L is a function of the neurons, with the pole as a constant. No gradient flows
//! through the steps.
//!
//! Source: Liu, Lin, Liu, Xiong, Schölkopf, Weller: Learning with Hyperspherical Uniformity, AISTATS 2021
//! (arXiv 2103.01649), whose published code has T = 10, momentum 0.9, decay 5e-4, eta = the network's learning rate, and
//! v drawn from N(0, 1).
//!
//! Computed in f64 also for f32 weights, since 2 - 2c of a pole near a neuron is a small difference.

use std::collections::BTreeMap;

use autograd::{DType, Key, Tensor};
use nn::{Regulariser, Step, Weight};

use super::{PeerOptions, directions, nothing, placed};
use crate::error::Error;
use crate::learned::{InnerSteps, Mode, Rate};
use crate::regulariser::per_layer;

/// L as a function of the squared distances q of the neurons to the pole, a vector of at least one element, and of the
/// sharpness of the options.
pub(crate) type PoleLoss = fn(&Tensor, f64) -> Tensor;

/// How poles are learned. The default is the published setting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Poles {
    /// The number of steps T before each step of the weights.
    pub steps: usize,
    /// The size eta of these steps.
    pub rate: Rate,
    /// The momentum coefficient, in 0..1.
    pub momentum: f64,
    /// The weight decay of v.
    pub decay: f64,
}

impl Default for Poles {
    fn default() -> Poles {
        Poles { steps: 10, rate: Rate::Network, momentum: 0.9, decay: 5e-4 }
    }
}

impl Poles {
    /// Checks that all options are in range.
    ///
    /// # Errors
    /// If the momentum is not in 0..1, or as [`InnerSteps::check`].
    pub fn check(&self) -> Result<(), Error> {
        if !(0.0..1.0).contains(&self.momentum) {
            let momentum = self.momentum;
            return Err(Error::option(format!("pole momentum = {momentum}: it must be in 0..1, 1 excluded")));
        }
        let rate = if let Rate::Fixed(rate) = self.rate { rate } else { 0.0 };
        InnerSteps { count: self.steps, rate, decay: self.decay, mode: Mode::Alternating }.check()
    }
}

/// Below this q a neuron has the loss of the bound, and no gradient.
const FLOOR: f64 = 1e-12;

/// L of a weight and a pole of d elements, a scalar; both receive gradients. 0 without neurons.
pub(super) fn loss_of(
    loss: PoleLoss,
    sharpness: f64,
    w: &Tensor,
    v: &Tensor,
    eps: f64,
) -> Result<Tensor, Error> {
    let u = directions(&w.to_dtype(DType::F64), eps)?;
    let d = u.shape()[1];
    if v.shape()[..] != [d] || v.dtype() != w.dtype() {
        let (found, dtype) = (v.shape(), w.dtype());
        return Err(Error::shape(format!("expected a pole of shape [{d}] and dtype {dtype}, found {found}")));
    }
    Ok(at(loss, sharpness, &u, v, eps)?.to_dtype(w.dtype()))
}

/// L of directions (N x d, f64) and a pole.
fn at(loss: PoleLoss, sharpness: f64, u: &Tensor, v: &Tensor, eps: f64) -> Result<Tensor, Error> {
    let [n, d] = [u.shape()[0], u.shape()[1]];
    if n == 0 {
        return Ok(nothing(u));
    }
    let pole = directions(&v.to_dtype(DType::F64).reshape([1, d]), eps)?;
    let q = (2.0 - u.matmul_nt(&pole).reshape([n]) * 2.0).clamp(FLOOR, f64::MAX);
    Ok(loss(&q, sharpness))
}

/// The regulariser: one pole per layer, kept and learned from step to step.
#[derive(Clone)]
pub(crate) struct Poled {
    loss: PoleLoss,
    options: PeerOptions,
    poles: BTreeMap<String, Pole>,
}

/// The pole of a layer, and the running sum of its gradients; both of d elements.
#[derive(Clone)]
struct Pole {
    v: Tensor,
    velocity: Tensor,
}

/// The suffixes of the names of v and m in the saved state.
const NAMES: [&str; 2] = [".pole", ".velocity"];

impl Poled {
    pub fn new(loss: PoleLoss, options: &PeerOptions) -> Poled {
        Poled { loss, options: *options, poles: BTreeMap::new() }
    }

    /// The layer's current pole; drawn at its first step, a function of the seed and the layer's name.
    fn pole(&self, layer: &str, d: usize, dtype: DType) -> Result<Pole, Error> {
        match self.poles.get(layer) {
            None => {
                let key = Key::new(self.options.seed).stream("pole").stream(layer);
                // Drawn in f64, so that both precisions start at the same pole up to rounding.
                let v = Tensor::normal([d], DType::F64, key).to_dtype(dtype);
                Ok(Pole { velocity: Tensor::zeros([d], dtype), v })
            }
            Some(pole) if pole.v.shape()[..] == [d] && pole.v.dtype() == dtype => Ok(pole.clone()),
            Some(Pole { v, .. }) => Err(Error::shape(format!(
                "expected a pole of shape [{d}] in {dtype}, found {} in {}",
                v.shape(),
                v.dtype()
            ))),
        }
    }

    /// The layer's next pole, and the penalty.
    fn advance(&self, layer: &Weight, step: Step) -> Result<(Pole, Tensor), Error> {
        let PeerOptions { sharpness, eps, poles: Poles { steps, rate, momentum, decay }, .. } = self.options;
        let rate = if let Rate::Fixed(rate) = rate { rate } else { step.lr };
        let rows = placed(&layer.value, &self.options)?;
        let u = directions(&rows.to_dtype(DType::F64), eps)?;
        let constant = u.detach();
        let mut pole = self.pole(&layer.name, rows.shape()[1], rows.dtype())?;
        let steps = if rows.shape()[0] == 0 { 0 } else { steps };
        for _ in 0..steps {
            let v = pole.v.requires_grad();
            let slope = at(self.loss, sharpness, &constant, &v, eps)?.grad(&[&v]).remove(0);
            pole.velocity = pole.velocity * momentum - slope + &pole.v * decay;
            pole.v -= &pole.velocity * rate;
            if !pole.v.is_finite() {
                return Err(Error::option("the pole diverged; take a smaller inner rate".into()));
            }
        }
        let penalty = at(self.loss, sharpness, &u, &pole.v, eps)?.to_dtype(rows.dtype());
        Ok((pole, penalty))
    }
}

impl Regulariser for Poled {
    fn penalty(&mut self, weights: &[Weight], step: Step) -> Result<Tensor, nn::Error> {
        per_layer(weights, |layer| {
            let (pole, penalty) = self.advance(layer, step)?;
            self.poles.insert(layer.name.clone(), pole);
            Ok(penalty)
        })
    }

    /// v and m of every layer, as `<layer>.pole` and `<layer>.velocity`.
    fn state(&self) -> Vec<(String, Tensor)> {
        let of = |(layer, pole): (&String, &Pole)| {
            [
                (format!("{layer}{}", NAMES[0]), pole.v.clone()),
                (format!("{layer}{}", NAMES[1]), pole.velocity.clone()),
            ]
        };
        self.poles.iter().flat_map(of).collect()
    }

    fn load_state(&mut self, state: &[(String, Tensor)]) -> Result<(), nn::Error> {
        let tensor = |name: String| state.iter().find(|(n, _)| *n == name).map(|(_, t)| t.clone());
        let mut poles = BTreeMap::new();
        for (name, found) in state {
            let Some(layer) = NAMES.iter().find_map(|suffix| name.strip_suffix(suffix)) else {
                return Err(
                    Error::option(format!("{name}: the state is a pole and a velocity per layer")).into()
                );
            };
            if found.rank() != 1 || !found.is_finite() {
                let shape = found.shape();
                return Err(Error::shape(format!(
                    "{name}: expected finite numbers of shape [d], found {shape}"
                ))
                .into());
            }
            let pair = NAMES.map(|suffix| tensor(format!("{layer}{suffix}")));
            match pair {
                [Some(v), Some(velocity)] if v.shape() == velocity.shape() => {
                    poles.insert(layer.to_string(), Pole { v, velocity });
                }
                _ => {
                    return Err(Error::shape(format!(
                        "{layer}: expected a pole and a velocity of the same shape in the state"
                    ))
                    .into());
                }
            }
        }
        self.poles = poles;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
