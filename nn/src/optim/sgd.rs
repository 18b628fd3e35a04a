//! Stochastic gradient descent.

use autograd::{DType, Scalar, Tensor, optim};
use registry::{Row, Setting};

use super::{Optimizer, OptimizerSpec, Transform, Update};
use crate::error::Error;

/// Stochastic gradient descent with momentum, in PyTorch's form: with weight decay w and learning rate lr,
///
///   g += w p;   v = momentum v + (1 - dampening) g,  v = g in the first update;   p -= lr v
///
/// or p -= lr (g + momentum v) with `nesterov` (Sutskever et al. 2013). The default is plain gradient descent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sgd {
    /// Momentum coefficient, in 0..1.
    pub momentum: f64,
    /// Dampening of the momentum: a gradient is multiplied by 1 - dampening before it is added to the velocity.
    pub dampening: f64,
    /// Whether to use Nesterov momentum.
    pub nesterov: bool,
}

pub(super) const ROW: Row<OptimizerSpec> = Row {
    name: "sgd",
    help: "gradient descent with momentum (default lr 0.05)",
    settings: &[Setting::new("momentum"), Setting::new("nesterov")],
    make: OptimizerSpec {
        build: |options| {
            let (momentum, nesterov) = (options.momentum, options.nesterov);
            Optimizer::new(Sgd { momentum, nesterov, ..Sgd::default() })
        },
        lr: 0.05,
        copies: 1.0,
    },
};

impl Sgd {
    fn update<T: Scalar>(&self, u: &mut Update<'_>, g: &Tensor) {
        let Sgd { momentum, dampening, nesterov } = *self;
        let sgd = optim::Sgd { lr: u.lr, momentum, dampening, nesterov, weight_decay: u.weight_decay };
        let (g, first) = (g.data::<T>(), u.count == 1);
        match u.slots {
            [v] => u.parameter.update::<T>(|p| v.update::<T>(|v| sgd.step(p, g, v, first))),
            _ => u.parameter.update::<T>(|p| sgd.step(p, g, &mut [], first)),
        }
    }
}

impl Transform for Sgd {
    fn name(&self) -> &'static str {
        "sgd"
    }

    fn slots(&self, _: &Tensor) -> &'static [&'static str] {
        if self.momentum == 0.0 { &[] } else { &["velocity"] }
    }

    fn check(&self) -> Result<(), Error> {
        let Sgd { momentum, dampening, .. } = self;
        if !(0.0..1.0).contains(momentum) || !(0.0..=1.0).contains(dampening) {
            return Err(Error::Config(format!(
                "sgd: momentum is {momentum}, dampening {dampening}; they must be from 0 to 1, momentum below 1"
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
