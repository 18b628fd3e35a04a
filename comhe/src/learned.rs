//! Learned projections, the common part of AP-CoMHE and Adv-CoMHE.
//!
//! A projection P in R^{k x d} belongs to the layer. It takes steps of size eta along the gradient of an inner loss L
//! at the current neurons, and the layer's energy is computed under the resulting P:
//!
//!   P_0 = P,   P_{t+1} = (1 - eta decay) P_t -+ eta dL/dP(P_t, W),   E(W) = E_s(P_T W')
//!
//! Alternating: P_T is a constant for the gradient dE/dW. Unrolled: the gradient also flows through the T steps, which
//! needs gradients of gradients. The published code does both: m plain steps, which update the layer's P, then the
//! energy with one unrolled step, whose P is discarded.
//!
//! The inner losses depend on P only through the projected neurons Y = W P' (N x k), so that dL/dP = (dL/dY)' W, and a
//! step of P moves Y by W W' dL/dY. Steps are taken by Y: they cost N x N x k with the Gram matrix W W', not N x d x k.
//!
//! Source: Lin et al., CVPR 2020, sections 3.2 and 3.3 and its published code, which has k = 30, eta = the network's
//! learning rate, T = 1, m = 1 (AP) or 10 (Adv), and decay = 1e-3 * 5e-4; the paper has no decay.

mod gram;

use std::collections::BTreeMap;
use std::fmt;

use autograd::{DType, Key, Tensor};
use nn::{Regulariser, Step, Weight};

use crate::energy::{Energy, checked_rows};
use crate::error::{Error, short};
use crate::regulariser::per_layer;

pub(crate) use gram::Gram;

/// Whether the gradient of the energy includes the dependence of P on W.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It flows through the inner steps.
    Unrolled,
    /// P is a constant.
    Alternating,
}

/// The size eta of inner steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// The network's current learning rate.
    Network,
    /// A constant.
    Fixed(f64),
}

/// Inner steps from a given projection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InnerSteps {
    /// The number of steps T.
    pub count: usize,
    /// Their size, eta.
    pub rate: f64,
    /// The weight decay of P.
    pub decay: f64,
    /// Unrolled or with a constant result.
    pub mode: Mode,
}

impl Default for InnerSteps {
    /// One unrolled step of size 0.1 without decay.
    fn default() -> InnerSteps {
        InnerSteps { count: 1, rate: 0.1, decay: 0.0, mode: Mode::Unrolled }
    }
}

/// How a layer's projection is learned in training. The default is the published setting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Learning {
    /// The dimension after projection; at least 1.
    pub k: usize,
    /// Plain steps m of the layer's own P before each energy; `None`: as published, 1 for AP and 10 for Adv.
    pub plain: Option<usize>,
    /// The number T of steps that the energy's gradient flows through; in alternating mode there are none.
    pub unrolled: usize,
    /// Unrolled or alternating.
    pub mode: Mode,
    /// The size of all these steps.
    pub rate: Rate,
    /// The weight decay of P.
    pub decay: f64,
    /// The seed: P is initialised with independent N(0, 1) entries, a function of this seed and the layer's name.
    pub seed: u64,
}

impl Default for Learning {
    fn default() -> Learning {
        Learning {
            k: 30,
            plain: None,
            unrolled: 1,
            mode: Mode::Unrolled,
            rate: Rate::Network,
            decay: 1e-3 * 5e-4,
            seed: 0,
        }
    }
}

impl Learning {
    /// Checks that all options are in range.
    ///
    /// # Errors
    /// If k is 0 or above 2^20, or as [`InnerSteps::check`].
    pub fn check(&self) -> Result<(), Error> {
        if self.k < 1 {
            return Err(Error::option("k = 0: a projection needs k >= 1".into()));
        }
        const MOST: usize = 1 << 20;
        if self.k > MOST {
            return Err(Error::option(format!("k = {}: it can be at most {MOST}", self.k)));
        }
        let rate = if let Rate::Fixed(rate) = self.rate { rate } else { 0.0 };
        let count = self.unrolled.max(self.plain.unwrap_or(0));
        InnerSteps { count, rate, decay: self.decay, mode: self.mode }.check()
    }

    /// The initial P of a layer with neurons of dimension `d`, k x d.
    pub fn start(&self, layer: &str, d: usize, dtype: DType) -> Tensor {
        Tensor::normal([self.k, d], dtype, Key::new(self.seed).stream("learned").stream(layer))
    }
}

impl InnerSteps {
    /// Checks that all of them are in range.
    ///
    /// # Errors
    /// If rate or decay is negative, NaN or infinite, or there are more than 10,000 steps.
    pub fn check(&self) -> Result<(), Error> {
        // Each step is a gradient of the inner loss, and unrolled steps are kept in memory: a larger number is almost
        // certainly a mistake.
        const MOST: usize = 10_000;
        if self.count > MOST {
            let (count, why) = (self.count, "each costs a gradient of the inner loss");
            return Err(Error::option(format!("inner steps = {count}: there can be at most {MOST}; {why}")));
        }
        for (name, value) in [("inner rate", self.rate), ("inner decay", self.decay)] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(Error::option(format!(
                    "{name} = {}: it must be finite and at least 0",
                    short(value)
                )));
            }
        }
        Ok(())
    }
}

/// The inner loss for given neurons, a function of their projections.
pub trait Inner: Sized {
    /// 1 if P ascends, -1 if it descends.
    const SIGN: f64;
    /// L of the projected neurons Y (N x k), a scalar.
    fn loss(&self, y: &Tensor) -> Result<Tensor, Error>;
    /// W W' v, \[N, k\] to \[N, k\].
    fn gram_times(&self, v: &Tensor) -> Tensor;
}

/// A kind of inner loss, which defines a variant.
pub trait Lesson: Clone + fmt::Debug + Send + Sync + 'static {
    /// The regulariser's name.
    const NAME: &'static str;
    /// The published number of plain steps.
    const PLAIN: usize;
    type Inner: Inner;
    /// The inner loss for neurons (N x d), whose N x N Gram matrix may be used for up to `columns` columns; 0: only
    /// if it is needed anyway.
    fn at(&self, energy: &Energy, rows: &Tensor, columns: usize) -> Result<Self::Inner, Error>;
    /// The same loss with the neurons as constants.
    fn constant(&self, inner: &Self::Inner) -> Self::Inner;
}

/// The result of inner steps.
struct Moved {
    /// The projected neurons W P_T', N x k.
    y: Tensor,
    /// The sum of the steps in terms of Y: P_T = shrink P_0 + total' W, a constant.
    total: Tensor,
    /// The factor of P_0 after weight decay.
    shrink: f64,
}

/// Takes the steps from Y_0 = W P' (N x k). They are recorded if Y_0 is and the mode is unrolled.
fn take<I: Inner>(inner: &I, y: Tensor, steps: InnerSteps) -> Result<Moved, Error> {
    let recorded = steps.mode == Mode::Unrolled && y.is_tracked();
    let left = 1.0 - steps.rate * steps.decay;
    let mut moved = Moved { total: Tensor::zeros(y.shape(), y.dtype()), y, shrink: 1.0 };
    for _ in 0..steps.count {
        let slope = if recorded {
            inner.loss(&moved.y)?.recorded().grad(&[&moved.y]).remove(0)
        } else {
            let y = moved.y.detach().requires_grad();
            inner.loss(&y)?.grad(&[&y]).remove(0)
        };
        let step = slope * (I::SIGN * steps.rate);
        moved.y = scaled(moved.y, left) + inner.gram_times(&step);
        moved.total = scaled(moved.total, left) + step.detach();
        moved.shrink *= left;
    }
    Ok(moved)
}

fn scaled(x: Tensor, factor: f64) -> Tensor {
    if factor == 1.0 { x } else { x * factor }
}

/// The projection, k x d, after plain steps.
fn learn<I: Inner>(inner: &I, rows: &Tensor, p: &Tensor, steps: InnerSteps) -> Result<Tensor, Error> {
    if steps.count == 0 {
        return Ok(p.clone());
    }
    let moved = take(inner, rows.matmul_nt(p), InnerSteps { mode: Mode::Alternating, ..steps })?;
    Ok(scaled(p.clone(), moved.shrink) + moved.total.matmul_tn(rows))
}

/// The energy after inner steps from a given P, k x d.
pub(crate) fn learned_energy<L: Lesson>(
    lesson: &L,
    energy: &Energy,
    w: &Tensor,
    p: &Tensor,
    steps: InnerSteps,
) -> Result<Tensor, Error> {
    steps.check()?;
    let rows = checked_rows(w)?;
    let d = rows.shape()[1];
    if p.rank() != 2 || p.shape()[1] != d || p.shape()[0] == 0 {
        return Err(Error::shape(format!(
            "expected a projection of shape [k, {d}] with k >= 1, found {}: {} learns one projection",
            p.shape(),
            L::NAME
        )));
    }
    let p = crate::projection::explicit(p, d, w.dtype())?.detach().reshape([p.shape()[0], d]);
    energy.check()?;
    if rows.shape()[0] == 0 {
        // There is nothing to learn from.
        return energy.of(&rows);
    }
    energy_after(lesson, energy, &rows, &p, steps)
}

/// The energy after inner steps from a P of the right shape.
fn energy_after<L: Lesson>(
    lesson: &L,
    energy: &Energy,
    rows: &Tensor,
    p: &Tensor,
    steps: InnerSteps,
) -> Result<Tensor, Error> {
    let y = match steps.mode {
        Mode::Alternating => {
            let constant = rows.detach();
            let inner = lesson.at(energy, &constant, 0)?;
            rows.matmul_nt(&learn(&inner, &constant, p, steps)?)
        }
        Mode::Unrolled => {
            let inner = lesson.at(energy, rows, 0)?;
            take(&inner, rows.matmul_nt(p), steps)?.y
        }
    };
    energy.of_projected_in_full(&y)
}

/// The regulariser: one projection per layer, kept and learned from step to step.
#[derive(Clone, Debug)]
pub struct Learned<L> {
    lesson: L,
    energy: Energy,
    learning: Learning,
    /// P by layer, k x d.
    projections: BTreeMap<String, Tensor>,
}

/// The suffix of the name of a layer's P in the saved state.
const SUFFIX: &str = ".projection";

impl<L: Lesson> Learned<L> {
    pub(crate) fn teach(lesson: L, energy: Energy, learning: Learning) -> Result<Learned<L>, Error> {
        energy.check()?;
        learning.check()?;
        Ok(Learned { lesson, energy, learning, projections: BTreeMap::new() })
    }

    /// The layer's current P, k x d; drawn at its first step.
    fn projection(&self, layer: &str, d: usize, dtype: DType) -> Result<Tensor, Error> {
        let k = self.learning.k;
        match self.projections.get(layer) {
            None => Ok(self.learning.start(layer, d, dtype)),
            Some(p) if **p.shape() == [k, d] && p.dtype() == dtype => Ok(p.clone()),
            Some(p) => Err(Error::shape(format!(
                "expected a learned projection of shape [{k}, {d}] in {dtype}, found {} in {}",
                p.shape(),
                p.dtype()
            ))),
        }
    }

    /// The layer's next P, and the energy.
    fn advance(&self, layer: &Weight, step: Step) -> Result<(Tensor, Tensor), Error> {
        let Learning { k, plain, unrolled, mode, rate, decay, .. } = self.learning;
        let rate = if let Rate::Fixed(rate) = rate { rate } else { step.lr };
        let steps = |count, mode| InnerSteps { count, rate, decay, mode };
        let rows = checked_rows(&layer.value)?;
        let mut p = self.projection(&layer.name, rows.shape()[1], rows.dtype())?;
        let plain = steps(plain.unwrap_or(L::PLAIN), Mode::Alternating);
        let constant = rows.detach();
        if mode == Mode::Alternating || unrolled == 0 {
            let inner = self.lesson.at(&self.energy, &constant, k * plain.count)?;
            p = learn(&inner, &constant, &p, plain)?;
            let y = rows.matmul_nt(&p);
            return Ok((p, self.energy.of_projected(&y)?));
        }
        let through = steps(unrolled, Mode::Unrolled);
        let inner = self.lesson.at(&self.energy, &rows, k * (plain.count + unrolled))?;
        p = learn(&self.lesson.constant(&inner), &constant, &p, plain)?;
        let y = take(&inner, rows.matmul_nt(&p), through)?.y;
        Ok((p, self.energy.of_projected(&y)?))
    }
}

impl<L: Lesson> Regulariser for Learned<L> {
    fn penalty(&mut self, weights: &[Weight], step: Step) -> Result<Tensor, nn::Error> {
        per_layer(weights, |layer| {
            let (p, energy) = self.advance(layer, step)?;
            self.projections.insert(layer.name.clone(), p);
            Ok(energy)
        })
    }

    /// P of every layer, k x d, as `<layer>.projection`.
    fn state(&self) -> Vec<(String, Tensor)> {
        self.projections.iter().map(|(layer, p)| (format!("{layer}{SUFFIX}"), p.clone())).collect()
    }

    fn load_state(&mut self, state: &[(String, Tensor)]) -> Result<(), nn::Error> {
        let mut projections = BTreeMap::new();
        for (name, p) in state {
            let Some(layer) = name.strip_suffix(SUFFIX) else {
                return Err(Error::option(format!(
                    "{name}: the state of {} is a projection a layer",
                    L::NAME
                ))
                .into());
            };
            if p.rank() != 2 || p.shape()[0] != self.learning.k || !p.is_finite() {
                let (k, shape) = (self.learning.k, p.shape());
                return Err(Error::shape(format!(
                    "{name}: expected finite numbers of shape [{k}, d], found {shape}"
                ))
                .into());
            }
            projections.insert(layer.to_string(), p.clone());
        }
        self.projections = projections;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
