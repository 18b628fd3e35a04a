//! The dimensions that a tensor is reshaped to, one of which may be inferred.

use std::fmt;

use kernels::MAX_RANK;

use crate::shape::{Shape, ShapeError};

/// In a list of `usize`, the size to infer, as -1 is in a list of signed integers: `x.reshape([n, INFER])`.
pub const INFER: usize = usize::MAX;

/// The dimensions of a reshaped tensor: a shape, or an array or slice of integers in which one may be -1, the size to
/// infer. `()` is the shape of a scalar.
#[derive(Clone, Copy)]
pub struct Dims {
    sizes: [isize; MAX_RANK],
    rank: usize,
}

impl Dims {
    #[track_caller]
    fn of(sizes: impl ExactSizeIterator<Item = isize>) -> Dims {
        let rank = sizes.len();
        assert!(rank <= MAX_RANK, "a shape of {rank} axes: at most {MAX_RANK} are supported");
        let mut dims = Dims { sizes: [0; MAX_RANK], rank };
        dims.sizes.iter_mut().zip(sizes).for_each(|(to, size)| *to = size);
        dims
    }

    fn sizes(&self) -> &[isize] {
        &self.sizes[..self.rank]
    }

    /// The shape of `numel` elements with these dimensions.
    pub(crate) fn resolve(&self, numel: usize) -> Result<Shape, ShapeError> {
        if let Some(size) = self.sizes().iter().find(|&&size| size < -1) {
            let rule = "only -1 may be negative, the size to infer";
            return Err(ShapeError(format!("size {size} of {self}: {rule}")));
        }
        let mut dims = self.sizes.map(|size| size as usize);
        let mut inferred = (0..self.rank).filter(|&axis| self.sizes[axis] == -1);
        if let Some(axis) = inferred.next() {
            if inferred.next().is_some() {
                return Err(ShapeError(format!("{self} has more than one -1; one size can be inferred")));
            }
            dims[axis] = 1;
            let others = Shape::checked(&dims[..self.rank])?.numel();
            if others == 0 || !numel.is_multiple_of(others) {
                let given = format!("{numel} elements are no multiple of {others}");
                return Err(ShapeError(format!("no size fits for -1 in {self}: {given}")));
            }
            dims[axis] = numel / others;
        }
        Shape::checked(&dims[..self.rank])
    }
}

impl fmt::Display for Dims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.sizes())
    }
}
impl fmt::Debug for Dims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Shape> for Dims {
    fn from(shape: Shape) -> Dims {
        Dims::from(&shape)
    }
}
impl From<&Shape> for Dims {
    fn from(shape: &Shape) -> Dims {
        Dims::of(shape.iter().map(|&size| size as isize))
    }
}
impl From<()> for Dims {
    fn from((): ()) -> Dims {
        Dims::of([].into_iter())
    }
}

// usize::MAX is -1.
macro_rules! integers {
    ($($t:ty),*) => {$(
        impl<const N: usize> From<[$t; N]> for Dims {
            #[track_caller]
            fn from(sizes: [$t; N]) -> Dims {
                Dims::of(sizes.iter().map(|&size| size as isize))
            }
        }
        impl<const N: usize> From<&[$t; N]> for Dims {
            #[track_caller]
            fn from(sizes: &[$t; N]) -> Dims {
                Dims::of(sizes.iter().map(|&size| size as isize))
            }
        }
        impl From<&[$t]> for Dims {
            #[track_caller]
            fn from(sizes: &[$t]) -> Dims {
                Dims::of(sizes.iter().map(|&size| size as isize))
            }
        }
        impl From<&Vec<$t>> for Dims {
            #[track_caller]
            fn from(sizes: &Vec<$t>) -> Dims {
                Dims::from(sizes.as_slice())
            }
        }
        impl From<Vec<$t>> for Dims {
            #[track_caller]
            fn from(sizes: Vec<$t>) -> Dims {
                Dims::from(sizes.as_slice())
            }
        }
    )*};
}
integers!(i32, i64, isize, usize);

impl From<&[usize]> for Shape {
    #[track_caller]
    fn from(dims: &[usize]) -> Shape {
        Shape::new(dims)
    }
}
impl<const N: usize> From<[usize; N]> for Shape {
    #[track_caller]
    fn from(dims: [usize; N]) -> Shape {
        Shape::new(&dims)
    }
}
impl From<&Vec<usize>> for Shape {
    #[track_caller]
    fn from(dims: &Vec<usize>) -> Shape {
        Shape::new(dims)
    }
}
impl From<&Shape> for Shape {
    fn from(shape: &Shape) -> Shape {
        *shape
    }
}
#[cfg(test)]
mod tests {
    use super::INFER;
    use crate::{DType, Index, Tensor};

    #[test]
    fn one_size_is_inferred() {
        let x = Tensor::arange(12, DType::F64);
        let n = 3;
        assert_eq!(*x.reshape([-1, 4]).shape(), [3, 4]);
        assert_eq!(*x.reshape([2, -1, 2]).shape(), [2, 3, 2]);
        assert_eq!(*x.reshape([n, INFER]).shape(), [3, 4]);
        assert_eq!(*x.reshape([-1]).shape(), [12]);
        assert_eq!(*x.reshape([n as isize, -1]).shape(), [3, 4]);
        assert_eq!(*x.slice_axis(0, ..1).reshape(()).shape(), []);
        assert_eq!(*Tensor::zeros([0, 3], DType::F32).reshape([-1, 3]).shape(), [0, 3]);
        assert_eq!(*Index::from([1, 2, 3, 4]).reshape([-1, 2]).shape(), [2, 2]);
    }

    #[test]
    #[should_panic(expected = "reshape: no size fits for -1 in [-1, 5]: 12 elements are no multiple of 5")]
    fn the_inferred_size_is_whole() {
        let _ = Tensor::arange(12, DType::F64).reshape([-1, 5]);
    }

    #[test]
    #[should_panic(expected = "reshape: no size fits for -1 in [0, -1]: 0 elements are no multiple of 0")]
    fn beside_0_any_size_would_fit() {
        let _ = Tensor::zeros([0], DType::F64).reshape([0, -1]);
    }

    #[test]
    #[should_panic(expected = "reshape: [-1, -1] has more than one -1; one size can be inferred")]
    fn two_sizes_are_not_inferred() {
        let _ = Tensor::arange(12, DType::F64).reshape([-1, -1]);
    }

    #[test]
    #[should_panic(expected = "reshape: size -2 of [-2, 6]: only -1 may be negative, the size to infer")]
    fn other_negative_sizes_are_refused() {
        let _ = Tensor::arange(12, DType::F64).reshape([-2, 6]);
    }
}
