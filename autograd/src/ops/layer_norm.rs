//! Normalisation within an item: layer norm over the last axes, group norm over groups of channels.

use kernels::norm;

use crate::axis::keep;
use crate::dtype::dispatch;
use crate::kinds::elementwise::same_dtype;
use crate::kinds::fused::{Fused, fused};
use crate::ops::batch_norm::by_channel;
use crate::ops::softmax::largest;
use crate::sample::{Input, Sample};
use crate::tensor::Tensor;

/// (x - mean) / sqrt(var + eps) of each row of `len` neighbouring elements.
#[derive(Clone, Copy, Debug)]
struct Standardize {
    len: usize,
    eps: f64,
}

impl Standardize {
    fn rows(&self, x: &Tensor) -> usize {
        x.numel().checked_div(self.len).unwrap_or(0)
    }
}

impl Fused for Standardize {
    /// The value, and 1 / sqrt(var + eps) of each row.
    type Kept = (Tensor, Tensor);
    const NAME: &'static str = "standardize";

    /// With every row divided by a constant of about the size of its deviations, so that no square underflows or
    /// overflows.
    fn definition(&self, x: &[Tensor]) -> Tensor {
        let rows = x[0].reshape([self.rows(&x[0]), self.len]);
        let centred = |x: &Tensor| x - x.mean(keep(1));
        // Twice: the mean of numbers far from 0 has a rounding error.
        let deviation = centred(&centred(&rows));
        let root = Tensor::scalar(self.eps.sqrt(), rows.dtype());
        let size = largest(&deviation.value().abs()).maximum(&root);
        // Rows of equal numbers without an epsilon: divided by 1 and multiplied by 0.
        let alive = size.step();
        let size = size + (1.0 - &alive);
        let (deviation, root) = (deviation / &size, root / &size);
        let std = ((&deviation * &deviation).mean(keep(1)) + &root * &root + (1.0 - &alive)).sqrt();
        (deviation / std * alive).reshape(x[0].shape())
    }

    fn forward(&self, x: &[Tensor]) -> (Tensor, Self::Kept) {
        let (x, rows) = (&x[0], self.rows(&x[0]));
        dispatch!(x.dtype(), T => {
            let zero = <T as kernels::Element>::ZERO;
            let (mut mean, mut rstd) = (vec![zero; rows], vec![zero; rows]);
            let eps = kernels::Element::from_f64(self.eps);
            let y = Tensor::build::<T>(*x.shape(), |y| {
                norm::row_norm_forward(x.slice(), self.len, eps, &mut mean, &mut rstd, y);
            });
            (y.clone(), (y, Tensor::new(&rstd, [rows])))
        })
    }

    fn backward(&self, _: &[Tensor], kept: &Self::Kept, g: &Tensor, _: &[bool]) -> Vec<Option<Tensor>> {
        let (y, rstd) = kept;
        vec![Some(dispatch!(y.dtype(), T => Tensor::build::<T>(*y.shape(), |dx| {
            norm::row_norm_backward(y.slice(), self.len, rstd.slice(), g.slice(), dx);
        })))]
    }
}

/// # Normalisation within an item
impl Tensor {
    /// (x - mean) / sqrt(var + eps) with mean and biased variance over the last `axes` axes. Over a single value
    /// the result is 0.
    ///
    /// # Panics
    /// If there are fewer than `axes` axes, or `eps` is negative.
    #[track_caller]
    pub fn standardize(&self, axes: usize, eps: f64) -> Tensor {
        assert!(
            axes <= self.rank(),
            "standardize: shape {} has {} axes, not {axes}",
            self.shape(),
            self.rank()
        );
        assert!(eps >= 0.0, "standardize: eps = {eps} must not be negative");
        let len = self.shape()[self.rank() - axes..].iter().product();
        fused(Standardize { len, eps }, &[self])
    }

    /// Layer normalisation (Ba, Kiros and Hinton 2016, arXiv 1607.06450): gamma (x - mean) / sqrt(var + eps) +
    /// beta, with mean and biased variance over the last axes, those that `gamma` and `beta` have.
    ///
    /// # Panics
    /// If `gamma` and `beta` are not of one shape, that of the last axes, or `eps` is negative.
    #[track_caller]
    pub fn layer_norm(&self, gamma: &Tensor, beta: &Tensor, eps: f64) -> Tensor {
        same_dtype("layer_norm", self, gamma);
        same_dtype("layer_norm", self, beta);
        assert!(
            self.shape().ends_with(gamma.shape()) && gamma.shape() == beta.shape(),
            "layer_norm: gamma {} and beta {} must have the shape of the last axes of the input {}",
            gamma.shape(),
            beta.shape(),
            self.shape()
        );
        self.standardize(gamma.rank(), eps) * gamma + beta
    }

    /// Group normalisation (Wu and He 2018, arXiv 1803.08494): the channels of an input [N, C, ..] form `groups`
    /// contiguous groups. Each group of each item is normalised to mean 0 and variance 1; then every channel is
    /// multiplied by gamma and beta is added, both `[C]`. One group per channel is instance normalisation.
    ///
    /// # Panics
    /// If the input has fewer than two axes, the groups do not divide C, `gamma` or `beta` are not `[C]`, or `eps`
    /// is negative.
    #[track_caller]
    pub fn group_norm(&self, groups: usize, gamma: &Tensor, beta: &Tensor, eps: f64) -> Tensor {
        assert!(self.rank() >= 2, "group_norm: input {} needs two axes or more, [N, C, ..]", self.shape());
        let (items, channels) = (self.shape()[0], self.shape()[1]);
        assert!(
            groups > 0 && channels.is_multiple_of(groups),
            "group_norm: {channels} channels of the input {} are not a multiple of {groups} groups",
            self.shape()
        );
        for (what, p) in [("gamma", gamma), ("beta", beta)] {
            same_dtype("group_norm", self, p);
            assert!(
                *p.shape() == [channels],
                "group_norm: {what} {} must be [{channels}], one value a channel of the input {}",
                p.shape(),
                self.shape()
            );
        }
        let len = self.shape()[2..].iter().product::<usize>() * (channels / groups);
        let rows = self.reshape([items, groups, len]).standardize(1, eps);
        rows.reshape(self.shape()) * by_channel(gamma, self) + by_channel(beta, self)
    }
}

pub(crate) fn samples() -> Vec<Sample> {
    let n = |dims: &[usize]| Input::normal(dims);
    let layer = |case: &str, dims: &[usize], last: usize| {
        let own = &dims[dims.len() - last..];
        let inputs = [n(dims), n(own), n(own)];
        Sample::new("layer_norm", case, inputs, |x| x[0].layer_norm(&x[1], &x[2], 1e-5))
    };
    let group = |case: &str, dims: &[usize], groups: usize| {
        let inputs = [n(dims), n(&[dims[1]]), n(&[dims[1]])];
        Sample::new("group_norm", case, inputs, move |x| x[0].group_norm(groups, &x[1], &x[2], 1e-5))
    };
    vec![
        layer("last axis", &[3, 5], 1),
        layer("last two", &[2, 3, 4], 2),
        layer("long rows", &[2, 70], 1),
        layer("no rows", &[0, 3], 1),
        layer("empty rows", &[2, 0], 1),
        Sample::new("layer_norm", "one value", [n(&[3, 1])], |x| {
            let one = Tensor::ones([1], x[0].dtype());
            x[0].layer_norm(&one, &one, 0.1)
        }),
        Sample::new("layer_norm", "parameters from the input", [n(&[3, 4])], |x| {
            x[0].layer_norm(&x[0].sum(0), &x[0].mean(0), 1e-3)
        }),
        Sample::new("standardize", "all axes", [n(&[2, 3])], |x| x[0].standardize(2, 1e-5)),
        group("", &[2, 4, 3], 2),
        group("one group", &[2, 2, 2, 2], 1),
        group("instance norm", &[2, 2, 2, 3], 2),
        group("no space", &[3, 4], 2),
        group("no items", &[0, 4, 2], 2),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Key};

    #[test]
    fn rows_have_mean_0_and_variance_1() {
        let y = (Tensor::normal([4, 3, 5], DType::F64, Key::new(1)) * 7.0 + 100.0).standardize(2, 0.0);
        let (mean, var) = (y.mean([1, 2]).to_vec::<f64>(), y.var([1, 2], 0).to_vec::<f64>());
        assert!(mean.iter().all(|m| m.abs() < 1e-12) && var.iter().all(|v| (v - 1.0).abs() < 1e-12));
    }

    /// Value and gradient, fast and recorded, of the sum of (1, 2, ..) y.
    fn value_and_gradients(x: &Tensor, eps: f64) -> [Vec<f64>; 3] {
        let x = x.requires_grad();
        let y = x.standardize(1, eps);
        let sum = (&y * Tensor::from_fn(y.shape(), y.dtype(), |i| 1.0 + i as f64)).sum(..);
        let fast = sum.grad(&[&x]).remove(0);
        [y.to_vec(), fast.to_vec(), sum.recorded().grad(&[&x]).remove(0).to_vec()]
    }

    #[test]
    fn rows_of_any_magnitude_are_normalised() {
        let close = |found: &[f64], want: &[f64], size: f64, tolerance: f64| {
            let near = |(f, w): (&f64, &f64)| (f * size - w).abs() < tolerance;
            assert!(found.iter().zip(want).all(near), "{found:?}, truly {want:?} / {size}");
        };
        let row = Tensor::from([1.0, -1.0, 2.0, 0.0]);
        let [y, d, _] = value_and_gradients(&row, 0.0);
        close(&y, &[0.2f64.sqrt(), -3.0 * 0.2f64.sqrt(), 3.0 * 0.2f64.sqrt(), -(0.2f64.sqrt())], 1.0, 1e-15);
        for size in [1e-200, 1e-30, 1e30, 1e200] {
            let [found, fast, recorded] = value_and_gradients(&(&row * size), 0.0);
            close(&found, &y, 1.0, 1e-14);
            close(&fast, &d, size, 1e-13);
            close(&recorded, &d, size, 1e-13);
        }
        for size in [1e-25, 1e30] {
            let [found, fast, recorded] = value_and_gradients(&(&row * size).to_dtype(DType::F32), 0.0);
            close(&found, &y, 1.0, 1e-6);
            close(&fast, &d, size, 1e-5);
            close(&recorded, &d, size, 1e-5);
        }
    }

    #[test]
    fn numbers_far_from_0_keep_their_deviations() {
        let x = Tensor::from_fn([1, 17], DType::F32, |i| 10_000.0 + i as f64 / 1000.0);
        let exact = x.to_dtype(DType::F64);
        let [want, want_d, _] = value_and_gradients(&exact, 1e-5);
        let [y, fast, recorded] = value_and_gradients(&x, 1e-5);
        // Relative to the largest element: that of the middle is 0 because terms cancel.
        let near = |a: &[f64], b: &[f64]| {
            let most = b.iter().fold(0.0f64, |most, b| most.max(b.abs()));
            a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5 * most)
        };
        assert!(near(&y, &want), "{y:?}, truly {want:?}");
        assert!(near(&fast, &want_d) && near(&recorded, &want_d), "{fast:?} {recorded:?}, truly {want_d:?}");
    }

    #[test]
    fn equal_numbers_without_an_epsilon_are_flat() {
        let x = Tensor::from([[5.0, 5.0, 5.0], [0.0, 0.0, 0.0]]);
        for values in value_and_gradients(&x, 0.0) {
            assert_eq!(values, [0.0; 6]);
        }
    }

    #[test]
    fn one_group_a_channel_normalises_each_channel_of_each_item() {
        let x = Tensor::normal([2, 3, 4], DType::F64, Key::new(2));
        let (one, zero) = (Tensor::ones([3], DType::F64), Tensor::zeros([3], DType::F64));
        let y = x.group_norm(3, &one, &zero, 1e-5);
        assert_eq!(y.to_vec::<f64>(), x.standardize(1, 1e-5).to_vec::<f64>());
    }

    #[test]
    #[should_panic(
        expected = "layer_norm: gamma [4] and beta [4] must have the shape of the last axes of the input [2, 3]"
    )]
    fn parameters_fit_the_last_axes() {
        let four = Tensor::from([1.0; 4]);
        let _ = Tensor::zeros([2, 3], DType::F64).layer_norm(&four, &four, 1e-5);
    }

    #[test]
    #[should_panic(expected = "group_norm: 3 channels of the input [2, 3, 4] are not a multiple of 2 groups")]
    fn groups_divide_the_channels() {
        let one = Tensor::from([1.0; 3]);
        let _ = Tensor::zeros([2, 3, 4], DType::F64).group_norm(2, &one, &one, 1e-5);
    }
}
