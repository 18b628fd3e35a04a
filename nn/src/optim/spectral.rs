//! A bound on the singular values of weights.

use autograd::{DType, Index, Tensor};

use super::{Transform, Update};
use crate::error::Error;

/// After each update every weight (a parameter with at least two axes) is replaced by the nearest one whose singular
/// values are at most tau_e (Bietti, Mialon, Chen, Mairal, ICML 2019, arXiv 1810.00363, section 2.2):
///
///   W = U min(S, tau_e) V',   tau_e = tau (1 + 4 exp(-epoch / kappa)),   epoch = 0, 1, ...
///
/// A convolution counts as the matrix [out, in k k] of its filters, whose norm is not that of the convolution. Put it
/// after the transform that applies the gradients.
///
/// The cost per step of a weight of m x n elements, m <= n, is one product of m^2 n multiplications and an
/// eigendecomposition of about 10 m^3; nothing where the Frobenius norm is below the bound.
///
/// ```
/// use nn::{Optimizer, SpectralConstraint};
/// let optimizer = Optimizer::sgd(0.9).then(SpectralConstraint { tau: 1.5, kappa: 2.0, steps_per_epoch: 20 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpectralConstraint {
    /// The final bound.
    pub tau: f64,
    /// The time in which the bound falls, in epochs.
    pub kappa: f64,
    /// The number of updates in an epoch.
    pub steps_per_epoch: u64,
}

impl SpectralConstraint {
    /// The bound after update number `count`, from 1 on.
    pub fn bound(&self, count: u64) -> f64 {
        let epoch = (count.max(1) - 1) / self.steps_per_epoch.max(1);
        self.tau * (1.0 + 4.0 * (-(epoch as f64) / self.kappa).exp())
    }
}

impl Transform for SpectralConstraint {
    fn name(&self) -> &'static str {
        "spectral"
    }

    fn check(&self) -> Result<(), Error> {
        for (what, value) in [("tau", self.tau), ("kappa", self.kappa)] {
            if !(value > 0.0 && value.is_finite()) {
                let text = format!("spectral: {what} is {value}; it must be finite and positive");
                return Err(Error::Config(text));
            }
        }
        if self.steps_per_epoch == 0 {
            return Err(Error::Config("spectral: an epoch has 0 steps; at least 1 is needed".to_string()));
        }
        Ok(())
    }

    fn apply(&mut self, updates: &mut [Update<'_>]) {
        for u in updates.iter_mut().filter(|u| u.parameter.rank() >= 2) {
            if let Some(nearest) = with_singular_values_at_most(&u.parameter.detach(), self.bound(u.count)) {
                u.parameter.assign(&nearest);
            }
        }
    }
}

/// U min(S, most) V' of a weight [out, ..], as a matrix with a row for each output: the nearest weight whose singular
/// values are at most `most`. `None` if they are so already, up to rounding of its dtype, or if it is not finite.
///
/// Computed in f64. For f32 it is W - U_a (1 - most / S_a) U_a' W with the singular vectors of values above the bound
/// alone, from the eigenvectors of the Gram matrix W W', unless the values are so large that f32 would show its errors.
///
/// ```
/// use autograd::Tensor;
/// use nn::with_singular_values_at_most;
/// let w = Tensor::from([[3.0, 0.0], [0.0, 0.5]]);
/// assert_eq!(with_singular_values_at_most(&w, 1.0).unwrap().to_vec::<f64>(), [1.0, 0.0, 0.0, 0.5]);
/// assert!(with_singular_values_at_most(&w, 3.0).is_none());
/// ```
///
/// # Panics
/// If it has fewer than two axes.
pub fn with_singular_values_at_most(weight: &Tensor, most: f64) -> Option<Tensor> {
    let rounding = if weight.dtype() == DType::F32 { f64::from(f32::EPSILON) } else { f64::EPSILON };
    let bound = most * (1.0 + 32.0 * rounding);
    let matrix = weight.detach().flatten(1).to_dtype(DType::F64);
    // The Frobenius norm is not below the largest singular value.
    let size = matrix.norm(..).item();
    if size <= bound || !size.is_finite() {
        return None;
    }
    let tall = matrix.shape()[0] > matrix.shape()[1];
    let wide = if tall { matrix.transpose(0, 1) } else { matrix };
    // Relative to most^2, eigenvalues of W W' have errors of this size.
    let errors = f64::EPSILON * (size / most).powi(2);
    let nearest = if errors < rounding { by_gram(&wide, most, bound) } else { by_svd(&wide, most, bound) }?;
    let nearest = if tall { nearest.transpose(0, 1) } else { nearest };
    Some(nearest.reshape(weight.shape()).to_dtype(weight.dtype()))
}

fn by_svd(w: &Tensor, most: f64, bound: f64) -> Option<Tensor> {
    let (u, s, vt) = w.svd();
    (s.at(&[0]) > bound).then(|| (u * s.clamp(0.0, most).unsqueeze(0)).matmul(&vt))
}

fn by_gram(w: &Tensor, most: f64, bound: f64) -> Option<Tensor> {
    let (squares, u) = w.matmul_nt(w).eigh();
    let s = squares.clamp(0.0, f64::INFINITY).sqrt().to_vec::<f64>();
    let above: Vec<usize> = (0..s.len()).filter(|&i| s[i] > bound).collect();
    let u = u.index_select(1, &Index::new(&above, [above.len()]));
    let excess = Tensor::from_fn([above.len(), 1], DType::F64, |i| 1.0 - most / s[above[i]]);
    (!above.is_empty()).then(|| w - u.matmul(&(u.matmul_tn(w) * excess)))
}
