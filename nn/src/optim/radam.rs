//! Rectified Adam.

use autograd::{DType, Scalar, Tensor};
use registry::Row;

use super::{Adam, Optimizer, OptimizerSpec, Transform, Update};
use crate::error::Error;

/// Rectified Adam in PyTorch's form (Liu et al., ICLR 2020, arXiv 1908.03265): Adam whose step is scaled by
///
///   r_t = sqrt((rho_t - 4) (rho_t - 2) rho / ((rho - 4) (rho - 2) rho_t))
///   rho = 2 / (1 - beta_2) - 1,   rho_t = rho - 2 t beta_2^t / (1 - beta_2^t)
///
/// where rho_t > 5, and by the mean of g alone in the first updates, where the estimate of the mean of g^2 has a large
/// variance.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RAdam(
    /// Betas, eps and the kind of weight decay.
    pub Adam,
);

pub(super) const ROW: Row<OptimizerSpec> = Row {
    name: "radam",
    help: "Adam with a rectified start (0.001)",
    settings: &[],
    make: OptimizerSpec { build: |_| Optimizer::new(RAdam::default()), lr: 0.001, copies: 2.0 },
};

impl RAdam {
    fn update<T: Scalar>(&self, u: &mut Update<'_>, g: &Tensor) {
        let Adam { betas: [b1, b2], eps, decoupled } = self.0;
        let t = u.count as f64;
        let [bias1, bias2] = [b1, b2].map(|b| 1.0 - b.powf(t));
        let rho = 2.0 / (1.0 - b2) - 1.0;
        let rho_t = rho - 2.0 * t * b2.powf(t) / bias2;
        let rectified = (rho_t > 5.0).then(|| {
            ((rho_t - 4.0) * (rho_t - 2.0) * rho / ((rho - 4.0) * (rho - 2.0) * rho_t)).sqrt() * bias2.sqrt()
        });
        let (lr, decay) = (u.lr, u.weight_decay);
        let [m, s] = u.slots else { unreachable!("radam keeps two tensors") };
        let g = g.data::<T>();
        let step = |p: &mut [T], m: &mut [T], s: &mut [T]| {
            for (((p, g), m), s) in p.iter_mut().zip(g).zip(m).zip(s) {
                let (mut p0, mut g0) = (p.to_f64(), g.to_f64());
                if decoupled {
                    p0 *= 1.0 - lr * decay;
                } else {
                    g0 += decay * p0;
                }
                let (m1, s1) = (b1 * m.to_f64() + (1.0 - b1) * g0, b2 * s.to_f64() + (1.0 - b2) * g0 * g0);
                let scale = rectified.map_or(1.0, |r| r / (s1.sqrt() + eps));
                (*m, *s) = (T::from_f64(m1), T::from_f64(s1));
                *p = T::from_f64(p0 - lr * m1 / bias1 * scale);
            }
        };
        u.parameter.update::<T>(|p| m.update::<T>(|m| s.update::<T>(|s| step(p, m, s))));
    }
}

impl Transform for RAdam {
    fn name(&self) -> &'static str {
        "radam"
    }

    fn slots(&self, _: &Tensor) -> &'static [&'static str] {
        &["mean", "square"]
    }

    fn check(&self) -> Result<(), Error> {
        self.0.check()
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
