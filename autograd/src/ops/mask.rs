//! Boolean masks, the results of comparing tensors. They have no gradient.

use std::fmt;

use kernels::{Element, par};

use crate::buffer::Buffer;
use crate::dtype::{DType, Scalar, dispatch};
use crate::kinds::elementwise::same_dtype_and_broadcast;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// A row-major array of booleans. Comparisons return it; [`Mask::select`](crate::Mask::select) uses it. A clone shares
/// the elements.
///
/// ```
/// use autograd::Tensor;
/// let x = Tensor::from([1.0, -2.0, 3.0]);
/// let inside = x.gt(0.0).and(&x.lt(2.0));
/// assert_eq!(inside.to_vec(), [true, false, false]);
/// assert_eq!(inside.not().count(), 2);
/// ```
#[derive(Clone)]
#[must_use]
pub struct Mask {
    /// 1 where true, else 0.
    data: Buffer,
    shape: Shape,
}

/// Elements that one thread handles at a time.
pub(super) const GRAIN: usize = 1 << 15;

impl Mask {
    /// A mask of the given values in row-major order.
    ///
    /// # Panics
    /// If the number of values is not the product of the dimensions.
    #[track_caller]
    pub fn new(data: &[bool], shape: impl Into<Shape>) -> Mask {
        let shape = shape.into();
        assert!(
            data.len() == shape.numel(),
            "Mask::new: {} values given for shape {shape}, which has {}",
            data.len(),
            shape.numel()
        );
        let write = |out: &mut [u32]| out.iter_mut().zip(data).for_each(|(out, &v)| *out = u32::from(v));
        Mask { data: Buffer::build(data.len(), write), shape }
    }

    /// The dimensions.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The values in row-major order.
    pub fn to_vec(&self) -> Vec<bool> {
        self.bits().iter().map(|&v| v != 0).collect()
    }

    /// 1 where true, 0 where false.
    pub fn to_tensor(&self, dtype: DType) -> Tensor {
        dispatch!(dtype, T => Tensor::build::<T>(self.shape, |out| {
            out.iter_mut().zip(self.bits()).for_each(|(out, &v)| *out = if v != 0 { T::ONE } else { T::ZERO });
        }))
    }

    /// How many values are true.
    pub fn count(&self) -> usize {
        self.bits().iter().filter(|&&v| v != 0).count()
    }

    /// Whether some value is true.
    pub fn any(&self) -> bool {
        self.bits().iter().any(|&v| v != 0)
    }

    /// Whether no value is false.
    pub fn all(&self) -> bool {
        self.bits().iter().all(|&v| v != 0)
    }

    /// Logical and, broadcasting.
    ///
    /// # Panics
    /// If the shapes do not broadcast.
    #[track_caller]
    pub fn and(&self, other: &Mask) -> Mask {
        self.combine("and", other, |a, b| a & b)
    }

    /// Logical or, broadcasting.
    ///
    /// # Panics
    /// If the shapes do not broadcast.
    #[track_caller]
    pub fn or(&self, other: &Mask) -> Mask {
        self.combine("or", other, |a, b| a | b)
    }

    /// Logical not.
    pub fn not(&self) -> Mask {
        self.combine("not", self, |a, _| 1 - a)
    }

    #[track_caller]
    fn combine(&self, name: &str, other: &Mask, f: impl Fn(u32, u32) -> u32 + Sync) -> Mask {
        let shape = match self.shape.broadcast(&other.shape) {
            Ok(shape) => shape,
            Err(e) => panic!("{name}: masks of shapes {e}"),
        };
        let (a, b) = (self.broadcast_to(&shape), other.broadcast_to(&shape));
        build(shape, a.bits(), b.bits(), f)
    }

    /// The mask repeated to a shape that it broadcasts to.
    pub(super) fn broadcast_to(&self, shape: &Shape) -> Mask {
        if self.shape == *shape {
            return self.clone();
        }
        let repeat = |out: &mut [u32]| kernels::layout::broadcast_to(self.bits(), &self.shape, shape, out);
        Mask { data: Buffer::build(shape.numel(), repeat), shape: *shape }
    }

    /// The values as numbers: 1 or 0.
    pub(super) fn bits(&self) -> &[u32] {
        self.data.as_slice()
    }

    pub(super) fn bytes(&self) -> usize {
        self.data.bytes()
    }
}

/// A mask of the given shape whose values are `f(a, b)` for the elements of two slices, 1 or 0.
fn build<T: Copy + Sync>(shape: Shape, a: &[T], b: &[T], f: impl Fn(T, T) -> u32 + Sync) -> Mask {
    let write = |out: &mut [u32]| {
        par::chunks(out, GRAIN, |piece, out| {
            let (a, b) = (&a[piece * GRAIN..], &b[piece * GRAIN..]);
            out.iter_mut().zip(a).zip(b).for_each(|((out, &a), &b)| *out = f(a, b));
        });
    };
    Mask { data: Buffer::build(shape.numel(), write), shape }
}

impl PartialEq for Mask {
    fn eq(&self, other: &Mask) -> bool {
        self.shape == other.shape && self.bits() == other.bits()
    }
}
impl Eq for Mask {}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        let n = self.bits().len();
        let shown: Vec<bool> = self.bits().iter().take(SHOWN).map(|&v| v != 0).collect();
        write!(f, "Mask({}, {shown:?}{})", self.shape, if n > SHOWN { " …" } else { "" })
    }
}

/// What a tensor is compared with: another tensor, broadcasting, or a number, rounded to the tensor's dtype.
#[derive(Clone, Copy, Debug)]
pub enum Operand<'a> {
    /// Another tensor.
    Tensor(&'a Tensor),
    /// The same number for every element.
    Number(f64),
}

impl<'a> From<&'a Tensor> for Operand<'a> {
    fn from(x: &'a Tensor) -> Operand<'a> {
        Operand::Tensor(x)
    }
}
impl From<f64> for Operand<'_> {
    fn from(v: f64) -> Self {
        Operand::Number(v)
    }
}

#[derive(Clone, Copy, Debug)]
enum Comparison {
    Gt,
    Ge,
    Lt,
    Le,
    Eq,
    Ne,
}

#[track_caller]
fn compare(name: &str, comparison: Comparison, a: &Tensor, b: Operand<'_>) -> Mask {
    match b {
        Operand::Number(v) => dispatch!(a.dtype(), T => {
            let v = T::from_f64(v);
            compare_each(comparison, a.slice::<T>(), a.slice(), |_| v, *a.shape())
        }),
        Operand::Tensor(b) => {
            let shape = same_dtype_and_broadcast(name, a, b);
            let (a, b) = (repeated(a, &shape), repeated(b, &shape));
            dispatch!(a.dtype(), T => {
                compare_each(comparison, a.slice::<T>(), b.slice(), |b| b, shape)
            })
        }
    }
}

/// Compares the elements of `a` with `right` of the elements of `b`.
fn compare_each<T: Scalar>(
    c: Comparison,
    a: &[T],
    b: &[T],
    right: impl Fn(T) -> T + Sync,
    shape: Shape,
) -> Mask {
    match c {
        Comparison::Gt => build(shape, a, b, |a, b| u32::from(a > right(b))),
        Comparison::Ge => build(shape, a, b, |a, b| u32::from(a >= right(b))),
        Comparison::Lt => build(shape, a, b, |a, b| u32::from(a < right(b))),
        Comparison::Le => build(shape, a, b, |a, b| u32::from(a <= right(b))),
        Comparison::Eq => build(shape, a, b, |a, b| u32::from(a == right(b))),
        Comparison::Ne => build(shape, a, b, |a, b| u32::from(a != right(b))),
    }
}

/// The values of `x` in a shape that it broadcasts to.
pub(super) fn repeated(x: &Tensor, shape: &Shape) -> Tensor {
    if x.shape() == shape { x.value() } else { x.value().broadcast_to(shape) }
}

macro_rules! comparisons {
    ($($(#[$doc:meta])* $f:ident $variant:ident;)*) => {
        /// # Comparisons
        ///
        /// With a tensor (`x.gt(&y)`, broadcasting) or a number (`x.gt(0.0)`). A comparison with NaN is false,
        /// except `ne`. They panic if dtypes differ or shapes do not broadcast.
        impl Tensor {
            $($(#[$doc])*
            #[track_caller]
            pub fn $f<'a>(&self, other: impl Into<Operand<'a>>) -> Mask {
                compare(stringify!($f), Comparison::$variant, self, other.into())
            })*
        }
    };
}
comparisons! {
    /// True where `self` > `other`.
    gt Gt;
    /// True where `self` >= `other`.
    ge Ge;
    /// True where `self` < `other`.
    lt Lt;
    /// True where `self` <= `other`.
    le Le;
    /// True where the elements are equal.
    eq Eq;
    /// True where the elements differ; NaN differs from everything: `x.ne(&x)` finds it.
    ne Ne;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_are_those_of_numbers() {
        let a = Tensor::from([1.0f32, 2.0, f32::NAN, 3.0]);
        let b = Tensor::from([2.0f32, 2.0, f32::NAN, 1.0]);
        assert_eq!(a.gt(&b).to_vec(), [false, false, false, true]);
        assert_eq!(a.ge(&b).to_vec(), [false, true, false, true]);
        assert_eq!(a.lt(&b).to_vec(), [true, false, false, false]);
        assert_eq!(a.le(&b).to_vec(), [true, true, false, false]);
        assert_eq!(a.eq(&b).to_vec(), [false, true, false, false]);
        assert_eq!(a.ne(&b).to_vec(), [true, false, true, true]);
        assert_eq!(a.gt(1.5).to_vec(), [false, true, false, true]);
        assert!(Tensor::from([0.1f32]).eq(0.1).all(), "a number is rounded to f32 first");
    }

    #[test]
    fn masks_broadcast_combine_and_count() {
        let column = Tensor::from([[1.0], [3.0]]).gt(2.0);
        let row = Tensor::from([1.0, 3.0, 5.0]).lt(4.0);
        let both = column.and(&row);
        assert_eq!(*both.shape(), [2, 3]);
        assert_eq!(both.to_vec(), [false, false, false, true, true, false]);
        assert_eq!(column.or(&row).to_vec(), [true, true, false, true, true, true]);
        assert_eq!(both.not().count(), 4);
        assert!(both.any() && !both.all() && row.or(&row.not()).all());
        assert_eq!(both, Mask::new(&both.to_vec(), [2, 3]));
        assert_eq!(row.to_tensor(DType::F32).to_vec::<f32>(), [1.0, 1.0, 0.0]);
        let table = Tensor::from([[1.0, 4.0]]).ge(&Tensor::from([[1.0], [4.0]]));
        assert_eq!(table.to_vec(), [true, true, false, true]);
        assert_eq!(format!("{row:?}"), "Mask([3], [true, true, false])");
    }

    #[test]
    fn an_empty_mask_has_none_and_all() {
        let none = Tensor::zeros([0, 2], DType::F32).gt(0.0);
        assert!(!none.any() && none.all() && none.count() == 0);
        assert_eq!(none.not(), none);
    }

    #[test]
    #[should_panic(expected = "gt: shapes [3] and [2] do not broadcast")]
    fn compared_shapes_broadcast() {
        let _ = Tensor::from([0.0; 3]).gt(&Tensor::from([0.0; 2]));
    }

    #[test]
    #[should_panic(expected = "eq: the operands are f64 [3] and f32 [3]; convert one with to_dtype")]
    fn compared_dtypes_agree() {
        let _ = Tensor::from([0.0f64; 3]).eq(&Tensor::from([0.0f32; 3]));
    }

    #[test]
    #[should_panic(expected = "and: masks of shapes [3] and [2] do not broadcast")]
    fn combined_masks_broadcast() {
        let _ = Mask::new(&[true; 3], [3]).and(&Mask::new(&[true; 2], [2]));
    }
}
