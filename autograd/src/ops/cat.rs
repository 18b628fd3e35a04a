//! Joining tensors: concat along an axis, stack along a new one.

use crate::axis::Axis;
use crate::dtype::dispatch;
use crate::kinds::elementwise::same_dtype;
use crate::kinds::linear::{Joint, joint};
use crate::sample::{Input, Sample};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Blocks one after the other along `axis`.
#[derive(Clone, Debug)]
struct Concat {
    axis: usize,
    shape: Shape,
    /// Where each block starts, and where the last one ends.
    starts: Vec<usize>,
}

impl Joint for Concat {
    const NAME: &'static str = "concat";
    fn apply(&self, x: &[&Tensor]) -> Tensor {
        dispatch!(x[0].dtype(), T => Tensor::build::<T>(self.shape, |out| {
            for (x, &start) in x.iter().zip(&self.starts) {
                kernels::layout::copy_into(out, &self.shape, self.axis, start, x.slice::<T>(), x.shape());
            }
        }))
    }
    fn adjoint(&self, i: usize, g: &Tensor) -> Tensor {
        g.slice_axis(self.axis, self.starts[i]..self.starts[i + 1])
    }
}

/// # Joining
impl Tensor {
    /// Tensors one after the other along `axis`; they agree in all other axes.
    ///
    /// ```
    /// use autograd::Tensor;
    /// let (a, b) = (Tensor::from([[1.0], [2.0]]), Tensor::from([[3.0, 4.0], [5.0, 6.0]]));
    /// assert_eq!(Tensor::concat(&[&a, &b], 1).to_vec::<f64>(), [1.0, 3.0, 4.0, 2.0, 5.0, 6.0]);
    /// ```
    ///
    /// # Panics
    /// If there are no tensors, the dtypes differ, `axis` is not an axis, or the shapes differ elsewhere.
    #[track_caller]
    #[doc(alias("cat", "concatenate"))]
    pub fn concat(tensors: &[&Tensor], axis: impl Into<Axis>) -> Tensor {
        assert!(!tensors.is_empty(), "concat: at least one tensor is needed");
        let axis = tensors[0].axis("concat", axis);
        let first = tensors[0].shape();
        let mut starts = vec![0];
        for x in tensors {
            same_dtype("concat", tensors[0], x);
            let fits = x.rank() == first.rank() && x.shape().with(axis, first[axis]) == *first;
            assert!(
                fits,
                "concat: shapes {first} and {} may differ in axis {axis} only, the one they are joined along",
                x.shape()
            );
            starts.push(starts[starts.len() - 1] + x.shape()[axis]);
        }
        let shape = first.with(axis, starts[tensors.len()]);
        joint(Concat { axis, shape, starts }, tensors)
    }

    /// Tensors of one shape along a new axis, which becomes axis `axis` of the result (negative: from its end).
    ///
    /// # Panics
    /// If there are no tensors, dtypes or shapes differ, or the result has no such axis.
    #[track_caller]
    pub fn stack(tensors: &[&Tensor], axis: impl Into<Axis>) -> Tensor {
        assert!(!tensors.is_empty(), "stack: at least one tensor is needed");
        let shape = tensors[0].shape();
        for x in tensors {
            assert!(x.shape() == shape, "stack: shapes {shape} and {} must be equal", x.shape());
        }
        let axis = match shape.new_axis(axis) {
            Ok(axis) => axis,
            Err(e) => panic!("stack: {e}"),
        };
        let slices: Vec<Tensor> = tensors.iter().map(|x| x.unsqueeze(axis)).collect();
        Tensor::concat(&slices.iter().collect::<Vec<_>>(), axis)
    }
}

pub(crate) fn samples() -> Vec<Sample> {
    let x = |columns| Input::normal([2, columns, 3]);
    vec![
        Sample::new("concat", "middle axis", [x(1), x(4), x(2)], |x| {
            Tensor::concat(&[&x[0], &x[1], &x[2]], 1)
        }),
        Sample::new("concat", "one", [x(2)], |x| Tensor::concat(&[&x[0]], 0)),
        Sample::new("concat", "one is empty", [x(0), x(2)], |x| Tensor::concat(&[&x[0], &x[1]], 1)),
        Sample::new("concat", "the same twice", [x(2)], |x| Tensor::concat(&[&x[0], &x[0]], -1)),
        Sample::new("concat", "one a function of the other", [x(2)], |x| {
            Tensor::concat(&[&x[0], &(&x[0] * &x[0])], 0)
        }),
        Sample::new("stack", "first", [x(2), x(2)], |x| Tensor::stack(&[&x[0], &x[1]], 0)),
        Sample::new("stack", "last", [x(2), x(2)], |x| Tensor::stack(&[&x[0], &x[1]], -1)),
        Sample::new("stack", "scalars", [Input::normal([]), Input::normal([])], |x| {
            Tensor::stack(&[&x[0], &x[1], &x[0]], 0)
        }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;

    #[test]
    fn stacking_makes_an_axis_and_splitting_undoes_concat() {
        let (a, b) = (Tensor::from([1.0, 2.0]), Tensor::from([3.0, 4.0]));
        assert_eq!(Tensor::stack(&[&a, &b], 0).to_vec::<f64>(), [1.0, 2.0, 3.0, 4.0]);
        let columns = Tensor::stack(&[&a, &b], -1);
        assert_eq!(columns.to_vec::<f64>(), [1.0, 3.0, 2.0, 4.0]);
        let parts = Tensor::concat(&[&columns, &columns.slice_axis(1, ..1)], 1).split(1, &[2, 1]);
        assert_eq!(parts[0].to_vec::<f64>(), columns.to_vec::<f64>());
        assert_eq!(parts[1].to_vec::<f64>(), [1.0, 2.0]);
    }

    #[test]
    #[should_panic(expected = "concat: shapes [2, 3] and [3, 3] may differ in axis 1 only")]
    fn joined_shapes_agree() {
        let (a, b) = (Tensor::zeros([2, 3], DType::F32), Tensor::zeros([3, 3], DType::F32));
        let _ = Tensor::concat(&[&a, &b], 1);
    }

    #[test]
    #[should_panic(expected = "concat: the operands are f32 [2] and f64 [2]; convert one with to_dtype")]
    fn joined_dtypes_agree() {
        let _ = Tensor::concat(&[&Tensor::zeros([2], DType::F32), &Tensor::zeros([2], DType::F64)], 0);
    }

    #[test]
    #[should_panic(expected = "stack: shapes [2] and [3] must be equal")]
    fn stacked_shapes_are_equal() {
        let _ = Tensor::stack(&[&Tensor::zeros([2], DType::F32), &Tensor::zeros([3], DType::F32)], 0);
    }
}
