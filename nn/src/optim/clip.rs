//! Gradient clipping.

use autograd::{DType, Scalar, Tensor};

use super::{Transform, Update};
use crate::error::Error;

/// A limit on gradients.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Clip {
    /// No limit.
    #[default]
    None,
    /// All gradients scaled together so that their joint Euclidean norm is at most this: times
    /// max / (norm + 1e-6) where that is below 1 (Pascanu et al. 2013; PyTorch's formula).
    Norm(f64),
    /// Each element clamped between minus this and this.
    Value(f64),
}

impl Clip {
    /// Applies the limit in place.
    pub fn apply<'a>(self, gradients: impl Iterator<Item = &'a mut Tensor>) {
        match self {
            Clip::None => {}
            Clip::Value(limit) => gradients.for_each(|g| each(g, |v| v.clamp(-limit, limit))),
            Clip::Norm(most) => {
                let gradients: Vec<&mut Tensor> = gradients.collect();
                let factor = most / (global_norm(gradients.iter().map(|g| &**g)) + 1e-6);
                if factor < 1.0 {
                    gradients.into_iter().for_each(|g| each(g, |v| v * factor));
                }
            }
        }
    }
}

impl Transform for Clip {
    fn name(&self) -> &'static str {
        "clip"
    }

    fn check(&self) -> Result<(), Error> {
        match *self {
            Clip::Norm(most) | Clip::Value(most) if most.is_nan() || most <= 0.0 => {
                Err(Error::Config(format!("clip: the limit is {most}; it must be positive")))
            }
            _ => Ok(()),
        }
    }

    fn apply(&mut self, updates: &mut [Update<'_>]) {
        Clip::apply(*self, updates.iter_mut().filter_map(|u| u.gradient.as_mut()));
    }
}

/// The Euclidean norm of all elements of all tensors together, summed in f64. Squares neither overflow nor underflow.
pub fn global_norm<'a>(tensors: impl Iterator<Item = &'a Tensor>) -> f64 {
    let tensors: Vec<&Tensor> = tensors.collect();
    let norm_by = |factor: f64| {
        let squares = tensors.iter().map(|t| match t.dtype() {
            DType::F32 => squares(t.data::<f32>(), factor),
            DType::F64 => squares(t.data::<f64>(), factor),
        });
        squares.sum::<f64>().sqrt()
    };
    let norm = norm_by(1.0);
    // Above 1e-140, squares that underflow change no digit.
    if norm.is_nan() || (1e-140..f64::INFINITY).contains(&norm) {
        return norm;
    }
    let most = tensors.iter().filter(|t| t.numel() > 0).map(|t| t.abs().max(..).item()).fold(0.0, f64::max);
    if most == 0.0 || most.is_infinite() {
        return most;
    }
    // A power of two, so that scaling is exact.
    let size = f64::from_bits(most.to_bits() & f64::INFINITY.to_bits()).max(f64::MIN_POSITIVE);
    size * norm_by(1.0 / size)
}

/// The sum of (factor v)^2, pairwise.
fn squares<T: Scalar>(v: &[T], factor: f64) -> f64 {
    const LANES: usize = 16;
    if v.len() > 16 * LANES {
        let (low, high) = v.split_at(v.len() / 2);
        return squares(low, factor) + squares(high, factor);
    }
    let mut sums = [0.0; LANES];
    for v in v.chunks(LANES) {
        for (sum, v) in sums.iter_mut().zip(v) {
            *sum += (v.to_f64() * factor).powi(2);
        }
    }
    sums.iter().sum()
}

fn each(t: &mut Tensor, f: impl Fn(f64) -> f64) {
    fn on<T: Scalar>(t: &mut Tensor, f: impl Fn(f64) -> f64) {
        t.update::<T>(|v| v.iter_mut().for_each(|v| *v = T::from_f64(f(v.to_f64()))));
    }
    match t.dtype() {
        DType::F32 => on::<f32>(t, f),
        DType::F64 => on::<f64>(t, f),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_norm_all_together() {
        for dtype in [DType::F32, DType::F64] {
            let mut g =
                [Tensor::full([2], 3.0, dtype), Tensor::full([1], 4.0, dtype), Tensor::zeros([0], dtype)];
            let norm = 34f64.sqrt();
            assert!((global_norm(g.iter()) - norm).abs() < 1e-12);
            Clip::Norm(10.0).apply(g.iter_mut());
            assert_eq!(g[0].to_vec::<f64>(), [3.0, 3.0]);
            Clip::Norm(1.0).apply(g.iter_mut());
            assert!((g[1].item() - 4.0 / (norm + 1e-6)).abs() < 1e-7);
            assert!((global_norm(g.iter()) - 1.0).abs() < 1e-6);
        }
    }

    #[test]
    fn huge_and_tiny_gradients_have_a_norm() {
        let all =
            |value: f64| [Tensor::full([60], value, DType::F64), Tensor::full([40], -value, DType::F64)];
        for value in [1e200, 1e-200, 1e-310, 3.0] {
            let norm = global_norm(all(value).iter());
            assert!((norm / (10.0 * value) - 1.0).abs() < 1e-14, "{value}: {norm}");
        }
        let mut g = all(1e200);
        Clip::Norm(1.0).apply(g.iter_mut());
        assert!((g[0].at(&[0]) - 0.1).abs() < 1e-15 && (g[1].at(&[39]) + 0.1).abs() < 1e-15);
        assert_eq!(global_norm(all(0.0).iter()), 0.0);
        assert_eq!(global_norm(all(f64::INFINITY).iter()), f64::INFINITY);
        assert!(global_norm(all(f64::NAN).iter()).is_nan());
        assert_eq!(global_norm([Tensor::zeros([0], DType::F64)].iter()), 0.0);
    }

    #[test]
    fn by_value_each_alone_and_nobody_else_sees_it() {
        let mut g = [Tensor::from([-3.0, 0.5, 2.0])];
        let other = g[0].clone();
        Clip::Value(1.0).apply(g.iter_mut());
        assert_eq!(g[0].to_vec::<f64>(), [-1.0, 0.5, 1.0]);
        assert_eq!(other.to_vec::<f64>(), [-3.0, 0.5, 2.0]);
        Clip::None.apply(g.iter_mut());
        assert_eq!(g[0].to_vec::<f64>(), [-1.0, 0.5, 1.0]);
    }
}
