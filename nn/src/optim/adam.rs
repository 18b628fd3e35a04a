//! Adam and AdamW.

use autograd::{DType, Scalar, Tensor, optim};
use registry::Row;

use super::{Optimizer, OptimizerSpec, Transform, Update};
use crate::error::Error;

/// Adam in PyTorch's form: g += w p with weight decay w; m and s are running means of g and g^2;
/// p -= lr m' / (sqrt(s') + eps), primes for the bias-corrected means (Kingma and Ba 2015, arXiv 1412.6980).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// Decay rates of the two running means, in 0..1.
    pub betas: [f64; 2],
    /// Added to the square root of s' for numerical stability.
    pub eps: f64,
    /// AdamW: p -= lr w p in place of g += w p (Loshchilov and Hutter 2019, arXiv 1711.05101).
    pub decoupled: bool,
}

pub(super) const ADAM: Row<OptimizerSpec> = Row {
    name: "adam",
    help: "running means of the gradient and its square (0.001)",
    settings: &[],
    make: OptimizerSpec { build: |_| Optimizer::new(Adam::default()), lr: 0.001, copies: 2.0 },
};

pub(super) const ADAMW: Row<OptimizerSpec> = Row {
    name: "adamw",
    help: "Adam with decoupled weight decay (0.001)",
    settings: &[],
    make: OptimizerSpec { build: |_| Optimizer::new(Adam::decoupled()), lr: 0.001, copies: 2.0 },
};

/// Adam with the usual constants: betas 0.9 and 0.999, eps 1e-8.
impl Default for Adam {
    fn default() -> Adam {
        Adam { betas: [0.9, 0.999], eps: 1e-8, decoupled: false }
    }
}

impl Adam {
    /// AdamW with the usual constants.
    pub fn decoupled() -> Adam {
        Adam { decoupled: true, ..Adam::default() }
    }

    fn update<T: Scalar>(&self, u: &mut Update<'_>, g: &Tensor) {
        let Adam { betas, eps, decoupled } = *self;
        let adam = optim::Adam { lr: u.lr, betas, eps, weight_decay: u.weight_decay, decoupled };
        let (g, count) = (g.data::<T>(), u.count);
        let [m, s] = u.slots else { unreachable!("adam keeps two tensors") };
        u.parameter.update::<T>(|p| m.update::<T>(|m| s.update::<T>(|s| adam.step(p, g, m, s, count))));
    }
}

impl Transform for Adam {
    fn name(&self) -> &'static str {
        "adam"
    }

    fn slots(&self, _: &Tensor) -> &'static [&'static str] {
        &["mean", "square"]
    }

    fn check(&self) -> Result<(), Error> {
        let Adam { betas, eps, .. } = self;
        if !betas.iter().all(|b| (0.0..1.0).contains(b)) || eps.is_nan() || *eps < 0.0 {
            return Err(Error::Config(format!(
                "adam: betas are {} and {}, eps {eps}; betas must be from 0 to 1, below 1, eps not negative",
                betas[0], betas[1]
            )));
        }
        Ok(())
    }

    fn apply(&mut self, updates: &mut [Update<'_>]) {
        for update in updates {
            let Some(g) = update.gradient.take() else { continue };
            match update.parameter.dtype() {
                DType::F32 => self.update::<f32>(update, &g),
                DType::F64 => self.update::<f64>(update, &g),
            }
        }
    }
}
