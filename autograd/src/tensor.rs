//! The tensor: shared elements, a shape, and optionally a node of the graph.

use std::fmt;

use kernels::aligned::BLOCK;

use crate::buffer::Buffer;
use crate::dtype::{DType, Scalar, dispatch};
use crate::node::{self, NodeRef};
use crate::shape::Shape;

/// A dense array of f32 or f64 numbers, row-major and contiguous, optionally with the graph that it was computed by.
///
/// There is one type for data, parameters and gradients. Cloning is cheap (a clone shares the elements) and safe:
/// writing through [`Tensor::update`] copies the elements if they are shared with another tensor or a live graph.
///
/// ```
/// use autograd::Tensor;
/// let x = Tensor::from([1.0, 2.0, 3.0]).requires_grad();
/// let loss = (&x * &x).sum(..);
/// let grads = loss.backward();
/// assert_eq!(grads[&x].to_vec::<f64>(), [2.0, 4.0, 6.0]);
/// ```
#[derive(Clone)]
#[must_use = "operations return a new tensor and leave their operands as they are"]
pub struct Tensor {
    data: Buffer,
    shape: Shape,
    node: Option<NodeRef>,
}

/// # Making tensors
impl Tensor {
    /// A tensor of the given elements in row-major order.
    ///
    /// # Panics
    /// If the number of elements is not the product of the dimensions.
    #[track_caller]
    pub fn new<T: Scalar>(data: &[T], shape: impl Into<Shape>) -> Tensor {
        let shape = shape.into();
        assert!(
            data.len() == shape.numel(),
            "Tensor::new: {} elements given for shape {shape}, which has {}",
            data.len(),
            shape.numel()
        );
        Tensor::from_buffer(Buffer::copy_of(data), shape)
    }

    /// A tensor whose elements `write` sets, in row-major order. They hold stale values before, so `write` must set all
    /// of them.
    #[inline]
    #[track_caller]
    pub fn build<T: Scalar>(shape: Shape, write: impl FnOnce(&mut [T])) -> Tensor {
        Tensor::from_buffer(Buffer::build_of(&shape, write), shape)
    }

    /// As [`Tensor::build`], in whole blocks, for elementwise loops.
    #[inline]
    #[track_caller]
    pub(crate) fn build_blocks<T: Scalar>(shape: Shape, write: impl FnOnce(&mut [[T; BLOCK]])) -> Tensor {
        Tensor::from_buffer(Buffer::build_blocks(&shape, write), shape)
    }

    pub(crate) fn from_buffer(data: Buffer, shape: Shape) -> Tensor {
        debug_assert_eq!(data.len(), shape.numel());
        Tensor { data, shape, node: None }
    }
}

/// # Looking at tensors
impl Tensor {
    /// The dimensions.
    #[inline]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.shape.rank()
    }

    /// The number of elements.
    pub fn numel(&self) -> usize {
        self.data.len()
    }

    /// The element type.
    #[inline]
    pub fn dtype(&self) -> DType {
        self.data.dtype()
    }

    /// The elements in row-major order.
    ///
    /// # Panics
    /// If T is not the tensor's dtype.
    #[track_caller]
    pub fn data<T: Scalar>(&self) -> &[T] {
        assert!(self.dtype() == T::DTYPE, "data: the tensor is {}, not {}", self.dtype(), T::DTYPE);
        self.data.as_slice()
    }

    /// A copy of the elements in row-major order, converted to T.
    #[doc(alias = "tolist")]
    pub fn to_vec<T: Scalar>(&self) -> Vec<T> {
        dispatch!(self.dtype(), S => {
            let data: &[S] = self.data.as_slice();
            data.iter().map(|&v| T::from_f64(kernels::Element::to_f64(v))).collect()
        })
    }

    /// The value of a tensor with one element.
    ///
    /// # Panics
    /// If there is not exactly one element.
    #[track_caller]
    pub fn item(&self) -> f64 {
        assert!(self.numel() == 1, "item: shape {} has {} elements, one is needed", self.shape, self.numel());
        self.get(0)
    }

    /// The element at an index, one number per axis.
    ///
    /// # Panics
    /// If the index is outside the shape.
    #[track_caller]
    pub fn at(&self, index: &[usize]) -> f64 {
        let inside = index.len() == self.rank() && index.iter().zip(self.shape.iter()).all(|(i, d)| i < d);
        assert!(inside, "at: index {index:?} is outside shape {}", self.shape);
        self.get(index.iter().zip(self.shape.strides()).map(|(i, s)| i * s).sum())
    }

    /// The element at a row-major position.
    pub(crate) fn get(&self, i: usize) -> f64 {
        dispatch!(self.dtype(), T => kernels::Element::to_f64(self.data.as_slice::<T>()[i]))
    }

    /// Whether no element is NaN or infinite.
    pub fn is_finite(&self) -> bool {
        dispatch!(self.dtype(), T => kernels::reduce::all_finite(self.data.as_slice::<T>()))
    }

    pub(crate) fn buffer(&self) -> &Buffer {
        &self.data
    }

    /// The elements, for kernels: the caller has dispatched on the dtype.
    #[inline]
    pub(crate) fn slice<T: Scalar>(&self) -> &[T] {
        self.data.as_slice()
    }

    /// As [`Tensor::slice`], in whole blocks, for elementwise loops.
    #[inline]
    pub(crate) fn blocks<T: Scalar>(&self) -> &[[T; BLOCK]] {
        self.data.blocks()
    }
}

/// # Graph
impl Tensor {
    /// This tensor as a leaf of the graph: operations on it are recorded, and gradients flow to it.
    ///
    /// The result shares its elements with `self` but is another leaf: gradients are taken with respect to the result.
    /// No gradient flows from it to what `self` was computed from, as after [`Tensor::detach`].
    #[track_caller]
    pub fn requires_grad(&self) -> Tensor {
        node::leaf(self)
    }

    /// The same elements as a constant: no gradient flows through it.
    #[track_caller]
    pub fn detach(&self) -> Tensor {
        if self.is_tracked() { node::cut(self, "detach") } else { self.clone() }
    }

    /// Whether gradients flow through this tensor.
    #[inline]
    pub fn is_tracked(&self) -> bool {
        self.node.as_ref().is_some_and(|n| n.is_tracked())
    }

    /// Whether this tensor is a leaf made by [`Tensor::requires_grad`].
    pub fn is_leaf(&self) -> bool {
        self.node.as_ref().is_some_and(|n| n.role == node::Role::Leaf)
    }

    /// Changes the elements: in place if they are not shared, in a copy otherwise. A leaf remains the same leaf.
    ///
    /// A live graph that saved the old elements still has them: the change does not affect it.
    ///
    /// # Panics
    /// If the tensor is the result of a recorded operation (its value would no longer be that operation's), or
    /// if T is not its dtype.
    #[track_caller]
    pub fn update<T: Scalar>(&mut self, write: impl FnOnce(&mut [T])) {
        assert!(
            !self.is_tracked() || self.is_leaf(),
            "update: this tensor of shape {} is the result of a recorded operation; detach it first",
            self.shape
        );
        assert!(self.dtype() == T::DTYPE, "update: the tensor is {}, not {}", self.dtype(), T::DTYPE);
        write(self.data.make_mut());
    }

    /// Replaces the elements by those of `source`, which is shared, not copied. A leaf remains the same leaf.
    ///
    /// # Panics
    /// If shape or dtype differ, or the tensor is the result of a recorded operation.
    #[track_caller]
    pub fn assign(&mut self, source: &Tensor) {
        assert!(
            self.shape == source.shape && self.dtype() == source.dtype(),
            "assign: {} {} cannot take the elements of {} {}",
            self.dtype(),
            self.shape,
            source.dtype(),
            source.shape
        );
        assert!(
            !self.is_tracked() || self.is_leaf(),
            "assign: the target is the result of a recorded operation"
        );
        self.data = source.data.clone();
    }

    /// Whether `self` and `other` share their elements in memory.
    pub fn shares_data(&self, other: &Tensor) -> bool {
        self.data.shares(&other.data)
    }

    pub(crate) fn node(&self) -> Option<&NodeRef> {
        self.node.as_ref()
    }

    /// The elements alone, without a graph.
    #[inline]
    pub(crate) fn value(&self) -> Tensor {
        Tensor { data: self.data.clone(), shape: self.shape, node: None }
    }

    #[inline]
    pub(crate) fn with_node(self, node: Option<NodeRef>) -> Tensor {
        Tensor { node, ..self }
    }

    /// The elements for writing, if this tensor is outside every graph and they are not shared.
    #[inline]
    pub(crate) fn unique_mut<T: Scalar>(&mut self) -> Option<&mut [T]> {
        if self.node.is_some() { None } else { self.data.unique_mut() }
    }

    /// The memory in whole blocks for writing, if this tensor is outside every graph and it is not shared.
    #[inline]
    pub(crate) fn unique_blocks_mut<T: Scalar>(&mut self) -> Option<&mut [[T; BLOCK]]> {
        if self.node.is_some() { None } else { self.data.unique_blocks_mut() }
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({} {}", self.dtype(), self.shape)?;
        if let Some(node) = &self.node {
            write!(f, ", {}", node.rule.name())?;
        }
        const SHOWN: usize = 8;
        let n = self.numel().min(SHOWN);
        let shown: Vec<f64> = (0..n).map(|i| self.get(i)).collect();
        write!(f, ", {shown:?}{})", if self.numel() > SHOWN { " …" } else { "" })
    }
}
