//! The gradient noise scale, an estimate of the largest useful batch size.

use autograd::{DType, Tensor};

use crate::error::Error;
use crate::module::Module;
use crate::optim::global_norm;
use crate::train::BatchLoss;

/// The two moments whose ratio is the noise scale. Both are sums over coordinates, so the moments of several parameters
/// can be added.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Noise {
    /// tr(Sigma): the variance of a single image's gradient, unbiased, summed over coordinates.
    pub trace: f64,
    /// |G|^2 of the true gradient G, unbiased: |mean|^2 - trace / n. It can be negative if the noise is large.
    pub square: f64,
}

impl Noise {
    /// The simple noise scale tr(Sigma) / |G|^2 in images (McCandlish et al. 2018, arXiv 1812.06162, section 2.2 and
    /// appendix A.1); `None` if the estimate of |G|^2 is not positive, because the batch is too small. For a less noisy
    /// estimate divide the mean of many traces by the mean of as many squares.
    pub fn scale(&self) -> Option<f64> {
        (self.square > 0.0).then(|| self.trace / self.square)
    }
}

impl std::iter::Sum for Noise {
    fn sum<I: Iterator<Item = Noise>>(parts: I) -> Noise {
        parts.fold(Noise::default(), |a, b| Noise { trace: a.trace + b.trace, square: a.square + b.square })
    }
}

/// Accumulates the gradients of single images in the memory of two gradients.
#[derive(Clone, Debug)]
pub struct NoiseMeter {
    count: usize,
    sum: Tensor,
    squares: f64,
}

impl NoiseMeter {
    /// An empty accumulator for gradients of the shape of `parameter`.
    pub fn new(parameter: &Tensor) -> NoiseMeter {
        NoiseMeter { count: 0, sum: Tensor::zeros(parameter.shape(), DType::F64), squares: 0.0 }
    }

    /// Adds one gradient.
    ///
    /// # Panics
    /// If it has another shape.
    pub fn take(&mut self, gradient: &Tensor) {
        self.count += 1;
        self.squares += global_norm([gradient].into_iter()).powi(2);
        let sum = std::mem::replace(&mut self.sum, Tensor::from(0.0));
        self.sum = sum + gradient.to_dtype(DType::F64);
    }

    /// The moments; `None` of fewer than two gradients.
    pub fn noise(&self) -> Option<Noise> {
        let n = self.count as f64;
        let mean = global_norm([&self.sum].into_iter()).powi(2) / (n * n);
        let trace = (self.squares - n * mean) / (n - 1.0);
        (self.count > 1).then_some(Noise { trace, square: mean - trace / n })
    }
}

/// The noise of the gradient by each parameter that is a leaf, from the gradients of all inputs of a batch: one reverse
/// pass per input. Batch norm uses the fixed statistics of the batch ([`BatchLoss::apart`]), so the effect of an input
/// on them does not count as noise. `None` of a batch of one.
///
/// # Errors
/// As [`BatchLoss::gradient`].
pub fn gradient_noise(loss: &BatchLoss) -> Result<Option<Vec<(String, Noise)>>, Error> {
    let apart = loss.apart();
    let leaves = apart.model.named_parameters().into_iter().filter(|(_, p)| p.is_leaf());
    let mut meters: Vec<(String, NoiseMeter)> = leaves.map(|(name, p)| (name, NoiseMeter::new(p))).collect();
    for i in 0..apart.batch.len() {
        let gradient = apart.part(i..i + 1).gradient()?;
        meters.iter_mut().for_each(|(name, meter)| meter.take(&gradient.parameters[name]));
    }
    Ok(meters.into_iter().map(|(name, meter)| Some((name, meter.noise()?))).collect())
}
