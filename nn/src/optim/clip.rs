//! Gradients kept from growing too large.

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
    /// Each element kept between minus this and this.
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

/// The Euclidean norm of all elements of all tensors together, summed in f64.
pub fn global_norm<'a>(tensors: impl Iterator<Item = &'a Tensor>) -> f64 {
    let square = |t: &Tensor| match t.dtype() {
        DType::F32 => t.data::<f32>().iter().map(|&v| f64::from(v).powi(2)).sum::<f64>(),
        DType::F64 => t.data::<f64>().iter().map(|v| v * v).sum::<f64>(),
    };
    tensors.map(square).sum::<f64>().sqrt()
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
