//! Projections that are learned: what AP-CoMHE and Adv-CoMHE have in common.
//!
//! A projection P in R^{k x d} belongs to the layer. It takes steps of size eta along the gradient of an inner loss L
//! at the present neurons, and the layer's energy is taken under the P that this leads to:
//!
//!   P_0 = P,   P_{t+1} = (1 - eta decay) P_t -+ eta dL/dP(P_t, W),   E(W) = E_s(P_T W')
//!
//! Alternating: P_T is a constant for the gradient dE/dW. Unrolled: the gradient flows through the T steps as well, a
//! gradient through gradients. The published code does both: m plain steps, which change the layer's P for good, then
//! the energy with one unrolled step, which is not kept.
//!
//! The inner losses see P only through the projected neurons Y = W P' (N x k), so that dL/dP = (dL/dY)' W, and a
//! step of P moves Y by W W' dL/dY. Steps are taken by Y: they cost N x N x k with the Gram matrix W W', not N x d x k.
//!
//! Source: Lin et al., CVPR 2020, sections 3.2 and 3.3 and its published code, which has k = 30, eta = the network's
//! learning rate, T = 1, m = 1 (AP) or 10 (Adv), and decay = 1e-3 * 5e-4; the paper has no decay.

use std::collections::BTreeMap;
use std::fmt;

use autograd::{Custom, DType, Key, Tensor, custom, keep};

use crate::energy::{Energy, checked_rows};
use crate::error::Error;
use crate::regulariser::{LayerWeight, Regulariser, Step};

/// Whether the gradient of the energy sees that P depends on W.
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
    /// The network's learning rate of the moment.
    Network,
    /// Always the same.
    Fixed(f64),
}

/// Inner steps from a given projection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InnerSteps {
    /// How many, T.
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
    /// Steps T that the energy's gradient flows through; none are taken in alternating mode.
    pub unrolled: usize,
    /// Unrolled or alternating.
    pub mode: Mode,
    /// The size of all these steps.
    pub rate: Rate,
    /// The weight decay of P.
    pub decay: f64,
    /// P starts at independent N(0, 1) entries that follow from this seed and the layer's name.
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
    /// Whether all options are in range.
    ///
    /// # Errors
    /// If k is 0, or a rate or the decay is negative, NaN or infinite.
    pub fn check(&self) -> Result<(), Error> {
        if self.k < 1 {
            return Err(Error::option("k = 0: a projection needs k >= 1".into()));
        }
        let rate = if let Rate::Fixed(rate) = self.rate { rate } else { 0.0 };
        InnerSteps { rate, decay: self.decay, ..InnerSteps::default() }.check()
    }

    /// The P that a layer with neurons of dimension `d` starts from, k x d.
    pub fn start(&self, layer: &str, d: usize, dtype: DType) -> Tensor {
        Tensor::normal([self.k, d], dtype, Key::new(self.seed).stream("learned").stream(layer))
    }
}

impl InnerSteps {
    /// Whether rate and decay are in range.
    ///
    /// # Errors
    /// If one is negative, NaN or infinite.
    pub fn check(&self) -> Result<(), Error> {
        for (name, value) in [("inner rate", self.rate), ("inner decay", self.decay)] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(Error::option(format!("{name} = {value}: it must be finite and at least 0")));
            }
        }
        Ok(())
    }
}

/// The inner loss at given neurons, a function of their projections.
pub trait Inner: Sized {
    /// 1 if P ascends, -1 if it descends.
    const SIGN: f64;
    /// L of the projected neurons Y (N x k), a scalar.
    fn loss(&self, y: &Tensor) -> Result<Tensor, Error>;
    /// W W' v, \[N, k\] to \[N, k\].
    fn gram_times(&self, v: &Tensor) -> Tensor;
}

/// A kind of inner loss: what makes a variant.
pub trait Lesson: Clone + fmt::Debug + Send {
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

/// The Gram matrix of neurons, W W' = size V V' size, where V is W in units in which nothing overflows.
#[derive(Clone, Debug)]
pub(crate) struct Gram {
    /// V, N x d.
    v: Tensor,
    /// The units, N x 1, constants: powers of two next to the neurons' lengths if those are out of the ordinary, else 1.
    size: Tensor,
    /// V V', N x N, if it is formed.
    product: Option<Tensor>,
}

impl Gram {
    /// The Gram matrix of rows (N x d), which is not formed: products with it take two with V.
    pub(crate) fn implied(rows: &Tensor) -> Gram {
        let norm = rows.detach().norm(keep(1));
        let exponents: Vec<f64> = norm.to_vec::<f64>().iter().map(|norm| norm.log2().floor()).collect();
        let (shape, dtype) = (norm.shape(), rows.dtype());
        // Ordinary lengths, whose squares are far from both ends of the exponents, are left as they are.
        if exponents.iter().all(|e| e.abs() <= 20.0) {
            return Gram { v: rows.clone(), size: Tensor::ones(shape, dtype), product: None };
        }
        // A row of zeros, which has no length of its own, gets the smallest.
        let most = if dtype == DType::F64 { 1000.0 } else { 120.0 };
        let size = Tensor::from_fn(shape, dtype, |i| exponents[i].clamp(-most, most).exp2());
        Gram { v: rows / &size, size, product: None }
    }

    /// The Gram matrix of rows (N x d), formed.
    pub(crate) fn formed(rows: &Tensor) -> Gram {
        let implied = Gram::implied(rows);
        Gram { product: Some(self_product(&implied.v)), ..implied }
    }

    /// W W' x, for x N x k.
    pub(crate) fn times(&self, x: &Tensor) -> Tensor {
        let x = x * &self.size;
        let product = match &self.product {
            Some(product) => product.matmul(&x),
            None => self.v.matmul(&self.v.matmul_tn(&x)),
        };
        product * &self.size
    }

    /// w_i . w_j / (n_i n_j) with n = sqrt(|w|^2 + eps), N x N.
    pub(crate) fn cosines(&self, eps: f64) -> Tensor {
        let n = self.size.shape()[0];
        let formed = self.product.clone();
        let product = formed.unwrap_or_else(|| self_product(&self.v));
        let root = eps.sqrt() / self.size.reshape([n]);
        let square = product.diagonal(0) + &root * &root;
        // Rows of zeros without eps: their cosines are 0.
        let zero = 1.0 - square.detach().step();
        let inverse = (square + zero).rsqrt();
        product * inverse.reshape([n, 1]) * inverse.reshape([1, n])
    }

    pub(crate) fn detach(&self) -> Gram {
        let product = self.product.as_ref().map(Tensor::detach);
        Gram { v: self.v.detach(), size: self.size.clone(), product }
    }
}

/// V V': one product each way, since both are symmetric.
#[derive(Debug)]
struct SelfProduct;

impl Custom for SelfProduct {
    const NAME: &'static str = "self_product";

    fn forward(&self, x: &[Tensor]) -> Tensor {
        x[0].matmul_nt(&x[0])
    }

    /// (G + G') V
    fn gradient(&self, x: &[Tensor], _: &Tensor, g: &Tensor) -> Vec<Option<Tensor>> {
        vec![Some((g + g.transpose(0, 1)).matmul(&x[0]))]
    }
}

/// The rows' cosines, N x N, of directions.
pub(crate) fn self_product(u: &Tensor) -> Tensor {
    custom(SelfProduct, &[u])
}

/// What inner steps lead to.
struct Moved {
    /// The projected neurons W P_T', N x k.
    y: Tensor,
    /// The sum of the steps in terms of Y: P_T = shrink P_0 + total' W, a constant.
    total: Tensor,
    /// What decay leaves of P_0.
    shrink: f64,
}

/// Takes the steps from Y_0 = W P' (N x k). They are part of the graph if Y_0 is and the mode is unrolled.
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

/// The projection, k x d, that plain steps lead to.
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
    energy_after(lesson, energy, &rows, &p, steps)
}

/// The energy after inner steps from a P that fits.
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
    Ok(energy.of_batch(&y.unsqueeze(0), true)?.reshape([]))
}

/// The regulariser: a projection a layer, kept and learned from step to step.
#[derive(Clone, Debug)]
pub struct Learned<L> {
    lesson: L,
    energy: Energy,
    learning: Learning,
    /// P by layer, k x d.
    projections: BTreeMap<String, Tensor>,
}

/// What the name of a layer's P ends with in the saved state.
const SUFFIX: &str = ".projection";

impl<L: Lesson> Learned<L> {
    pub(crate) fn teach(lesson: L, energy: Energy, learning: Learning) -> Result<Learned<L>, Error> {
        energy.check()?;
        learning.check()?;
        Ok(Learned { lesson, energy, learning, projections: BTreeMap::new() })
    }

    /// The layer's present P, k x d; drawn if this is its first step.
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

    /// The P that the layer will keep, and the energy.
    fn advance(&self, layer: &LayerWeight, step: Step) -> Result<(Tensor, Tensor), Error> {
        let Learning { k, plain, unrolled, mode, rate, decay, .. } = self.learning;
        let rate = if let Rate::Fixed(rate) = rate { rate } else { step.lr };
        let steps = |count, mode| InnerSteps { count, rate, decay, mode };
        let rows = checked_rows(layer.weight)?;
        let mut p = self.projection(layer.name, rows.shape()[1], rows.dtype())?;
        let plain = steps(plain.unwrap_or(L::PLAIN), Mode::Alternating);
        let constant = rows.detach();
        if mode == Mode::Alternating || unrolled == 0 {
            let inner = self.lesson.at(&self.energy, &constant, k * plain.count)?;
            p = learn(&inner, &constant, &p, plain)?;
            let y = rows.matmul_nt(&p);
            return Ok((p, self.energy.of_batch(&y.unsqueeze(0), true)?.reshape([])));
        }
        let through = steps(unrolled, Mode::Unrolled);
        let inner = self.lesson.at(&self.energy, &rows, k * (plain.count + unrolled))?;
        p = learn(&self.lesson.constant(&inner), &constant, &p, plain)?;
        let y = take(&inner, rows.matmul_nt(&p), through)?.y;
        Ok((p, self.energy.of_batch(&y.unsqueeze(0), true)?.reshape([])))
    }
}

impl<L: Lesson> Regulariser for Learned<L> {
    fn name(&self) -> &'static str {
        L::NAME
    }

    fn penalty(&mut self, layer: &LayerWeight, step: Step) -> Result<Tensor, Error> {
        let (p, energy) = self.advance(layer, step)?;
        self.projections.insert(layer.name.to_string(), p);
        Ok(energy)
    }

    /// The value that [`Regulariser::penalty`] would have, its steps included; they are not kept.
    fn measure(&self, layer: &LayerWeight, step: Step) -> Result<f64, Error> {
        let weight = layer.weight.detach();
        Ok(self.advance(&LayerWeight { weight: &weight, ..*layer }, step)?.1.item())
    }

    /// P of every layer, k x d, as `<layer>.projection`.
    fn state(&self) -> Vec<(String, Tensor)> {
        self.projections.iter().map(|(layer, p)| (format!("{layer}{SUFFIX}"), p.clone())).collect()
    }

    fn load_state(&mut self, state: &[(String, Tensor)]) -> Result<(), Error> {
        let mut projections = BTreeMap::new();
        for (name, p) in state {
            let Some(layer) = name.strip_suffix(SUFFIX) else {
                return Err(Error::option(format!(
                    "{name}: the state of {} is a projection a layer",
                    L::NAME
                )));
            };
            if p.rank() != 2 || p.shape()[0] != self.learning.k || !p.is_finite() {
                let (k, shape) = (self.learning.k, p.shape());
                return Err(Error::shape(format!(
                    "{name}: expected finite numbers of shape [{k}, d], found {shape}"
                )));
            }
            projections.insert(layer.to_string(), p.clone());
        }
        self.projections = projections;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adv::Adversarial;
    use crate::ap::{AnglePreserving, Preserve, angle_preserving_energy};
    use crate::regulariser::Role;

    fn weight() -> Tensor {
        Tensor::normal([8, 40], DType::F64, Key::new(1)).requires_grad()
    }

    fn step(index: u64) -> Step {
        Step { index, lr: 0.05 }
    }

    fn regularisers() -> Vec<Box<dyn Regulariser>> {
        let half = Energy { half_space: true, ..Energy::default() };
        let mut list: Vec<Box<dyn Regulariser>> = Vec::new();
        for mode in [Mode::Unrolled, Mode::Alternating] {
            let learning = Learning { k: 6, mode, ..Learning::default() };
            for objective in Preserve::ALL {
                list.push(Box::new(AnglePreserving::new(half, objective, learning).unwrap()));
            }
            list.push(Box::new(Adversarial::new(half, learning).unwrap()));
        }
        list
    }

    #[test]
    fn a_resumed_regulariser_goes_on_to_the_last_digit() {
        let w = weight();
        let layer = LayerWeight { name: "fc", role: Role::Hidden, weight: &w };
        for (mut whole, (mut first, mut second)) in
            regularisers().into_iter().zip(regularisers().into_iter().zip(regularisers()))
        {
            let run = |r: &mut Box<dyn Regulariser>, steps: std::ops::Range<u64>| -> Vec<f64> {
                steps.map(|i| r.penalty(&layer, step(i)).unwrap().item()).collect()
            };
            let all = run(&mut whole, 0..6);
            assert!(all.windows(2).all(|pair| pair[0] != pair[1]), "the projection learns");
            let mut parts = run(&mut first, 0..3);
            second.load_state(&first.state()).unwrap();
            // Measuring tells the next value and changes nothing.
            let measured = second.measure(&layer, step(3)).unwrap();
            assert!((measured / all[3] - 1.0).abs() < 1e-12, "{measured}, {}", all[3]);
            parts.extend(run(&mut second, 3..6));
            assert_eq!(parts, all);
            let (name, p) = second.state().remove(0);
            assert_eq!((name.as_str(), *p.shape()), ("fc.projection", [6, 40].into()));
            assert!(second.load_state(&[("fc".into(), p.clone())]).is_err());
            assert!(second.load_state(&[(name.clone(), p.transpose(0, 1))]).is_err());
            second.load_state(&[(name, p.slice_axis(1, ..7))]).unwrap();
            let error = second.penalty(&layer, step(6)).unwrap_err().to_string();
            assert!(error.contains("expected a learned projection of shape [6, 40]"), "{error}");
        }
    }

    #[test]
    fn descent_brings_angles_nearer_and_ascent_raises_the_energy() {
        let rows = weight().detach();
        let p = Learning { k: 6, ..Learning::default() }.start("w", 40, DType::F64);
        let steps = |count, rate| InnerSteps { count, rate, decay: 0.0, mode: Mode::Alternating };
        let energy = Energy::default();
        for (objective, rate) in [(Preserve::Cosine, 0.05), (Preserve::Angle, 0.005)] {
            let inner = objective.at(&energy, &rows, 0).unwrap();
            let loss = |p: &Tensor| inner.loss(&rows.matmul_nt(p)).unwrap().item();
            let learned = learn(&inner, &rows, &p, steps(300, rate)).unwrap();
            assert!(loss(&learned) < 0.6 * loss(&p), "{objective}: {} to {}", loss(&p), loss(&learned));
        }
        let before = crate::random::projected_energy(&energy, &rows, &p).unwrap().item();
        let after = crate::adv::adversarial_energy(&energy, &rows, &p, steps(10, 0.05)).unwrap().item();
        assert!(after > 1.03 * before, "{before} to {after}");
    }

    #[test]
    fn gram_matrices_formed_or_not_give_the_same_steps() {
        let w = weight();
        let gradient = |gram: Gram| {
            let x = Tensor::normal([8, 3], DType::F64, Key::new(2));
            (gram.times(&x).norm(..) + gram.cosines(1e-4).norm(..)).grad(&[&w]).remove(0)
        };
        let difference = gradient(Gram::formed(&w)) - gradient(Gram::implied(&w));
        assert!(difference.norm(..).item() < 1e-12);
    }

    #[test]
    fn decay_shrinks_the_projection_and_a_rate_can_be_fixed() {
        let w = weight();
        let layer = LayerWeight { name: "fc", role: Role::Hidden, weight: &w };
        let learning = Learning { k: 6, plain: Some(1), mode: Mode::Alternating, ..Learning::default() };
        let p_after = |rate, decay, lr| {
            let learning = Learning { rate, decay, ..learning };
            let mut ap = AnglePreserving::new(Energy::default(), Preserve::Cosine, learning).unwrap();
            ap.penalty(&layer, Step { index: 0, lr }).unwrap();
            ap.state().remove(0).1
        };
        let norm = |t: Tensor| t.norm(..).item();
        assert_eq!(norm(p_after(Rate::Fixed(0.2), 0.0, 9.0) - p_after(Rate::Network, 0.0, 0.2)), 0.0);
        assert_eq!(norm(p_after(Rate::Network, 0.0, 0.0) - learning.start("fc", 40, DType::F64)), 0.0);
        // P - eta g with and without decay differ by eta decay P.
        let lost = p_after(Rate::Network, 0.0, 0.1) - p_after(Rate::Network, 0.5, 0.1);
        assert!(norm(lost - learning.start("fc", 40, DType::F64) * 0.05) < 1e-12);
    }

    #[test]
    fn unrolling_sees_what_a_constant_hides() {
        let w = weight();
        let p = Learning { k: 6, ..Learning::default() }.start("w", 40, DType::F64);
        let run = |mode| {
            let steps = InnerSteps { mode, ..InnerSteps::default() };
            let e = angle_preserving_energy(&Energy::default(), &w, &p, Preserve::Cosine, steps).unwrap();
            (e.item(), e.grad(&[&w]).remove(0))
        };
        let ((e, g), (f, h)) = (run(Mode::Unrolled), run(Mode::Alternating));
        assert!((e / f - 1.0).abs() < 1e-12, "the value is the same");
        assert!((&g - h).norm(..).item() > 1e-3 * g.norm(..).item(), "the gradient is not");
    }
}
