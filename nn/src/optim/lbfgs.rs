//! Limited-memory BFGS.

use autograd::{DType, Tensor};
use registry::Row;

use super::{Optimizer, OptimizerSpec, Transform, Update};

/// Limited-memory BFGS without line search, in PyTorch's form with one iteration per step (Liu and Nocedal 1989): the
/// step is -lr H g, where H approximates the inverse Hessian from the last ten pairs of steps s and gradient
/// differences y, by the two-loop recursion. The first step is -g min(1, 1 / |g|_1) lr. A pair with <s, y> at most
/// 1e-10 is left out.
///
/// It is made for a smooth loss of all data in one batch, since gradient differences between different batches do not
/// belong to one function. A learning rate of 1 takes full steps. Weight decay w adds w p to the gradient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lbfgs;

pub(super) const ROW: Row<OptimizerSpec> = Row {
    name: "lbfgs",
    help: "limited-memory BFGS, for all data in one batch (1)",
    settings: &[],
    make: OptimizerSpec { build: |_| Optimizer::new(Lbfgs), lr: 1.0, copies: SLOTS.len() as f64 },
};

/// Pairs that are kept.
const HISTORY: usize = 10;

/// The slots: the last gradient, the last step, then the steps and the gradient differences, the newest first.
const SLOTS: [&str; 2 + 2 * HISTORY] = [
    "gradient", "move", "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "y0", "y1", "y2", "y3",
    "y4", "y5", "y6", "y7", "y8", "y9",
];
const LAST_GRADIENT: usize = 0;
const LAST_MOVE: usize = 1;
const S: usize = 2;
const Y: usize = S + HISTORY;

/// A pair with a smaller <s, y> has no useful curvature information.
const LEAST: f64 = 1e-10;

/// A vector as one tensor per parameter.
type Parts = Vec<Tensor>;

fn dot(a: &Parts, b: &Parts) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a.to_dtype(DType::F64) * b.to_dtype(DType::F64)).sum(..).item()).sum()
}

/// a + factor b
fn plus(a: &Parts, factor: f64, b: &Parts) -> Parts {
    a.iter().zip(b).map(|(a, b)| a + b * factor).collect()
}

impl Transform for Lbfgs {
    fn name(&self) -> &'static str {
        "lbfgs"
    }

    fn slots(&self, _: &Tensor) -> &'static [&'static str] {
        &SLOTS
    }

    fn apply(&mut self, updates: &mut [Update<'_>]) {
        let decayed = |u: &mut Update<'_>| {
            let g = u.gradient.take()?;
            Some(if u.weight_decay == 0.0 { g } else { g + u.parameter.detach() * u.weight_decay })
        };
        let g: Parts = updates.iter_mut().filter_map(decayed).collect();
        let Some(first) = updates.first().map(|u| u.count == 1) else { return };
        let slot = |i: usize| -> Parts { updates.iter().map(|u| u.slots[i].clone()).collect() };
        let mut pairs: Vec<(Parts, Parts)> = (0..HISTORY).map(|i| (slot(S + i), slot(Y + i))).collect();
        // A pair that does not exist yet is 0.
        pairs.retain(|(s, y)| dot(s, y) > 0.0);
        let direction = if first {
            let size: f64 = g.iter().map(|g| g.to_dtype(DType::F64).abs().sum(..).item()).sum();
            let scale = (1.0 / size).min(1.0);
            g.iter().map(|g| g * -scale).collect()
        } else {
            let (s, y) = (slot(LAST_MOVE), plus(&g, -1.0, &slot(LAST_GRADIENT)));
            if dot(&s, &y) > LEAST {
                pairs.insert(0, (s, y));
                pairs.truncate(HISTORY);
            }
            newton(&g, &pairs)
        };
        for (i, u) in updates.iter_mut().enumerate() {
            let step = &direction[i] * u.lr;
            for (k, (s, y)) in pairs.iter().enumerate() {
                u.slots[S + k].assign(&s[i]);
                u.slots[Y + k].assign(&y[i]);
            }
            u.slots[LAST_GRADIENT].assign(&g[i]);
            u.slots[LAST_MOVE].assign(&step);
            let p = u.parameter.detach();
            u.parameter.assign(&(p + step));
        }
    }
}

/// -H g by the two-loop recursion, the newest pair first.
fn newton(g: &Parts, pairs: &[(Parts, Parts)]) -> Parts {
    let mut q: Parts = g.iter().map(|g| -g).collect();
    let mut alphas = Vec::new();
    for (s, y) in pairs {
        let alpha = dot(s, &q) / dot(s, y);
        q = plus(&q, -alpha, y);
        alphas.push(alpha);
    }
    if let Some((s, y)) = pairs.first() {
        let scale = dot(s, y) / dot(y, y);
        q = q.iter().map(|q| q * scale).collect();
    }
    for ((s, y), alpha) in pairs.iter().zip(alphas).rev() {
        let beta = dot(y, &q) / dot(s, y);
        q = plus(&q, alpha - beta, s);
    }
    q
}
