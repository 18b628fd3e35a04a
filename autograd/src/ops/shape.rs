//! The same elements under another shape, or in another order.

use crate::check::{Input, Sample};
use crate::dtype::{DType, dispatch};
use crate::kinds::linear::{Linear, linear};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// The same elements in the same order under another shape: free.
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
    /// The same elements in the same order under another shape. Costs nothing.
    ///
    /// # Panics
    /// If the number of elements differs.
    #[track_caller]
    pub fn reshape(&self, shape: impl Into<Shape>) -> Tensor {
        let to = shape.into();
        let from = *self.shape();
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
    pub fn flatten(&self, axis: isize) -> Tensor {
        let axis = self.axis("flatten", axis);
        let mut dims = self.shape()[..axis].to_vec();
        dims.push(self.shape()[axis..].iter().product());
        self.reshape(dims.as_slice())
    }

    /// A new axis of size 1 before `axis`.
    ///
    /// # Panics
    /// If `axis` is above the number of axes, or the result would have more than six.
    #[track_caller]
    pub fn unsqueeze(&self, axis: usize) -> Tensor {
        assert!(axis <= self.rank(), "unsqueeze: axis {axis} is outside shape {}", self.shape());
        self.reshape(self.shape().insert(axis, 1))
    }

    /// The axes in another order: axis a of the result is axis `axes[a]` of this tensor.
    ///
    /// # Panics
    /// If `axes` does not name each axis once.
    #[track_caller]
    pub fn permute(&self, axes: &[usize]) -> Tensor {
        let mut sorted = axes.to_vec();
        sorted.sort_unstable();
        assert!(
            sorted.iter().copied().eq(0..self.rank()),
            "permute: {axes:?} does not name each axis of shape {} once",
            self.shape()
        );
        linear(Permute(axes.to_vec()), self)
    }

    /// Two axes exchanged.
    ///
    /// # Panics
    /// If one is not an axis.
    #[track_caller]
    pub fn transpose(&self, a: isize, b: isize) -> Tensor {
        let (a, b) = (self.axis("transpose", a), self.axis("transpose", b));
        let mut axes: Vec<usize> = (0..self.rank()).collect();
        axes.swap(a, b);
        linear(Permute(axes), self)
    }

    /// The elements as another dtype.
    #[track_caller]
    pub fn to_dtype(&self, dtype: DType) -> Tensor {
        if dtype == self.dtype() {
            self.clone()
        } else {
            linear(Cast { from: self.dtype(), to: dtype }, self)
        }
    }

    /// Resolves a possibly negative axis.
    #[track_caller]
    pub(crate) fn axis(&self, op: &str, axis: isize) -> usize {
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
        Sample::new("reshape", "to a scalar", [Input::normal([1, 1])], |x| x[0].reshape([])),
        Sample::new("reshape", "no elements", [Input::normal([0, 2])], |x| x[0].reshape([3, 0])),
        Sample::new("flatten", "", [x()], |x| x[0].flatten(1)),
        Sample::new("unsqueeze", "", [x()], |x| x[0].unsqueeze(1) * x[0].unsqueeze(0)),
        Sample::new("permute", "", [x()], |x| x[0].permute(&[2, 0, 1])),
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
        Tensor::zeros([2, 3], DType::F32).reshape([4]);
    }

    #[test]
    #[should_panic(expected = "transpose: axis 2 is outside shape [2, 3], which has 2 axes")]
    fn axes_must_exist() {
        Tensor::zeros([2, 3], DType::F32).transpose(0, 2);
    }
}
