//! The spectral norm penalty, and the table of spectral controls.

use std::collections::BTreeMap;

use autograd::{DType, Key, Tensor};
use registry::{Row, Setting};

use super::{Penalty, check, nothing};
use crate::error::Error;
use crate::optim::{SpectralConstraint, Transform};
use crate::train::BatchLoss;

/// The squared spectral norms of the weights (Yoshida and Miyato 2017, arXiv 1705.10941; an upper bound of the kernel
/// norm in Bietti et al., ICML 2019, arXiv 1810.00363, section 2.2):
///
///   weight sum_l s_l^2,   s_l the largest singular value of layer l
///
/// A convolution counts as the matrix [out, in k k] of its filters. With `steps` the singular vectors come from a power
/// iteration whose vector v is kept between training steps: `steps` times v = W'W v / |W'W v|, then u = W v / |W v| and
/// s = u'W v with u and v constant, so that the gradient of s^2 is 2 s u v'. It starts at a normal draw. s approaches
/// the spectral norm from below. Without `steps` s^2 is exact, the largest eigenvalue of W W' by [`Tensor::eigh`].
#[derive(Clone, Debug)]
pub struct SpectralPenalty {
    /// The factor.
    pub weight: f64,
    /// The products with W'W per training step; `None`: exact.
    pub steps: Option<usize>,
    /// The vector v of each weight, by its name.
    vectors: BTreeMap<String, Tensor>,
}

impl SpectralPenalty {
    /// With a kept power iteration.
    pub fn iterated(weight: f64, steps: usize) -> SpectralPenalty {
        SpectralPenalty { weight, steps: Some(steps), vectors: BTreeMap::new() }
    }

    /// With exact spectral norms.
    pub fn exact(weight: f64) -> SpectralPenalty {
        SpectralPenalty { weight, steps: None, vectors: BTreeMap::new() }
    }

    fn check(&self) -> Result<(), Error> {
        check("spectral", "weight", self.weight)?;
        if self.steps == Some(0) {
            return Err(Error::Config("spectral: steps is 0; it must be at least 1".to_string()));
        }
        Ok(())
    }

    /// s^2 of a matrix, from the kept vector of that name.
    fn iterate(&mut self, name: &str, w: &Tensor, steps: usize, key: Key) -> Result<Tensor, Error> {
        let columns = w.shape()[1];
        let kept = self.vectors.entry(name.to_string());
        let v = kept.or_insert_with(|| Tensor::normal([columns], w.dtype(), key.stream(name)));
        if **v.shape() != [columns] || v.dtype() != w.dtype() {
            let (found, dtype) = (v.shape(), w.dtype());
            let text = format!(
                "spectral.{name}: the kept vector has shape {found}; [{columns}] of {dtype} is needed"
            );
            return Err(Error::Mismatch(vec![text]));
        }
        let fixed = w.detach();
        for _ in 0..steps {
            // Normalised each time, so that nothing overflows.
            let u = v.reshape([1, columns]).matmul_nt(&fixed).normalize_rows(0.0);
            let next = u.matmul(&fixed).normalize_rows(0.0);
            // A vector that W maps to 0 is kept.
            if next.ne(0.0).any() {
                *v = next.reshape([columns]);
            }
        }
        let v = v.reshape([1, columns]).normalize_rows(0.0);
        let u = v.matmul_nt(&fixed).normalize_rows(0.0);
        let s = (u.matmul(w) * &v).sum(..);
        Ok(&s * &s)
    }
}

impl Penalty for SpectralPenalty {
    fn name(&self) -> &str {
        "spectral"
    }

    fn penalty(&mut self, loss: &BatchLoss) -> Result<Tensor, Error> {
        self.check()?;
        if self.weight == 0.0 {
            return Ok(nothing(loss));
        }
        let key = loss.context.stream("spectral");
        let mut sum = nothing(loss);
        for weight in loss.model.weights().iter().filter(|w| w.value.numel() > 0) {
            let w = weight.value.flatten(1);
            sum += match self.steps {
                Some(steps) => self.iterate(&weight.name, &w, steps, key)?,
                None => largest_square(&w),
            };
        }
        Ok(sum * self.weight)
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        self.vectors.iter().map(|(name, v)| (name.clone(), v.clone())).collect()
    }

    fn load_state(&mut self, state: &[(String, Tensor)]) -> Result<(), Error> {
        self.vectors = state.iter().cloned().collect();
        Ok(())
    }
}

/// The squared spectral norm of a matrix: the largest eigenvalue of the smaller of W W' and W'W, in f64.
fn largest_square(w: &Tensor) -> Tensor {
    let wide = w.to_dtype(DType::F64);
    let gram = if w.shape()[0] > w.shape()[1] { wide.matmul_tn(&wide) } else { wide.matmul_nt(&wide) };
    gram.eigh().0.select(0, -1).to_dtype(w.dtype())
}

/// The settings of spectral controls; each reads those that its row of the table names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpectralOptions {
    /// The factor of a penalty.
    pub weight: f64,
    /// Products of the power iteration per training step.
    pub steps: usize,
    /// The final bound of the constraint.
    pub tau: f64,
    /// The time in which the bound falls, in epochs.
    pub kappa: f64,
    /// The number of updates in an epoch.
    pub steps_per_epoch: u64,
}

/// Factor 0.01, two products, bound 1.5 after 2 epochs.
impl Default for SpectralOptions {
    fn default() -> SpectralOptions {
        SpectralOptions { weight: 0.01, steps: 2, tau: 1.5, kappa: 2.0, steps_per_epoch: 1 }
    }
}

/// A control of the spectral norms of weights.
#[derive(Clone, Debug)]
pub enum Spectral {
    /// A penalty in the loss.
    Penalty(SpectralPenalty),
    /// A transform at the end of the optimiser.
    Constraint(SpectralConstraint),
}

/// How a spectral control is made; `None`: there is none. Fails if a number is out of range.
pub type SpectralSpec = fn(&SpectralOptions) -> Result<Option<Spectral>, Error>;

const WEIGHT: Setting = Setting::new("weight");

/// Every spectral control that is chosen by name, the default first.
pub static SPECTRAL: &[Row<SpectralSpec>] = &[
    Row { name: "none", help: "no control of spectral norms", settings: &[], make: |_| Ok(None) },
    Row {
        name: "penalty",
        help: "sum of squared spectral norms, by a kept power iteration",
        settings: &[WEIGHT, Setting::new("steps")],
        make: |o| penalty(SpectralPenalty::iterated(o.weight, o.steps)),
    },
    Row {
        name: "exact",
        help: "sum of squared spectral norms, by the singular value decomposition",
        settings: &[WEIGHT],
        make: |o| penalty(SpectralPenalty::exact(o.weight)),
    },
    Row {
        name: "constraint",
        help: "singular values clipped at tau (1 + 4 exp(-epoch / kappa)) after every update",
        settings: &[Setting::new("tau"), Setting::new("kappa")],
        make: |o| {
            let SpectralOptions { tau, kappa, steps_per_epoch, .. } = *o;
            let constraint = SpectralConstraint { tau, kappa, steps_per_epoch };
            constraint.check()?;
            Ok(Some(Spectral::Constraint(constraint)))
        },
    },
];

fn penalty(penalty: SpectralPenalty) -> Result<Option<Spectral>, Error> {
    penalty.check()?;
    Ok(Some(Spectral::Penalty(penalty)))
}
