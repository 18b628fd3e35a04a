//! Batch normalisation: every channel brought to mean 0 and variance 1 over batch and space.
//!
//! Ioffe and Szegedy, Batch Normalization, ICML 2015, arXiv 1502.03167.

use kernels::norm::{self, Affine, Channels};

use crate::buffer::Buffer;
use crate::check::{Input, Sample};
use crate::dtype::{Scalar, dispatch};
use crate::kinds::elementwise::same_dtype;
use crate::kinds::fused::{Fused, fused, fused_keeping, gradients_of};
use crate::shape::keep;
use crate::tensor::Tensor;

/// What [`Tensor::batch_norm_train`] measured, as constants: a layer's running statistics are made of these.
#[derive(Clone, Debug)]
pub struct BatchStats {
    /// The mean of each channel, `[C]`.
    pub mean: Tensor,
    /// The variance of each channel, `[C]`, biased: divided by `count`, not by `count` - 1.
    pub var: Tensor,
    /// How many values a channel has.
    pub count: usize,
}

/// gamma (x - mean) / sqrt(var + eps) + beta with the batch's own mean and variance.
#[derive(Clone, Copy, Debug)]
struct Train {
    eps: f64,
}

/// The same with a given mean and variance.
#[derive(Clone, Copy, Debug)]
struct Eval {
    eps: f64,
}

impl Fused for Train {
    /// The statistics, and 1 / sqrt(var + eps).
    type Kept = (BatchStats, Tensor);
    const NAME: &'static str = "batch_norm_train";

    fn definition(&self, x: &[Tensor]) -> Tensor {
        let [x, gamma, beta] = x else { unreachable!("three inputs") };
        let axes: Vec<isize> = (0..x.rank() as isize).filter(|&axis| axis != 1).collect();
        let mean = x.mean(keep(axes.as_slice()));
        let deviation = x - mean;
        let var = (&deviation * &deviation).mean(axes.as_slice());
        deviation * by_channel(&((var + self.eps).rsqrt() * gamma), x) + by_channel(beta, x)
    }

    fn forward(&self, x: &[Tensor]) -> (Tensor, Self::Kept) {
        let [x, gamma, beta] = x else { unreachable!("three inputs") };
        let shape = channels(x);
        let stats = dispatch!(x.dtype(), T => {
            let mut var = vec![<T as kernels::Element>::ZERO; shape.c];
            let mean = Tensor::build::<T>(*gamma.shape(), |mean| {
                norm::batch_stats(x.slice::<T>(), shape, mean, &mut var);
            });
            BatchStats { mean, var: Tensor::new(&var, [shape.c]), count: shape.n * shape.s }
        });
        let rstd = (&stats.var + self.eps).rsqrt();
        (apply(x, gamma, beta, &stats.mean, &rstd), (stats, rstd))
    }

    fn backward(&self, x: &[Tensor], kept: &Self::Kept, g: &Tensor, wants: &[bool]) -> Vec<Option<Tensor>> {
        let [x, gamma, beta] = x else { unreachable!("three inputs") };
        let (stats, rstd) = kept;
        dispatch!(x.dtype(), T => {
            let by = affine::<T>(gamma, beta, &stats.mean, rstd);
            let wanted = |i: usize, x: &Tensor| wants[i].then(|| Buffer::uninit::<T>(x.numel()));
            let [mut dx, mut dgamma, mut dbeta] = [wanted(0, x), wanted(1, gamma), wanted(2, beta)];
            norm::batch_norm_backward(x.slice::<T>(), None, g.slice::<T>(), channels(x), &by, norm::Wanted {
                dx: dx.as_mut().and_then(Buffer::unique_mut),
                dgamma: dgamma.as_mut().and_then(Buffer::unique_mut),
                dbeta: dbeta.as_mut().and_then(Buffer::unique_mut),
            });
            let tensor = |d: Option<Buffer>, x: &Tensor| d.map(|d| Tensor::from_buffer(d, *x.shape()));
            vec![tensor(dx, x), tensor(dgamma, gamma), tensor(dbeta, beta)]
        })
    }
}

impl Fused for Eval {
    type Kept = ();
    const NAME: &'static str = "batch_norm_eval";

    fn definition(&self, x: &[Tensor]) -> Tensor {
        let [x, gamma, beta, mean, var] = x else { unreachable!("five inputs") };
        let scale = (var + self.eps).rsqrt() * gamma;
        (x - by_channel(mean, x)) * by_channel(&scale, x) + by_channel(beta, x)
    }

    fn forward(&self, x: &[Tensor]) -> (Tensor, ()) {
        let [x, gamma, beta, mean, var] = x else { unreachable!("five inputs") };
        (apply(x, gamma, beta, mean, &(var + self.eps).rsqrt()), ())
    }

    fn backward(&self, x: &[Tensor], _: &(), g: &Tensor, wants: &[bool]) -> Vec<Option<Tensor>> {
        gradients_of(|x| self.definition(x), x, wants, g, false)
    }
}

/// [N, C, ..] as the kernels see it.
fn channels(x: &Tensor) -> Channels {
    Channels { n: x.shape()[0], c: x.shape()[1], s: x.shape()[2..].iter().product() }
}

/// A tensor `[C]` in the shape [C, 1, ..] that broadcasts over the items of `x`.
pub(super) fn by_channel(v: &Tensor, x: &Tensor) -> Tensor {
    let mut dims = vec![1; x.rank() - 1];
    dims[0] = v.numel();
    v.reshape(dims.as_slice())
}

fn affine<'a, T: Scalar>(
    gamma: &'a Tensor,
    beta: &'a Tensor,
    mean: &'a Tensor,
    rstd: &'a Tensor,
) -> Affine<'a, T> {
    Affine { mean: mean.slice(), rstd: rstd.slice(), gamma: gamma.slice(), beta: beta.slice() }
}

/// gamma (x - mean) rstd + beta in one pass.
fn apply(x: &Tensor, gamma: &Tensor, beta: &Tensor, mean: &Tensor, rstd: &Tensor) -> Tensor {
    dispatch!(x.dtype(), T => Tensor::build::<T>(*x.shape(), |y| {
        norm::batch_norm_forward(x.slice(), channels(x), &affine(gamma, beta, mean, rstd), false, y);
    }))
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
    /// If the input has fewer than two axes, `gamma` or `beta` are not `[C]`, a channel has fewer than two values,
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
        let (y, kept) = fused_keeping(Train { eps }, &[self, gamma, beta]);
        (y, kept.0.clone())
    }

    /// Batch normalisation with given statistics `[C]`: gamma (x - mean) / sqrt(var + eps) + beta.
    ///
    /// # Panics
    /// If the input has fewer than two axes, `gamma`, `beta`, `mean` or `var` are not `[C]`, or `eps` is negative.
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
        fused(Eval { eps }, &[self, gamma, beta, mean, var])
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
        let x = Tensor::normal([6, 2, 5, 3], DType::F32, crate::Key::new(1)) + 30.0;
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
