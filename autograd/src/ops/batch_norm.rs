//! Batch normalisation: every channel brought to mean 0 and variance 1 over batch and space.
//!
//! Ioffe and Szegedy, Batch Normalization, ICML 2015, arXiv 1502.03167.

use std::sync::Arc;

use crate::check::{Input, Sample};
use crate::kinds::elementwise::same_dtype;
use crate::kinds::fused::{Fused, fused_keeping, gradients_of};
use crate::shape::{Shape, keep};
use crate::tensor::Tensor;

/// What [`Tensor::batch_norm_train`] measured, as constants: a layer's running statistics are made of these.
#[derive(Clone, Debug)]
pub struct BatchStats {
    /// The mean of each channel, [C].
    pub mean: Tensor,
    /// The variance of each channel, [C], biased: divided by `count`, not by `count` - 1.
    pub var: Tensor,
    /// How many values a channel has.
    pub count: usize,
}

/// gamma (x - mean) / sqrt(var + eps) + beta with the batch's own mean and variance.
#[derive(Clone, Copy, Debug)]
struct BatchNorm {
    eps: f64,
}

/// Every axis but the channels'.
fn all_but_channels(x: &Shape) -> Vec<isize> {
    (0..x.rank() as isize).filter(|&axis| axis != 1).collect()
}

/// A tensor [C] in the shape [C, 1, ..] that broadcasts over the images of `x`.
pub(super) fn by_channel(v: &Tensor, x: &Shape) -> Tensor {
    let mut dims = vec![1; x.rank() - 1];
    dims[0] = v.numel();
    v.reshape(dims.as_slice())
}

/// gamma (x - mean) / sqrt(var + eps) + beta, in plain operations; all but x are [C].
fn normalised(x: &Tensor, gamma: &Tensor, beta: &Tensor, mean: &Tensor, var: &Tensor, eps: f64) -> Tensor {
    let [mean, scale, beta] = [mean, &((var + eps).rsqrt() * gamma), beta].map(|v| by_channel(v, x.shape()));
    (x - mean) * scale + beta
}

impl Fused for BatchNorm {
    type Kept = BatchStats;
    const NAME: &'static str = "batch_norm_train";

    fn definition(&self, x: &[Tensor]) -> Tensor {
        let [x, gamma, beta] = x else { unreachable!("three inputs") };
        let axes = all_but_channels(x.shape());
        let mean = x.mean(keep(axes.as_slice()));
        let deviation = x - mean;
        let var = (&deviation * &deviation).mean(axes.as_slice());
        deviation * by_channel(&((var + self.eps).rsqrt() * gamma), x.shape()) + by_channel(beta, x.shape())
    }

    fn forward(&self, x: &[Tensor]) -> (Tensor, BatchStats) {
        let axes = all_but_channels(x[0].shape());
        let mean = x[0].mean(axes.as_slice());
        let var = x[0].var(axes.as_slice(), 0);
        let count = x[0].numel() / mean.numel().max(1);
        (self.definition(x), BatchStats { mean, var, count })
    }

    fn backward(&self, x: &[Tensor], _: &BatchStats, g: &Tensor, wants: &[bool]) -> Vec<Option<Tensor>> {
        gradients_of(|x| self.definition(x), x, wants, g, false)
    }
}

/// # Normalisation
impl Tensor {
    /// Batch normalisation with the statistics of this batch: for an input [N, C, ..], each channel c becomes
    /// gamma_c (x - mean_c) / sqrt(var_c + eps) + beta_c, mean and (biased) variance over all axes but the
    /// second. Gradients flow through mean and variance.
    ///
    /// The statistics come along as constants; the second number of the result is for the running ones.
    ///
    /// # Panics
    /// If the input has fewer than two axes, `gamma` or `beta` are not [C], a channel has fewer than two values,
    /// or `eps` is negative.
    ///
    /// ```
    /// # use autograd::{DType, Tensor};
    /// let x = Tensor::from([[1.0, 10.0], [3.0, 30.0]]); // two images, two channels, no space
    /// let (y, stats) = x.batch_norm_train(&Tensor::ones([2], DType::F64), &Tensor::zeros([2], DType::F64), 0.0);
    /// assert_eq!(y.to_vec::<f64>(), [-1.0, -1.0, 1.0, 1.0]);
    /// assert_eq!(stats.mean.to_vec::<f64>(), [2.0, 20.0]);
    /// assert_eq!(stats.var.to_vec::<f64>(), [1.0, 100.0]);
    /// ```
    #[track_caller]
    pub fn batch_norm_train(&self, gamma: &Tensor, beta: &Tensor, eps: f64) -> (Tensor, BatchStats) {
        check("batch_norm_train", self, &[("gamma", gamma), ("beta", beta)], eps);
        let count = self.shape()[0] * self.shape()[2..].iter().product::<usize>();
        assert!(
            count > 1,
            "batch_norm_train: expected more than one value per channel when training, got input shape {}",
            self.shape()
        );
        let (y, stats) = fused_keeping(BatchNorm { eps }, &[self, gamma, beta]);
        (y, Arc::try_unwrap(stats).unwrap_or_else(|shared| (*shared).clone()))
    }

    /// Batch normalisation with given statistics [C]: gamma (x - mean) / sqrt(var + eps) + beta.
    ///
    /// # Panics
    /// If the input has fewer than two axes, `gamma`, `beta`, `mean` or `var` are not [C], or `eps` is negative.
    #[track_caller]
    pub fn batch_norm_eval(
        &self,
        gamma: &Tensor,
        beta: &Tensor,
        mean: &Tensor,
        var: &Tensor,
        eps: f64,
    ) -> Tensor {
        let parameters = [("gamma", gamma), ("beta", beta), ("mean", mean), ("var", var)];
        check("batch_norm_eval", self, &parameters, eps);
        normalised(self, gamma, beta, mean, var, eps)
    }
}

#[track_caller]
fn check(name: &str, x: &Tensor, parameters: &[(&str, &Tensor)], eps: f64) {
    assert!(x.rank() >= 2, "{name}: input {} needs two axes or more, [N, C, ..]", x.shape());
    let channels = x.shape()[1];
    for (what, p) in parameters {
        same_dtype(name, x, p);
        assert!(
            *p.shape() == [channels],
            "{name}: {what} {} must be [{channels}], one value a channel of the input {}",
            p.shape(),
            x.shape()
        );
    }
    assert!(eps >= 0.0, "{name}: eps = {eps} must not be negative");
}

pub(crate) fn samples() -> Vec<Sample> {
    let n = |dims: &[usize]| Input::normal(dims);
    let train = |case: &str, dims: &[usize]| {
        let inputs = [n(dims), n(&[dims[1]]), n(&[dims[1]])];
        Sample::new("batch_norm_train", case, inputs, |x| x[0].batch_norm_train(&x[1], &x[2], 1e-5).0)
    };
    vec![
        train("", &[5, 3]),
        train("images", &[2, 3, 2, 3]),
        train("one image", &[1, 2, 4]),
        train("one channel", &[4, 1]),
        train("more than a block", &[3, 2, 7, 11]),
        train("no channels", &[3, 0, 2]),
        Sample::new("batch_norm_train", "parameters from the input", [n(&[4, 3])], |x| {
            let sum = x[0].sum(0);
            x[0].batch_norm_train(&sum, &sum, 1e-5).0
        }),
        Sample::new("batch_norm_train", "of its square", [n(&[5, 2])], |x| {
            let gamma = Tensor::from_fn([2], x[0].dtype(), |c| 1.5 - c as f64);
            (&x[0] * &x[0]).batch_norm_train(&gamma, &gamma, 0.1).0
        }),
        Sample::new(
            "batch_norm_eval",
            "",
            [n(&[2, 3, 2]), n(&[3]), n(&[3]), n(&[3]), Input::uniform(0.5, 2.0, [3])],
            |x| x[0].batch_norm_eval(&x[1], &x[2], &x[3], &x[4], 1e-3),
        ),
        Sample::new("batch_norm_eval", "no images", [n(&[0, 3])], |x| {
            let one = Tensor::ones([3], x[0].dtype());
            x[0].batch_norm_eval(&one, &one, &one, &one, 1e-3)
        }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, gradcheck};

    fn ones(n: usize) -> Tensor {
        Tensor::ones([n], DType::F64)
    }

    #[test]
    fn channels_have_mean_0_and_variance_1_also_far_from_0() {
        let x = Tensor::normal([6, 2, 5, 3], DType::F32, crate::Key::new(1)) * 0.1 + 300.0;
        let one = Tensor::ones([2], DType::F32);
        let zero = Tensor::zeros([2], DType::F32);
        let (y, stats) = x.batch_norm_train(&one, &zero, 0.0);
        let y = y.to_dtype(DType::F64);
        let [mean, var] = [y.mean([0, 2, 3]), y.var([0, 2, 3], 0)].map(|t| t.to_vec::<f64>());
        assert!(mean.iter().all(|m| m.abs() < 1e-3) && var.iter().all(|v| (v - 1.0).abs() < 1e-3));
        let want = x.to_dtype(DType::F64).var([0, 2, 3], 0);
        for (got, want) in stats.var.to_vec::<f64>().iter().zip(want.to_vec::<f64>()) {
            assert!((got / want - 1.0).abs() < 1e-3, "{got}, not {want}");
        }
        assert_eq!(stats.count, 90);
        assert!(!stats.mean.is_tracked());
    }

    #[test]
    fn evaluation_with_the_batch_s_statistics_is_training() {
        let x = Tensor::normal([4, 3, 2, 2], DType::F64, crate::Key::new(2));
        let gamma = Tensor::from([0.5, -1.0, 2.0]);
        let beta = Tensor::from([0.1, 0.2, 0.3]);
        let (y, s) = x.batch_norm_train(&gamma, &beta, 1e-3);
        let z = x.batch_norm_eval(&gamma, &beta, &s.mean, &s.var, 1e-3);
        assert!(y.to_vec::<f64>().iter().zip(z.to_vec::<f64>()).all(|(a, b)| (a - b).abs() < 1e-14));
    }

    #[test]
    fn the_third_order_is_right_too() {
        let x = Tensor::normal([4, 2], DType::F64, crate::Key::new(3));
        let gamma = Tensor::from([0.5, -1.0]);
        gradcheck(|x| x[0].batch_norm_train(&x[1], &x[1], 0.1).0, &[x, gamma], 3).assert();
    }

    #[test]
    fn a_constant_channel_becomes_beta() {
        let x = Tensor::full([3, 1, 2], 7.0, DType::F64).requires_grad();
        let (y, _) = x.batch_norm_train(&ones(1), &Tensor::from([2.5]), 1e-5);
        assert_eq!(y.to_vec::<f64>(), [2.5; 6]);
        assert_eq!(y.sum(..).backward()[&x].to_vec::<f64>(), [0.0; 6]);
    }

    #[test]
    #[should_panic(
        expected = "batch_norm_train: expected more than one value per channel when training, got input shape [1, 3]"
    )]
    fn one_value_a_channel_is_too_few() {
        Tensor::zeros([1, 3], DType::F64).batch_norm_train(&ones(3), &ones(3), 1e-5);
    }

    #[test]
    #[should_panic(
        expected = "batch_norm_train: gamma [2] must be [3], one value a channel of the input [4, 3, 2]"
    )]
    fn parameters_fit_the_channels() {
        Tensor::zeros([4, 3, 2], DType::F64).batch_norm_train(&ones(2), &ones(3), 1e-5);
    }

    #[test]
    #[should_panic(expected = "batch_norm_eval: input [3] needs two axes or more, [N, C, ..]")]
    fn the_input_has_channels() {
        ones(3).batch_norm_eval(&ones(3), &ones(3), &ones(3), &ones(3), 1e-5);
    }
}
