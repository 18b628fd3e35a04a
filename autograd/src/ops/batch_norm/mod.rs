//! Batch normalisation: every channel is normalised to mean 0 and variance 1 over batch and space.
//!
//! Ioffe and Szegedy, Batch Normalization, ICML 2015, arXiv 1502.03167.

use kernels::norm::{self, Affine, Channels, Gradients, Mask, Then};

use crate::axis::keep;
use crate::buffer::Buffer;
use crate::dtype::{Scalar, dispatch};
use crate::kinds::elementwise::same_dtype;
use crate::kinds::fused::{Fused, Saved, fused, fused_keeping, gradients_of};
use crate::sample::{Input, Sample};
use crate::tensor::Tensor;

mod gradient;

/// The batch statistics of [`Tensor::batch_norm_train`], as constants: a layer's running statistics are computed from
/// them.
#[derive(Clone, Debug)]
pub struct BatchStats {
    /// The mean of each channel, `[C]`.
    pub mean: Tensor,
    /// The variance of each channel, `[C]`, biased: divided by `count`, not by `count` - 1.
    pub var: Tensor,
    /// The number of values per channel.
    pub count: usize,
}

/// gamma (x - mean) / sqrt(var + eps) + beta with the batch's own mean and variance; plus the residual, a fourth input,
/// if there is one; then ReLU, if `relu`.
#[derive(Clone, Copy, Debug)]
struct Train {
    eps: f64,
    relu: bool,
}

/// The same with a given mean and variance.
#[derive(Clone, Copy, Debug)]
struct Eval {
    eps: f64,
    relu: bool,
}

/// What the reverse pass of [`Train`] needs.
#[derive(Debug)]
struct Measured {
    stats: BatchStats,
    /// 1 / sqrt(var + eps).
    rstd: Tensor,
    /// The output, where its sign cannot be computed from x.
    y: Option<Tensor>,
}

impl Saved for Measured {
    fn bytes(&self) -> usize {
        let BatchStats { mean, var, .. } = &self.stats;
        mean.bytes() + var.bytes() + self.rstd.bytes() + self.y.bytes()
    }
}

impl Fused for Train {
    type Kept = Measured;
    const NAME: &'static str = "batch_norm_train";

    fn definition(&self, x: &[Tensor]) -> Tensor {
        let [x, gamma, beta, residual @ ..] = x else { unreachable!("three inputs or four") };
        let y = standard(x, self.eps).0 * by_channel(gamma, x) + by_channel(beta, x);
        finish(y, residual, self.relu)
    }

    fn forward(&self, x: &[Tensor]) -> (Tensor, Measured) {
        let [x, gamma, beta, residual @ ..] = x else { unreachable!("three inputs or four") };
        let shape = channels(x);
        dispatch!(x.dtype(), T => {
            let [mut mean, mut var, mut rstd] = [(); 3].map(|()| Buffer::uninit::<T>(shape.c));
            let y = Tensor::build::<T>(*x.shape(), |y| {
                let [mean, var, rstd] = [&mut mean, &mut var, &mut rstd].map(fresh);
                norm::batch_norm_train(
                    x.slice(),
                    shape,
                    gamma.slice(),
                    beta.slice(),
                    self.eps,
                    then(residual, self.relu),
                    norm::Statistics { mean, var, rstd },
                    y,
                );
            });
            let [mean, var, rstd] = [mean, var, rstd].map(|b| Tensor::from_buffer(b, *gamma.shape()));
            let stats = BatchStats { mean, var, count: shape.n * shape.s };
            let kept = (self.relu && !residual.is_empty()).then(|| y.clone());
            (y, Measured { stats, rstd, y: kept })
        })
    }

    fn backward(&self, x: &[Tensor], kept: &Measured, g: &Tensor, wants: &[bool]) -> Vec<Option<Tensor>> {
        self.backward_over(x, kept, g.clone(), wants)
    }

    fn backward_over(
        &self,
        inputs: &[Tensor],
        kept: &Measured,
        mut g: Tensor,
        wants: &[bool],
    ) -> Vec<Option<Tensor>> {
        let [x, gamma, beta, ..] = inputs else { unreachable!("three inputs or four") };
        let shape = channels(x);
        let wants_residual = wants.get(3) == Some(&true);
        // Without a mask, the gradient of the residual is g.
        let mut dr = (wants_residual && !self.relu).then(|| g.clone());
        dispatch!(x.dtype(), T => {
            let by = affine::<T>(gamma, beta, &kept.stats.mean, &kept.rstd);
            let [mut dgamma, mut dbeta] = [(); 2].map(|()| Buffer::uninit::<T>(shape.c));
            let mask = match &kept.y {
                _ if !self.relu => Mask::None,
                None => Mask::Again,
                Some(y) => Mask::Output(y.slice::<T>()),
            };
            let mut run = |gradients: Gradients<'_, T>| {
                let [dgamma, dbeta] = [&mut dgamma, &mut dbeta].map(fresh);
                norm::batch_norm_backward(x.slice::<T>(), mask, gradients, shape, &by, dgamma, dbeta);
            };
            let mut dx = None;
            if wants_residual && self.relu {
                if g.unique_mut::<T>().is_none() {
                    g = Tensor::from_buffer(Buffer::copy_of(g.slice::<T>()), *x.shape());
                }
                let over = g.unique_mut::<T>().expect("alone");
                dx = Some(Tensor::build::<T>(*x.shape(), |dx| run(Gradients::Both(over, dx))));
                dr = Some(g);
            } else if !wants[0] {
                run(Gradients::Sums(g.slice::<T>()));
            } else if g.unique_mut::<T>().is_some() {
                run(Gradients::InPlace(g.unique_mut().expect("alone")));
                dx = Some(g);
            } else {
                let given = g.slice::<T>();
                dx = Some(Tensor::build::<T>(*x.shape(), |dx| run(Gradients::Input(given, dx))));
            }
            let [dgamma, dbeta] = [dgamma, dbeta].map(|d| Some(Tensor::from_buffer(d, *gamma.shape())));
            let all = [dx, dgamma, dbeta, dr];
            all.into_iter().zip(wants).map(|(d, &wanted)| d.filter(|_| wanted)).collect()
        })
    }

    fn recorded(
        &self,
        inputs: &[Tensor],
        kept: &Measured,
        g: &Tensor,
        wants: &[bool],
    ) -> Option<Vec<Option<Tensor>>> {
        let [x, gamma, beta, residual @ ..] = inputs else { unreachable!("three inputs or four") };
        let Measured { stats, rstd, y } = kept;
        let masked;
        let g = if self.relu {
            let positive = match y {
                Some(y) => y.value(),
                None => normalised(x, [gamma, beta, &stats.mean, rstd], residual, true),
            };
            masked = g * positive.step();
            &masked
        } else {
            g
        };
        let axes: Vec<isize> = (0..x.rank() as isize).filter(|&axis| axis != 1).collect();
        let dx = wants[0].then(|| gradient::apply(self.eps, stats, rstd, x, gamma, g));
        let dgamma = wants[1].then(|| (standard(x, self.eps).0 * g).sum(axes.as_slice()));
        let dbeta = wants[2].then(|| g.sum(axes.as_slice()));
        let dr = residual.first().map(|_| wants[3].then(|| g.clone()));
        Some([dx, dgamma, dbeta].into_iter().chain(dr).collect())
    }
}

impl Fused for Eval {
    type Kept = ();
    const NAME: &'static str = "batch_norm_eval";

    fn definition(&self, x: &[Tensor]) -> Tensor {
        let [x, gamma, beta, mean, var, residual @ ..] = x else { unreachable!("five inputs or six") };
        let scale = (var + self.eps).rsqrt() * gamma;
        let y = (x - by_channel(mean, x)) * by_channel(&scale, x) + by_channel(beta, x);
        finish(y, residual, self.relu)
    }

    fn forward(&self, x: &[Tensor]) -> (Tensor, ()) {
        let [x, gamma, beta, mean, var, residual @ ..] = x else { unreachable!("five inputs or six") };
        let rstd = (var + self.eps).rsqrt();
        (normalised(x, [gamma, beta, mean, &rstd], residual, self.relu), ())
    }

    fn backward(&self, x: &[Tensor], _: &(), g: &Tensor, wants: &[bool]) -> Vec<Option<Tensor>> {
        gradients_of(|x| self.definition(x), x, wants, g, false)
    }
}

/// Every channel with mean 0 and variance 1, or a little less because of `eps`, and 1 / sqrt(var + eps), which broadcasts
/// over it: in plain operations.
///
/// Deviations are divided by a constant of about their size, so that no square underflows or overflows.
fn standard(x: &Tensor, eps: f64) -> (Tensor, Tensor) {
    let axes: Vec<isize> = (0..x.rank() as isize).filter(|&axis| axis != 1).collect();
    let axes = || keep(axes.as_slice());
    let deviation = x - x.mean(axes());
    let root = Tensor::scalar(eps.sqrt(), x.dtype());
    let size = deviation.value().abs().max(axes()).maximum(&root);
    // Channels of equal numbers without an epsilon: divided by 1 and multiplied by 0.
    let alive = size.step();
    let size = size + (1.0 - &alive);
    let (scaled, root) = (&deviation / &size, root / &size);
    let std = ((&scaled * &scaled).mean(axes()) + &root * &root + (1.0 - &alive)).sqrt();
    (scaled / &std * &alive, alive / (std * size))
}

/// gamma (x - mean) rstd + beta and what follows, by the kernel.
fn normalised(
    x: &Tensor,
    [gamma, beta, mean, rstd]: [&Tensor; 4],
    residual: &[Tensor],
    relu: bool,
) -> Tensor {
    dispatch!(x.dtype(), T => Tensor::build::<T>(*x.shape(), |y| {
        let by = affine(gamma, beta, mean, rstd);
        norm::batch_norm_forward(x.slice(), channels(x), &by, then(residual, relu), y);
    }))
}

/// What follows the normalisation, in plain operations.
fn finish(y: Tensor, residual: &[Tensor], relu: bool) -> Tensor {
    let y = residual.iter().fold(y, |y, residual| y + residual);
    if relu { y.relu() } else { y }
}

/// What follows the normalisation, as the kernels see it.
fn then<T: Scalar>(residual: &[Tensor], relu: bool) -> Then<'_, T> {
    Then { residual: residual.first().map(Tensor::slice), relu }
}

fn fresh<T: Scalar>(buffer: &mut Buffer) -> &mut [T] {
    buffer.unique_mut().expect("new buffers have one owner")
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

/// # Normalisation
impl Tensor {
    /// Batch normalisation with the statistics of this batch: for an input [N, C, ..], each channel c becomes
    /// gamma_c (x - mean_c) / sqrt(var_c + eps) + beta_c, mean and (biased) variance over all axes but the
    /// second. Gradients flow through mean and variance.
    ///
    /// The second part of the result are the statistics, as constants, for the running ones.
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
        train(self, gamma, beta, None, eps, false)
    }

    /// ReLU of [`Tensor::batch_norm_train`], plus `residual` before if there is one. The fused operation makes as many
    /// passes over memory as [`Tensor::batch_norm_train`] alone.
    ///
    /// # Panics
    /// As [`Tensor::batch_norm_train`], or if the residual is not shaped as the input.
    #[track_caller]
    pub fn batch_norm_train_relu(
        &self,
        gamma: &Tensor,
        beta: &Tensor,
        residual: Option<&Tensor>,
        eps: f64,
    ) -> (Tensor, BatchStats) {
        train(self, gamma, beta, residual, eps, true)
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
        eval(self, [gamma, beta, mean, var], None, eps, false)
    }

    /// ReLU of [`Tensor::batch_norm_eval`], plus `residual` before if there is one.
    ///
    /// # Panics
    /// As [`Tensor::batch_norm_eval`], or if the residual is not shaped as the input.
    #[track_caller]
    pub fn batch_norm_eval_relu(
        &self,
        gamma: &Tensor,
        beta: &Tensor,
        mean: &Tensor,
        var: &Tensor,
        residual: Option<&Tensor>,
        eps: f64,
    ) -> Tensor {
        eval(self, [gamma, beta, mean, var], residual, eps, true)
    }
}

#[track_caller]
fn train(
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    residual: Option<&Tensor>,
    eps: f64,
    relu: bool,
) -> (Tensor, BatchStats) {
    check("batch_norm_train", x, &[("gamma", gamma), ("beta", beta)], residual, eps);
    let count = x.shape()[0] * x.shape()[2..].iter().product::<usize>();
    assert!(
        count > 1,
        "batch_norm_train: expected more than one value per channel when training, got input shape {}",
        x.shape()
    );
    let inputs: Vec<&Tensor> = [x, gamma, beta].into_iter().chain(residual).collect();
    let (y, kept) = fused_keeping(Train { eps, relu }, &inputs);
    (y, kept.stats.clone())
}

#[track_caller]
fn eval(x: &Tensor, numbers: [&Tensor; 4], residual: Option<&Tensor>, eps: f64, relu: bool) -> Tensor {
    let [gamma, beta, mean, var] = numbers;
    let parameters = [("gamma", gamma), ("beta", beta), ("mean", mean), ("var", var)];
    check("batch_norm_eval", x, &parameters, residual, eps);
    let inputs: Vec<&Tensor> = [x, gamma, beta, mean, var].into_iter().chain(residual).collect();
    fused(Eval { eps, relu }, &inputs)
}

#[track_caller]
fn check(name: &str, x: &Tensor, parameters: &[(&str, &Tensor)], residual: Option<&Tensor>, eps: f64) {
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
    if let Some(residual) = residual {
        same_dtype(name, x, residual);
        assert!(
            residual.shape() == x.shape(),
            "{name}: the residual {} must have the shape of the input {}",
            residual.shape(),
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
    // Far from the corner at 0 on both of its sides: by channel, or by element where there is a residual.
    let relu = |case: &str, dims: &[usize], residual: bool| {
        let inputs = [n(dims), n(&[dims[1]]), n(&[dims[1]]), n(dims)];
        Sample::new("batch_norm_train", case, inputs, move |x| {
            let sides = |like: &Tensor| {
                Tensor::from_fn(like.shape(), like.dtype(), |i| if i % 3 == 1 { -8.0 } else { 8.0 })
            };
            let (gamma, mut beta, mut other) = (&x[1] * 0.5, &x[2] * 0.3, &x[3] * 0.3);
            let moved = if residual { &mut other } else { &mut beta };
            *moved = &*moved + sides(moved);
            let y = x[0].batch_norm_train_relu(&gamma, &beta, residual.then_some(&other), 1e-5).0;
            y + &x[3] * 0.5
        })
    };
    vec![
        train("", &[5, 3]),
        train("images", &[2, 3, 2, 3]),
        train("one image", &[1, 2, 4]),
        train("one channel", &[4, 1]),
        train("more than a block", &[3, 2, 7, 11]),
        train("no channels", &[3, 0, 2]),
        relu("positive part", &[5, 3], false),
        relu("positive part, images", &[2, 9, 8, 8], false),
        relu("positive part, residual", &[2, 3, 2, 3], true),
        relu("positive part, residual, images", &[2, 8, 8, 8], true),
        Sample::new("batch_norm_train", "residual from the input", [n(&[4, 3]), n(&[3])], |x| {
            x[0].batch_norm_train_relu(&x[1], &x[1], Some(&x[0]), 1e-5).0
        }),
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
        Sample::new(
            "batch_norm_eval",
            "positive part, residual",
            [n(&[2, 3, 2]), n(&[3]), n(&[3]), Input::uniform(0.5, 2.0, [3]), n(&[2, 3, 2])],
            |x| x[0].batch_norm_eval_relu(&x[1], &x[2], &x[2], &x[3], Some(&x[4]), 1e-3),
        ),
        Sample::new("batch_norm_eval", "no images", [n(&[0, 3])], |x| {
            let one = Tensor::ones([3], x[0].dtype());
            x[0].batch_norm_eval(&one, &one, &one, &one, 1e-3)
        }),
    ]
}

#[cfg(test)]
mod tests;
