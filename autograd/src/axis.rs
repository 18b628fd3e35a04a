//! Axes: one, or the set that a reduction runs over.

use crate::shape::{Shape, ShapeError};

/// One axis of a tensor, given as an integer: 0 is the first axis, -1 the last.
///
/// Methods that take an axis take `impl Into<Axis>`, so an `i32` literal, a `usize` and an `isize` are all accepted.
///
/// ```
/// use autograd::{DType, Tensor};
/// let x = Tensor::zeros([2, 3], DType::F32);
/// let last = x.rank() - 1;
/// assert_eq!(x.sum(last).shape(), x.sum(-1).shape());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis(isize);

impl Shape {
    /// The non-negative index of an axis in a shape.
    pub(crate) fn axis(&self, axis: impl Into<Axis>) -> Result<usize, ShapeError> {
        let Axis(axis) = axis.into();
        let rank = self.rank() as isize;
        let resolved = if axis < 0 { axis + rank } else { axis };
        if (0..rank).contains(&resolved) {
            Ok(resolved as usize)
        } else {
            Err(ShapeError(format!("axis {axis} is outside shape {self}, which has {rank} axes")))
        }
    }

    /// The non-negative index of an axis in a shape with one more axis: -1 is the new last axis.
    pub(crate) fn new_axis(&self, axis: impl Into<Axis>) -> Result<usize, ShapeError> {
        let Axis(axis) = axis.into();
        let rank = self.rank() as isize + 1;
        let resolved = if axis < 0 { axis + rank } else { axis };
        if (0..rank).contains(&resolved) {
            Ok(resolved as usize)
        } else {
            let ends = format!("{} to {}", -rank, rank - 1);
            Err(ShapeError(format!("a new axis of shape {self} can be {ends}, not {axis}")))
        }
    }
}

/// Which axes a reduction runs over, and whether they are kept as dimensions of 1.
///
/// `..` is all axes, an integer one axis (negative: from the end), an array, slice or vector several, `()` none;
/// [`keep`] wraps any of them.
#[derive(Clone, Debug)]
pub struct Axes {
    /// `None` for all axes.
    pub(crate) which: Option<Vec<Axis>>,
    pub(crate) keep: bool,
}

/// Keeps reduced axes as dimensions of 1 (`keepdim` in PyTorch): `x.sum(keep(1))`.
pub fn keep(axes: impl Into<Axes>) -> Axes {
    Axes { keep: true, ..axes.into() }
}

impl Axes {
    fn of<A: Into<Axis>>(axes: impl IntoIterator<Item = A>) -> Axes {
        Axes { which: Some(axes.into_iter().map(A::into).collect()), keep: false }
    }

    /// The axes of a shape, in the order in which they were given.
    pub(crate) fn resolve(&self, shape: &Shape) -> Result<Vec<usize>, ShapeError> {
        let Some(which) = &self.which else { return Ok((0..shape.rank()).collect()) };
        let mut resolved = Vec::with_capacity(which.len());
        for &axis in which {
            let number = shape.axis(axis)?;
            if resolved.contains(&number) {
                return Err(ShapeError(format!("axis {} of {shape} is named twice", axis.0)));
            }
            resolved.push(number);
        }
        Ok(resolved)
    }
}

// A number beyond isize is outside every shape, as isize::MAX is.
macro_rules! integers {
    ($($t:ty),*) => {$(
        impl From<$t> for Axis {
            fn from(axis: $t) -> Axis {
                Axis(isize::try_from(axis).unwrap_or(isize::MAX))
            }
        }
        impl From<$t> for Axes {
            fn from(axis: $t) -> Axes {
                Axes::of([axis])
            }
        }
    )*};
}
integers!(i32, i64, isize, u32, usize);

impl From<Axis> for Axes {
    fn from(axis: Axis) -> Axes {
        Axes::of([axis])
    }
}
impl From<std::ops::RangeFull> for Axes {
    fn from(_: std::ops::RangeFull) -> Axes {
        Axes { which: None, keep: false }
    }
}
impl From<()> for Axes {
    fn from((): ()) -> Axes {
        Axes::of::<Axis>([])
    }
}
impl<A: Into<Axis>, const N: usize> From<[A; N]> for Axes {
    fn from(axes: [A; N]) -> Axes {
        Axes::of(axes)
    }
}
impl<A: Into<Axis> + Copy, const N: usize> From<&[A; N]> for Axes {
    fn from(axes: &[A; N]) -> Axes {
        Axes::of(axes.iter().copied())
    }
}
impl<A: Into<Axis> + Copy> From<&[A]> for Axes {
    fn from(axes: &[A]) -> Axes {
        Axes::of(axes.iter().copied())
    }
}
impl<A: Into<Axis> + Copy> From<&Vec<A>> for Axes {
    fn from(axes: &Vec<A>) -> Axes {
        Axes::from(axes.as_slice())
    }
}
impl<A: Into<Axis>> From<Vec<A>> for Axes {
    fn from(axes: Vec<A>) -> Axes {
        Axes::of(axes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Tensor};

    #[test]
    fn integers_of_every_type_name_an_axis() {
        let x = Tensor::zeros([2, 3, 4], DType::F64);
        let (a, b, c) = (1usize, 1isize, 1i64);
        for y in
            [x.sum(1), x.sum(a), x.sum(b), x.sum(c), x.sum(-2), x.sum([1]), x.sum(&[1][..]), x.sum(vec![a])]
        {
            assert_eq!(*y.shape(), [2, 4]);
        }
        assert_eq!(*x.sum([0, a]).shape(), [4]);
        assert_eq!(*x.sum(()).shape(), [2, 3, 4]);
        assert_eq!(*x.sum(keep(vec![-1])).shape(), [2, 3, 1]);
        assert_eq!(x.softmax(a).shape(), x.softmax(-1).shape());
    }

    #[test]
    #[should_panic(expected = "softmax: axis 9223372036854775807 is outside shape [2], which has 1 axes")]
    fn an_axis_beyond_isize_is_outside() {
        let _ = Tensor::zeros([2], DType::F64).softmax(usize::MAX);
    }

    #[test]
    #[should_panic(expected = "sum: axis -1 of [2] is named twice")]
    fn an_axis_is_named_once() {
        let _ = Tensor::zeros([2], DType::F64).sum([0, -1]);
    }
}
