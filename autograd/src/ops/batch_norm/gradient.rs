//! The gradient of batch normalisation as a separate operation, so that its gradients have kernels, too.

use kernels::norm::{self, Affine, Gradients, Mask};

use super::{BatchStats, affine, by_channel, channels, fresh, standard};
use crate::axis::keep;
use crate::buffer::Buffer;
use crate::dtype::dispatch;
use crate::kinds::fused::{Fused, fused};
use crate::tensor::Tensor;

/// The gradient with respect to x of sum(g . batch norm(x)), from x, gamma and g:
/// gamma rstd (g - average g - h average (g h)) with h = (x - mean) rstd.
#[derive(Debug)]
struct Gradient {
    eps: f64,
    /// The batch statistics of x from the forward pass.
    mean: Tensor,
    rstd: Tensor,
}

/// The gradient with respect to x, recorded.
#[track_caller]
pub(super) fn apply(
    eps: f64,
    stats: &BatchStats,
    rstd: &Tensor,
    x: &Tensor,
    gamma: &Tensor,
    g: &Tensor,
) -> Tensor {
    fused(Gradient { eps, mean: stats.mean.clone(), rstd: rstd.clone() }, &[x, gamma, g])
}

impl Fused for Gradient {
    type Kept = ();
    const NAME: &'static str = "batch_norm_gradient";

    fn definition(&self, x: &[Tensor]) -> Tensor {
        let [x, gamma, g] = x else { unreachable!("three inputs") };
        let axes: Vec<isize> = (0..x.rank() as isize).filter(|&axis| axis != 1).collect();
        let (h, rstd) = standard(x, self.eps);
        let slope = (&h * g).mean(keep(axes.as_slice()));
        (g - g.mean(keep(axes.as_slice())) - h * slope) * (rstd * by_channel(gamma, x))
    }

    fn forward(&self, x: &[Tensor]) -> (Tensor, ()) {
        let [x, gamma, g] = x else { unreachable!("three inputs") };
        let shape = channels(x);
        let dx = dispatch!(x.dtype(), T => {
            // The sums are not needed here.
            let [mut dgamma, mut dbeta] = [(); 2].map(|()| Buffer::uninit::<T>(shape.c));
            let [dgamma, dbeta] = [&mut dgamma, &mut dbeta].map(fresh);
            let by: Affine<'_, T> = affine(gamma, gamma, &self.mean, &self.rstd);
            Tensor::build::<T>(*x.shape(), |dx| {
                let gradients = Gradients::Input(g.slice(), dx);
                norm::batch_norm_backward(x.slice(), Mask::None, gradients, shape, &by, dgamma, dbeta);
            })
        });
        (dx, ())
    }

    fn backward(&self, x: &[Tensor], _: &(), u: &Tensor, wants: &[bool]) -> Vec<Option<Tensor>> {
        let [x, gamma, g] = x else { unreachable!("three inputs") };
        let shape = channels(x);
        dispatch!(x.dtype(), T => {
            let [mut dx, mut dg] = [(); 2].map(|()| Buffer::uninit::<T>(x.numel()));
            let mut dgamma = Buffer::uninit::<T>(shape.c);
            let by: Affine<'_, T> = affine(gamma, gamma, &self.mean, &self.rstd);
            let (x_, g_, u_) = (x.slice(), g.slice(), u.slice());
            norm::batch_norm_second(x_, g_, u_, shape, &by, fresh(&mut dx), fresh(&mut dg), fresh(&mut dgamma));
            let all = [(dx, x), (dgamma, gamma), (dg, g)].map(|(d, x)| Tensor::from_buffer(d, *x.shape()));
            all.into_iter().zip(wants).map(|(d, &wanted)| wanted.then_some(d)).collect()
        })
    }
}
