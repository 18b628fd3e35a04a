//! Shapes: a few dimensions held inline, and the algebra of broadcasting.

use std::fmt;
use std::ops::Deref;

use kernels::MAX_RANK;

/// The dimensions of a tensor, at most six. The empty shape is that of a scalar.
#[derive(Clone, Copy, Eq)]
pub struct Shape {
    dims: [usize; MAX_RANK],
    rank: u8,
}

/// Why a shape is invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeError(pub String);

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for ShapeError {}

impl Shape {
    /// A shape from its dimensions.
    ///
    /// # Panics
    /// If there are more than six, or a tensor of this shape would not fit into the address space (dimensions of
    /// 0 count as 1).
    #[track_caller]
    pub fn new(dims: &[usize]) -> Shape {
        Shape::checked(dims).unwrap_or_else(|e| panic!("{e}"))
    }

    /// [`Shape::new`], with an error where that panics.
    pub(crate) fn checked(dims: &[usize]) -> Result<Shape, ShapeError> {
        if dims.len() > MAX_RANK {
            let rule = format!("has {} axes; at most {MAX_RANK} are supported", dims.len());
            return Err(ShapeError(format!("shape {dims:?} {rule}")));
        }
        let mut shape = Shape { dims: [0; MAX_RANK], rank: dims.len() as u8 };
        shape.dims[..dims.len()].copy_from_slice(dims);
        shape.fitting()
    }

    /// This shape, if products of its dimensions are small enough to count bytes with: then no number of elements
    /// and no stride overflows, and a dimension of 0 can be replaced by 1.
    fn fitting(self) -> Result<Shape, ShapeError> {
        const MOST: usize = isize::MAX as usize / size_of::<f64>();
        match self.iter().try_fold(1, |n: usize, &dim| n.checked_mul(dim.max(1)).filter(|&n| n <= MOST)) {
            Some(_) => Ok(self),
            None => Err(ShapeError(format!("shape {self} is larger than the address space"))),
        }
    }

    /// The number of elements: the product of the dimensions, 1 for a scalar.
    pub fn numel(&self) -> usize {
        self.iter().product()
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.rank as usize
    }

    /// How far one step along each axis moves in row-major memory.
    pub fn strides(&self) -> [usize; MAX_RANK] {
        let mut strides = [0; MAX_RANK];
        let mut step = 1;
        for axis in (0..self.rank()).rev() {
            strides[axis] = step;
            step *= self[axis];
        }
        strides
    }

    /// Strides that read a tensor of this shape as if it had the broader shape `to`: 0 along repeated axes.
    pub(crate) fn strides_in(&self, to: &Shape) -> [usize; MAX_RANK] {
        let own = self.strides();
        let mut strides = [0; MAX_RANK];
        let lead = to.rank() - self.rank();
        for axis in 0..self.rank() {
            if self[axis] != 1 {
                strides[lead + axis] = own[axis];
            }
        }
        strides
    }

    /// The shape of an elementwise operation on two shapes: aligned at the last axis, equal dimensions match,
    /// and a dimension of 1 or a missing one is repeated.
    pub fn broadcast(&self, other: &Shape) -> Result<Shape, ShapeError> {
        if self == other {
            return Ok(*self);
        }
        let rank = self.rank().max(other.rank());
        let mut out = Shape { dims: [1; MAX_RANK], rank: rank as u8 };
        for back in 1..=rank {
            let dim = |s: &Shape| if back <= s.rank() { s[s.rank() - back] } else { 1 };
            out.dims[rank - back] = match (dim(self), dim(other)) {
                (a, b) if a == b => a,
                (1, b) => b,
                (a, 1) => a,
                (a, b) => {
                    return Err(ShapeError(format!(
                        "{self} and {other} do not broadcast: {a} against {b} at axis -{back}; equal sizes or 1 are needed"
                    )));
                }
            };
        }
        out.dims[rank..].fill(0);
        out.fitting()
    }

    /// The same shape with dimension `axis` replaced.
    #[track_caller]
    pub(crate) fn with(mut self, axis: usize, dim: usize) -> Shape {
        assert!(axis < self.rank());
        self.dims[axis] = dim;
        self.fitting().unwrap_or_else(|e| panic!("{e}"))
    }

    /// The same shape with a dimension inserted before `axis`.
    #[track_caller]
    pub(crate) fn insert(&self, axis: usize, dim: usize) -> Shape {
        let mut dims = self.to_vec();
        dims.insert(axis, dim);
        Shape::new(&dims)
    }
}

impl PartialEq for Shape {
    // Compared at every step of every pass: dimensions beyond the rank are 0, so that this needs no branch.
    #[inline]
    fn eq(&self, other: &Shape) -> bool {
        let mut differ = usize::from(self.rank ^ other.rank);
        for axis in 0..MAX_RANK {
            differ |= self.dims[axis] ^ other.dims[axis];
        }
        differ == 0
    }
}
impl std::hash::Hash for Shape {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl Deref for Shape {
    type Target = [usize];
    #[inline]
    fn deref(&self) -> &[usize] {
        &self.dims[..self.rank as usize]
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &**self)
    }
}
impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq<[usize]> for Shape {
    fn eq(&self, other: &[usize]) -> bool {
        **self == *other
    }
}
impl<const N: usize> PartialEq<[usize; N]> for Shape {
    fn eq(&self, other: &[usize; N]) -> bool {
        **self == *other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "shape [9223372036854775808, 0, 2] is larger than the address space")]
    fn sizes_cannot_overflow() {
        Shape::new(&[1 << 63, 0, 2]);
    }

    #[test]
    fn broadcasting_cannot_overflow() {
        let (a, b) = (Shape::new(&[1 << 40, 1]), Shape::new(&[1 << 40]));
        assert!(a.broadcast(&b).unwrap_err().0.contains("larger than the address space"));
    }
}
