//! Creation operations: constants, random draws, and conversions from arrays and vectors.

use kernels::random::Key;

use crate::dtype::{DType, Scalar, dispatch};
use crate::profile;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// # Creation
impl Tensor {
    /// A tensor without axes.
    pub fn scalar(value: f64, dtype: DType) -> Tensor {
        Tensor::full([], value, dtype)
    }

    /// All elements equal to `value`.
    pub fn full(shape: impl Into<Shape>, value: f64, dtype: DType) -> Tensor {
        let shape = shape.into();
        dispatch!(dtype, T => Tensor::build::<T>(shape, |out| out.fill(kernels::Element::from_f64(value))))
    }

    /// All elements 0.
    pub fn zeros(shape: impl Into<Shape>, dtype: DType) -> Tensor {
        Tensor::full(shape, 0.0, dtype)
    }

    /// All elements 1.
    pub fn ones(shape: impl Into<Shape>, dtype: DType) -> Tensor {
        Tensor::full(shape, 1.0, dtype)
    }

    /// The numbers 0, 1, …, n - 1.
    pub fn arange(n: usize, dtype: DType) -> Tensor {
        Tensor::from_fn([n], dtype, |i| i as f64)
    }

    /// The n x n identity matrix.
    pub fn eye(n: usize, dtype: DType) -> Tensor {
        Tensor::from_fn([n, n], dtype, |i| if i / n == i % n { 1.0 } else { 0.0 })
    }

    /// Element `i` (in row-major order) is `f(i)`, rounded to `dtype`.
    pub fn from_fn(shape: impl Into<Shape>, dtype: DType, mut f: impl FnMut(usize) -> f64) -> Tensor {
        let shape = shape.into();
        dispatch!(dtype, T => Tensor::build::<T>(shape, |out| {
            out.iter_mut().enumerate().for_each(|(i, v)| *v = kernels::Element::from_f64(f(i)));
        }))
    }

    /// Independent draws, uniform on [0, 1). The same key gives the same numbers for any number of threads.
    #[doc(alias = "rand")]
    pub fn uniform(shape: impl Into<Shape>, dtype: DType, key: Key) -> Tensor {
        let shape = shape.into();
        dispatch!(dtype, T => Tensor::drawn::<T>(shape, |out| key.fill_uniform(out)))
    }

    /// Independent draws from the normal distribution of mean 0 and variance 1.
    #[doc(alias = "randn")]
    pub fn normal(shape: impl Into<Shape>, dtype: DType, key: Key) -> Tensor {
        Tensor::normal_of(shape.into(), dtype, key)
    }

    fn normal_of(shape: Shape, dtype: DType, key: Key) -> Tensor {
        dispatch!(dtype, T => Tensor::drawn::<T>(shape, |out| key.fill_normal(out)))
    }

    /// As [`Tensor::build`], where `write` draws random numbers: a [`profile`](crate::profile()) shows it as `draw`.
    pub fn drawn<T: Scalar>(shape: Shape, write: impl FnOnce(&mut [T])) -> Tensor {
        let value = Tensor::build(shape, write);
        if profile::running() {
            profile::forward("draw", &value, &[], 0);
        }
        value
    }
}

macro_rules! from_arrays {
    ($($t:ty),*) => {$(
        impl From<$t> for Tensor {
            fn from(v: $t) -> Tensor {
                Tensor::new(&[v], [])
            }
        }
        impl<const N: usize> From<[$t; N]> for Tensor {
            fn from(v: [$t; N]) -> Tensor {
                Tensor::new(&v, [N])
            }
        }
        impl<const N: usize, const M: usize> From<[[$t; N]; M]> for Tensor {
            fn from(v: [[$t; N]; M]) -> Tensor {
                Tensor::new(v.as_flattened(), [M, N])
            }
        }
        impl<const N: usize, const M: usize, const L: usize> From<[[[$t; N]; M]; L]> for Tensor {
            fn from(v: [[[$t; N]; M]; L]) -> Tensor {
                Tensor::new(v.as_flattened().as_flattened(), [L, M, N])
            }
        }
    )*};
}
from_arrays!(f32, f64);

macro_rules! from_slices {
    ($($t:ty),*) => {$(
        /// A tensor of one axis.
        impl From<Vec<$t>> for Tensor {
            fn from(v: Vec<$t>) -> Tensor {
                Tensor::from(v.as_slice())
            }
        }
        /// A tensor of one axis.
        impl From<&Vec<$t>> for Tensor {
            fn from(v: &Vec<$t>) -> Tensor {
                Tensor::from(v.as_slice())
            }
        }
        /// A tensor of one axis.
        impl From<&[$t]> for Tensor {
            fn from(v: &[$t]) -> Tensor {
                Tensor::new(v, [v.len()])
            }
        }
        /// A tensor of two axes, one row per array.
        impl<const N: usize> From<Vec<[$t; N]>> for Tensor {
            fn from(v: Vec<[$t; N]>) -> Tensor {
                Tensor::new(v.as_flattened(), [v.len(), N])
            }
        }
        /// A tensor of one axis.
        impl FromIterator<$t> for Tensor {
            fn from_iter<I: IntoIterator<Item = $t>>(values: I) -> Tensor {
                Tensor::from(values.into_iter().collect::<Vec<$t>>())
            }
        }
    )*};
}
from_slices!(f32, f64);
