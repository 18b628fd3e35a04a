//! Integer arrays of indices or class labels, which have no gradient.

use std::fmt;

use crate::buffer::Buffer;
use crate::dims::Dims;
use crate::dtype::{DType, dispatch};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// A row-major array of integers from 0 to 2^32 - 1: indices into an axis, or class labels. A clone shares the
/// elements.
///
/// ```
/// use autograd::{DType, Index};
/// let labels = Index::from([2, 0, 1]);
/// assert_eq!(labels.one_hot(3, DType::F32).to_vec::<f32>(), [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
/// ```
#[derive(Clone)]
#[must_use]
pub struct Index {
    data: Buffer,
    shape: Shape,
}

impl Index {
    /// An index array of the given elements, of any integer type, in row-major order.
    ///
    /// # Panics
    /// If the number of elements is not the product of the dimensions, or an element is negative or above
    /// 2^32 - 1.
    #[track_caller]
    pub fn new<I: Copy + TryInto<u32>>(data: &[I], shape: impl Into<Shape>) -> Index {
        let shape = shape.into();
        assert!(
            data.len() == shape.numel(),
            "Index::new: {} elements given for shape {shape}, which has {}",
            data.len(),
            shape.numel()
        );
        let mut buffer = Buffer::uninit::<u32>(data.len());
        let out = buffer.unique_mut::<u32>().expect("new buffers have one owner");
        for (position, (out, &v)) in out.iter_mut().zip(data).enumerate() {
            let Ok(v) = v.try_into() else {
                panic!("Index::new: the element at position {position} is not a number from 0 to 2^32 - 1")
            };
            *out = v;
        }
        Index { data: buffer, shape }
    }

    pub(crate) fn from_buffer(data: Buffer, shape: Shape) -> Index {
        debug_assert_eq!(data.len(), shape.numel());
        Index { data, shape }
    }

    /// The dimensions.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The number of elements.
    pub fn numel(&self) -> usize {
        self.data.len()
    }

    /// The elements in row-major order.
    pub fn data(&self) -> &[u32] {
        self.data.as_slice()
    }

    /// A copy of the elements in row-major order.
    pub fn to_vec(&self) -> Vec<usize> {
        self.data().iter().map(|&i| i as usize).collect()
    }

    /// The same elements under another shape, in which one size may be inferred, as by [`Tensor::reshape`]. Copies
    /// nothing.
    ///
    /// # Panics
    /// If the number of elements differs.
    #[track_caller]
    pub fn reshape(&self, shape: impl Into<Dims>) -> Index {
        let shape = match shape.into().resolve(self.numel()) {
            Ok(shape) => shape,
            Err(e) => panic!("reshape: {e}"),
        };
        assert!(
            shape.numel() == self.numel(),
            "reshape: index of shape {} has {} elements, {shape} has {}",
            self.shape,
            self.numel(),
            shape.numel()
        );
        Index { data: self.data.clone(), shape }
    }

    /// One-hot encoding, 1 at the class and 0 elsewhere: the shape of the index with an axis of size `classes`
    /// appended.
    ///
    /// # Panics
    /// If an element is not below `classes`.
    #[track_caller]
    pub fn one_hot(&self, classes: usize, dtype: DType) -> Tensor {
        self.check("one_hot", classes);
        let shape = self.shape.insert(self.shape.rank(), classes);
        dispatch!(dtype, T => Tensor::build::<T>(shape, |out| {
            kernels::layout::one_hot(self.data(), classes, out);
        }))
    }

    /// Panics unless every element is below `bound`.
    #[track_caller]
    pub(crate) fn check(&self, op: &str, bound: usize) {
        if let Err((position, index)) = kernels::layout::check_indices(self.data(), bound) {
            panic!("{op}: index {index} at position {position} is not below {bound}");
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.data.bytes()
    }
}

impl PartialEq for Index {
    fn eq(&self, other: &Index) -> bool {
        self.shape == other.shape && self.data() == other.data()
    }
}
impl Eq for Index {}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        let shown = &self.data()[..self.numel().min(SHOWN)];
        write!(f, "Index({}, {shown:?}{})", self.shape, if self.numel() > SHOWN { " …" } else { "" })
    }
}

impl<I: Copy + TryInto<u32>> From<&[I]> for Index {
    #[track_caller]
    fn from(data: &[I]) -> Index {
        Index::new(data, [data.len()])
    }
}
impl<I: Copy + TryInto<u32>> From<Vec<I>> for Index {
    #[track_caller]
    fn from(data: Vec<I>) -> Index {
        Index::from(&data[..])
    }
}
impl<I: Copy + TryInto<u32>, const N: usize> From<[I; N]> for Index {
    #[track_caller]
    fn from(data: [I; N]) -> Index {
        Index::from(&data[..])
    }
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_integers_make_an_index() {
        let i = Index::new(&[1u8, 0, 2, 1], [2, 2]);
        assert_eq!(i, Index::from(vec![1usize, 0, 2, 1]).reshape([2, 2]));
        assert_eq!(i, Index::from([1, 0, 2, 1]).reshape([2, 2]));
        assert_eq!(i.to_vec(), [1, 0, 2, 1]);
        assert_eq!(format!("{i:?}"), "Index([2, 2], [1, 0, 2, 1])");
        assert_eq!(*Index::from([0u32; 0]).one_hot(3, DType::F64).shape(), [0, 3]);
        assert_eq!(*Index::new(&[0], []).one_hot(1, DType::F64).shape(), [1]);
    }

    #[test]
    #[should_panic(expected = "Index::new: the element at position 1 is not a number from 0 to 2^32 - 1")]
    fn negative_numbers_are_no_indices() {
        let _ = Index::from([0i64, -1]);
    }

    #[test]
    #[should_panic(expected = "Index::new: 2 elements given for shape [3], which has 3")]
    fn a_shape_is_filled() {
        let _ = Index::new(&[0, 1], [3]);
    }

    #[test]
    #[should_panic(expected = "one_hot: index 3 at position 1 is not below 3")]
    fn a_label_names_a_class() {
        let _ = Index::from([0, 3]).one_hot(3, DType::F32);
    }
}
