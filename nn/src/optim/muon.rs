//! Muon: momentum, orthogonalised.

use autograd::Tensor;
use registry::Row;

use super::{Adam, Optimizer, OptimizerSpec, Transform, Update};
use crate::error::Error;

/// Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon): the momentum of a weight matrix is replaced by the
/// nearest matrix with singular values of about 1.
///
///   v = momentum v + (1 - momentum) g;   u = (1 - momentum) g + momentum v with Nesterov's step, else v
///   p *= 1 - lr w;   p -= lr c O(u)
///
/// with c = max(1, rows / columns)^(1/2), or 0.2 max(rows, columns)^(1/2) with `match_rms`, which makes steps as long as
/// AdamW's, so that one learning rate serves both (Liu et al. 2025, arXiv 2502.16982). O is five Newton-Schulz iterations X = a X + (b A + c A^2) X with A = X X', from X = u / |u|_F. Filters of
/// convolutions are rows. Only parameters of at least two axes are updated; a transform after it must update the
/// others, [`Adam`](super::Adam) for example, and parameter groups can give it other learning rates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Muon {
    /// Momentum coefficient, in 0..1.
    pub momentum: f64,
    /// Whether to use Nesterov momentum.
    pub nesterov: bool,
    /// Newton-Schulz iterations.
    pub iterations: usize,
    /// Whether to scale steps to the length of AdamW's.
    pub match_rms: bool,
}

pub(super) const ROW: Row<OptimizerSpec> = Row {
    name: "muon",
    help: "orthogonalised momentum; biases and norms by adamw (0.001)",
    settings: &[],
    make: OptimizerSpec {
        build: |_| {
            let muon = Muon { match_rms: true, ..Muon::default() };
            Optimizer::new(muon).then(Adam::decoupled())
        },
        lr: 0.001,
        copies: 1.0,
    },
};

/// PyTorch's constants: momentum 0.95 with Nesterov's step, five iterations.
impl Default for Muon {
    fn default() -> Muon {
        Muon { momentum: 0.95, nesterov: true, iterations: 5, match_rms: false }
    }
}

/// The matrix with the singular vectors of `x` and singular values between about 0.7 and 1.2, by `iterations` steps of
/// Newton-Schulz with the coefficients of Jordan et al.
pub fn orthogonalised(x: &Tensor, iterations: usize) -> Tensor {
    const A: f64 = 3.4445;
    const B: f64 = -4.775;
    const C: f64 = 2.0315;
    let tall = x.shape()[0] > x.shape()[1];
    let norm = x.norm(..).item().max(1e-7);
    let mut x = (if tall { x.transpose(0, 1) } else { x.clone() }) / norm;
    for _ in 0..iterations {
        let a = x.matmul_nt(&x);
        let b = &a * B + a.matmul(&a) * C;
        x = &x * A + b.matmul(&x);
    }
    if tall { x.transpose(0, 1) } else { x }
}

impl Transform for Muon {
    fn name(&self) -> &'static str {
        "muon"
    }

    fn slots(&self, parameter: &Tensor) -> &'static [&'static str] {
        if parameter.rank() >= 2 { &["momentum"] } else { &[] }
    }

    fn check(&self) -> Result<(), Error> {
        if (0.0..1.0).contains(&self.momentum) {
            return Ok(());
        }
        Err(Error::Config(format!("muon: momentum is {}; it must be from 0 to 1, below 1", self.momentum)))
    }

    fn apply(&mut self, updates: &mut [Update<'_>]) {
        let m = self.momentum;
        for u in updates.iter_mut().filter(|u| u.parameter.rank() >= 2 && u.parameter.numel() > 0) {
            let Some(g) = u.gradient.take() else { continue };
            let v = &u.slots[0] * m + &g * (1.0 - m);
            let direction = if self.nesterov { &g * (1.0 - m) + &v * m } else { v.clone() };
            u.slots[0].assign(&v);
            let p = u.parameter.detach();
            let rows = p.shape()[0];
            let columns = p.numel() / rows;
            let step = orthogonalised(&direction.reshape([rows, columns]), self.iterations);
            let [r, c] = [rows as f64, columns as f64];
            let scale = u.lr * if self.match_rms { 0.2 * r.max(c).sqrt() } else { (r / c).max(1.0).sqrt() };
            let decayed = &p * (1.0 - u.lr * u.weight_decay);
            u.parameter.assign(&(decayed - step.reshape(p.shape()) * scale));
        }
    }
}
