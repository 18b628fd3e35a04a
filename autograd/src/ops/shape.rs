//! The same elements under another shape, or in another order.

use crate::axis::{Axes, Axis};
use crate::dims::Dims;
use crate::dtype::{DType, dispatch};
use crate::kinds::linear::{Linear, linear};
use crate::sample::{Input, Sample};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// The same elements in the same order under another shape, without a copy.
#[derive(Clone, Copy, Debug)]
struct Reshape {
    from: Shape,
    to: Shape,
}

impl Linear for Reshape {
    type Adjoint = Reshape;
    const NAME: &'static str = "reshape";
    fn apply(&self, x: &Tensor) -> Tensor {
        Tensor::from_buffer(x.buffer().clone(), self.to)
    }
    fn adjoint(&self) -> Reshape {
        Reshape { from: self.to, to: self.from }
    }
}

/// Axis a of the result is axis `axes[a]` of the input.
#[derive(Clone, Debug)]
struct Permute(Vec<usize>);

impl Linear for Permute {
    type Adjoint = Permute;
    const NAME: &'static str = "permute";
    fn apply(&self, x: &Tensor) -> Tensor {
        let dims: Vec<usize> = self.0.iter().map(|&a| x.shape()[a]).collect();
        dispatch!(x.dtype(), T => Tensor::build::<T>(Shape::new(&dims), |out| {
            kernels::layout::permute(x.slice::<T>(), x.shape(), &self.0, out);
        }))
    }
    fn adjoint(&self) -> Permute {
        let mut inverse = vec![0; self.0.len()];
        self.0.iter().enumerate().for_each(|(to, &from)| inverse[from] = to);
        Permute(inverse)
    }
}

/// The elements rounded to another dtype; linear up to that rounding.
#[derive(Clone, Copy, Debug)]
struct Cast {
    from: DType,
    to: DType,
}

impl Linear for Cast {
    type Adjoint = Cast;
    const NAME: &'static str = "to_dtype";
    fn apply(&self, x: &Tensor) -> Tensor {
        dispatch!(self.to, T => Tensor::new(&x.to_vec::<T>(), x.shape()))
    }
    fn adjoint(&self) -> Cast {
        Cast { from: self.to, to: self.from }
    }
}

/// # Shapes
impl Tensor {
    /// The same elements in the same order under another shape. A size of -1, or [`INFER`](crate::INFER) in a list of
    /// `usize`, is inferred from the number of elements. Copies nothing.
    ///
    /// ```
    /// use autograd::{DType, Tensor};
    /// let x = Tensor::arange(6, DType::F32);
    /// assert_eq!(*x.reshape([2, 3]).shape(), [2, 3]);
    /// assert_eq!(*x.reshape([-1, 2]).shape(), [3, 2]);
    /// ```
    ///
    /// # Panics
    /// If the number of elements differs, more than one size is -1, or none fits.
    #[track_caller]
    #[doc(alias("view", "into_shape"))]
    pub fn reshape(&self, shape: impl Into<Dims>) -> Tensor {
        let from = *self.shape();
        let to = match shape.into().resolve(from.numel()) {
            Ok(to) => to,
            Err(e) => panic!("reshape: {e}"),
        };
        assert!(
            from.numel() == to.numel(),
            "reshape: shape {from} has {} elements, {to} has {}",
            from.numel(),
            to.numel()
        );
        linear(Reshape { from, to }, self)
    }

    /// All axes from `axis` on joined into one: `flatten(1)` turns [N, C, H, W] into [N, C H W].
    ///
    /// # Panics
    /// If `axis` is not an axis.
    #[track_caller]
    pub fn flatten(&self, axis: impl Into<Axis>) -> Tensor {
        let axis = self.axis("flatten", axis);
        let mut dims = self.shape()[..axis].to_vec();
        dims.push(self.shape()[axis..].iter().product());
        self.reshape(dims.as_slice())
    }

    /// A new axis of size 1, which becomes axis `axis` of the result: -1 is the new last axis.
    ///
    /// # Panics
    /// If the result has no such axis, or would have more than six.
    #[track_caller]
    #[doc(alias("insert_axis", "expand_dims"))]
    pub fn unsqueeze(&self, axis: impl Into<Axis>) -> Tensor {
        match self.shape().new_axis(axis) {
            Ok(axis) => self.reshape(self.shape().insert(axis, 1)),
            Err(e) => panic!("unsqueeze: {e}"),
        }
    }

    /// Without the given axes, which must be of size 1: `x.squeeze(-1)`, `x.squeeze([0, 2])`. `x.squeeze(..)` removes
    /// all axes of size 1.
    ///
    /// PyTorch leaves an axis of another size as it is; here, as in NumPy and JAX, that is an error.
    ///
    /// ```
    /// use autograd::{DType, Tensor};
    /// let x = Tensor::zeros([1, 3, 1], DType::F32);
    /// assert_eq!(*x.squeeze(0).shape(), [3, 1]);
    /// assert_eq!(*x.squeeze(..).shape(), [3]);
    /// ```
    ///
    /// # Panics
    /// If an axis is outside the shape, named twice, or not of size 1.
    #[track_caller]
    #[doc(alias = "remove_axis")]
    pub fn squeeze(&self, axes: impl Into<Axes>) -> Tensor {
        let (axes, shape) = (axes.into(), self.shape());
        let mut removed = match axes.resolve(shape) {
            Ok(removed) => removed,
            Err(e) => panic!("squeeze: {e}"),
        };
        if axes.which.is_none() {
            removed.retain(|&axis| shape[axis] == 1);
        }
        for &axis in &removed {
            assert!(
                shape[axis] == 1,
                "squeeze: axis {axis} of shape {shape} has size {}, not 1",
                shape[axis]
            );
        }
        let rest = (0..shape.rank()).filter(|axis| !removed.contains(axis)).map(|axis| shape[axis]);
        self.reshape(rest.collect::<Vec<usize>>())
    }

    /// The axes in another order: axis a of the result is axis `axes[a]` of this tensor.
    ///
    /// # Panics
    /// If `axes` does not name each axis once.
    #[track_caller]
    #[doc(alias("permuted_axes", "permute_dims"))]
    pub fn permute(&self, axes: impl Into<Axes>) -> Tensor {
        let axes = match axes.into().resolve(self.shape()) {
            Ok(axes) => axes,
            Err(e) => panic!("permute: {e}"),
        };
        assert!(
            axes.len() == self.rank(),
            "permute: {axes:?} does not name each axis of shape {} once",
            self.shape()
        );
        linear(Permute(axes), self)
    }

    /// Two axes exchanged.
    ///
    /// # Panics
    /// If one is not an axis.
    #[track_caller]
    #[doc(alias("swap_axes", "swapaxes", "t"))]
    pub fn transpose(&self, a: impl Into<Axis>, b: impl Into<Axis>) -> Tensor {
        let (a, b) = (self.axis("transpose", a), self.axis("transpose", b));
        let mut axes: Vec<usize> = (0..self.rank()).collect();
        axes.swap(a, b);
        linear(Permute(axes), self)
    }

    /// The elements as another dtype.
    #[track_caller]
    #[doc(alias("cast", "astype", "to"))]
    pub fn to_dtype(&self, dtype: DType) -> Tensor {
        if dtype == self.dtype() {
            self.clone()
        } else {
            linear(Cast { from: self.dtype(), to: dtype }, self)
        }
    }

    /// Resolves a possibly negative axis.
    #[track_caller]
    pub(crate) fn axis(&self, op: &str, axis: impl Into<Axis>) -> usize {
        match self.shape().axis(axis) {
            Ok(axis) => axis,
            Err(e) => panic!("{op}: {e}"),
        }
    }
}

pub(crate) fn samples() -> Vec<Sample> {
    let x = || Input::normal([2, 3, 4]);
    vec![
        Sample::new("reshape", "", [x()], |x| x[0].reshape([4, 6])),
        Sample::new("reshape", "to a scalar", [Input::normal([1, 1])], |x| x[0].reshape(())),
        Sample::new("reshape", "no elements", [Input::normal([0, 2])], |x| x[0].reshape([3, 0])),
        Sample::new("flatten", "", [x()], |x| x[0].flatten(1)),
        Sample::new("unsqueeze", "", [x()], |x| x[0].unsqueeze(1) * x[0].unsqueeze(0)),
        Sample::new("unsqueeze", "last", [x()], |x| x[0].unsqueeze(-1) * x[0].unsqueeze(-1)),
        Sample::new("squeeze", "one", [Input::normal([2, 1, 3])], |x| x[0].squeeze(1)),
        Sample::new("squeeze", "all", [Input::normal([1, 3, 1])], |x| x[0].squeeze(..) * x[0].select(0, 0)),
        Sample::new("squeeze", "no elements", [Input::normal([0, 1])], |x| x[0].squeeze(-1)),
        Sample::new("permute", "", [x()], |x| x[0].permute([2, 0, 1])),
        Sample::new("transpose", "", [x()], |x| x[0].transpose(0, -1)),
        Sample::new("transpose", "times itself", [Input::normal([3, 3])], |x| &x[0] * x[0].transpose(0, 1)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cast_gradient_comes_back_in_the_input_s_dtype() {
        let x = Tensor::from([1.0f32, 2.0]).requires_grad();
        let y = (x.to_dtype(DType::F64) * Tensor::from([3.0f64, 4.0])).sum(..);
        assert_eq!(y.backward()[&x].data::<f32>(), [3.0, 4.0]);
    }

    #[test]
    #[should_panic(expected = "reshape: shape [2, 3] has 6 elements, [4] has 4")]
    fn reshape_keeps_the_number_of_elements() {
        let _ = Tensor::zeros([2, 3], DType::F32).reshape([4]);
    }

    #[test]
    fn axes_of_size_1_come_and_go_at_either_end() {
        let x = Tensor::zeros([2, 3], DType::F32);
        assert_eq!(*x.unsqueeze(-1).shape(), [2, 3, 1]);
        assert_eq!(*x.unsqueeze(-3).shape(), [1, 2, 3]);
        assert_eq!(*x.unsqueeze(2usize).squeeze(2usize).shape(), [2, 3]);
        assert_eq!(*x.squeeze(..).shape(), [2, 3]);
        assert_eq!(*x.squeeze(()).shape(), [2, 3]);
        assert_eq!(*Tensor::zeros([1, 1], DType::F32).squeeze([0, -1]).shape(), []);
        assert_eq!(*x.permute([-1, 0]).shape(), [3, 2]);
    }

    #[test]
    #[should_panic(expected = "unsqueeze: a new axis of shape [2, 3] can be -3 to 2, not 3")]
    fn a_new_axis_is_one_of_the_result() {
        let _ = Tensor::zeros([2, 3], DType::F32).unsqueeze(3);
    }

    #[test]
    #[should_panic(expected = "squeeze: axis 1 of shape [1, 3] has size 3, not 1")]
    fn only_axes_of_size_1_are_squeezed() {
        let _ = Tensor::zeros([1, 3], DType::F32).squeeze(1);
    }

    #[test]
    #[should_panic(expected = "transpose: axis 2 is outside shape [2, 3], which has 2 axes")]
    fn axes_must_exist() {
        let _ = Tensor::zeros([2, 3], DType::F32).transpose(0, 2);
    }
}
