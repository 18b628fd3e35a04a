//! Sorting along an axis: linear in the input for a fixed order.

use std::cmp::Ordering;

use crate::axis::Axis;
use crate::buffer::Buffer;
use crate::dtype::{Scalar, dispatch};
use crate::ops::index::Index;
use crate::sample::{Input, Sample};
use crate::tensor::Tensor;

/// NaN is larger than every number, and equal to NaN.
fn compare<T: Scalar>(a: T, b: T) -> Ordering {
    // Only NaN differs from itself.
    #[allow(clippy::eq_op)]
    a.partial_cmp(&b).unwrap_or_else(|| (a != a).cmp(&(b != b)))
}

/// The indices of the first `k` elements along `axis` in the given order; the order is stable.
#[track_caller]
fn places(op: &str, x: &Tensor, axis: usize, k: usize, descending: bool) -> Index {
    let shape = *x.shape();
    let n = shape[axis];
    assert!(n as u64 <= 1 << 32, "{op}: axis {axis} of shape {shape} has more than 2^32 elements");
    let inner: usize = shape[axis + 1..].iter().product();
    let to = shape.with(axis, k);
    let mut buffer = Buffer::uninit::<u32>(to.numel());
    let out = buffer.unique_mut::<u32>().expect("new buffers have one owner");
    dispatch!(x.dtype(), T => {
        let data = x.slice::<T>();
        let mut line: Vec<(T, u32)> = Vec::with_capacity(n);
        // An empty line or an empty result needs no work.
        for i in 0..to.numel() / k.max(1) {
            let (block, column) = (i / inner, i % inner);
            let start = block * n * inner + column;
            line.clear();
            line.extend((0..n).map(|j| (data[start + j * inner], j as u32)));
            let order = |a: &(T, u32), b: &(T, u32)| {
                let values = compare(a.0, b.0);
                let values = if descending { values.reverse() } else { values };
                values.then(a.1.cmp(&b.1))
            };
            if k < n {
                line.select_nth_unstable_by(k, order);
                line.truncate(k);
            }
            line.sort_unstable_by(order);
            let start = block * k * inner + column;
            line.iter().enumerate().for_each(|(j, &(_, place))| out[start + j * inner] = place);
        }
    });
    Index::from_buffer(buffer, to)
}

/// # Sorting
///
/// NaN counts as larger than every number: it is last in ascending order and first in descending order, as in PyTorch.
/// Sorting is stable: equal elements keep their order (0 and -0 are equal). The gradient of a sorted element goes to
/// its original place.
impl Tensor {
    /// The elements sorted along `axis`, and the index of each before sorting.
    ///
    /// ```
    /// # use autograd::Tensor;
    /// let x = Tensor::from([3.0, 1.0, 2.0]).requires_grad();
    /// let (sorted, places) = x.sort(0, false);
    /// assert_eq!(sorted.to_vec::<f64>(), [1.0, 2.0, 3.0]);
    /// assert_eq!(places.to_vec(), [1, 2, 0]);
    /// assert_eq!(sorted.select(0, 0).grad(&x).to_vec::<f64>(), [0.0, 1.0, 0.0]);
    /// ```
    ///
    /// # Panics
    /// If `axis` is not an axis, or longer than 2^32.
    #[track_caller]
    pub fn sort(&self, axis: impl Into<Axis>, descending: bool) -> (Tensor, Index) {
        let axis = self.axis("sort", axis);
        let index = places("sort", self, axis, self.shape()[axis], descending);
        (self.gather(axis, &index), index)
    }

    /// The index of each element of [`Tensor::sort`] before sorting.
    ///
    /// # Panics
    /// As [`Tensor::sort`].
    #[track_caller]
    pub fn argsort(&self, axis: impl Into<Axis>, descending: bool) -> Index {
        let axis = self.axis("argsort", axis);
        places("argsort", self, axis, self.shape()[axis], descending)
    }

    /// The `k` largest elements along `axis`, the largest first, or the `k` smallest, the smallest first; and the index
    /// of each.
    ///
    /// ```
    /// # use autograd::Tensor;
    /// let x = Tensor::from([[3.0, 1.0, 2.0], [5.0, 5.0, 6.0]]);
    /// let (most, places) = x.topk(2, -1, true);
    /// assert_eq!(most.to_vec::<f64>(), [3.0, 2.0, 6.0, 5.0]);
    /// assert_eq!(places.to_vec(), [0, 2, 2, 0]);
    /// ```
    ///
    /// # Panics
    /// If `axis` is not an axis, or has fewer than `k` elements or more than 2^32.
    #[track_caller]
    pub fn topk(&self, k: usize, axis: impl Into<Axis>, largest: bool) -> (Tensor, Index) {
        let axis = self.axis("topk", axis);
        let n = self.shape()[axis];
        assert!(k <= n, "topk: k = {k} is above {n}, the size of axis {axis} of shape {}", self.shape());
        let index = places("topk", self, axis, k, largest);
        (self.gather(axis, &index), index)
    }
}

pub(crate) fn samples() -> Vec<Sample> {
    let x = || Input::apart([2, 3, 4], 0);
    vec![
        Sample::new("sort", "last", [x()], |x| x[0].sort(-1, false).0),
        Sample::new("sort", "middle, descending", [x()], |x| x[0].sort(1, true).0),
        Sample::new("sort", "times x", [x()], |x| x[0].sort(0, false).0 * &x[0]),
        Sample::new("sort", "one element", [Input::normal([1])], |x| x[0].sort(0, false).0),
        Sample::new("sort", "no elements", [Input::normal([2, 0])], |x| x[0].sort(1, false).0),
        Sample::new("topk", "largest", [x()], |x| x[0].topk(2, 2, true).0),
        Sample::new("topk", "smallest", [x()], |x| x[0].topk(1, 1, false).0),
        Sample::new("topk", "none", [x()], |x| x[0].topk(0, 1, true).0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Key};

    #[test]
    fn equal_elements_keep_their_order_and_nan_is_largest() {
        let x = Tensor::from([2.0, f64::NAN, 0.0, f64::INFINITY, -0.0, 2.0, f64::NAN, f64::NEG_INFINITY]);
        assert_eq!(x.argsort(0, false).to_vec(), [7, 2, 4, 0, 5, 3, 1, 6]);
        assert_eq!(x.argsort(0, true).to_vec(), [1, 6, 3, 0, 5, 2, 4, 7]);
        assert_eq!(x.topk(3, 0, true).1.to_vec(), [1, 6, 3]);
        assert_eq!(x.topk(4, -1, false).1.to_vec(), [7, 2, 4, 0]);
        assert_eq!(x.topk(8, 0, false).1, x.argsort(0, false));
    }

    #[test]
    fn every_axis_is_sorted_for_itself() {
        for dtype in [DType::F32, DType::F64] {
            let x = Tensor::normal([5, 7, 3], dtype, Key::new(1));
            for axis in 0..3 {
                let (sorted, places) = x.sort(axis, false);
                let n = x.shape()[axis];
                let (low, high) = (sorted.slice_axis(axis, ..n - 1), sorted.slice_axis(axis, 1..));
                assert!(low.le(&high).all());
                assert_eq!(x.gather(axis, &places).to_vec::<f64>(), sorted.to_vec::<f64>());
                let (most, where_) = x.topk(1, axis, true);
                let (max, argmax) = x.max_with_index(axis);
                assert_eq!(most.to_vec::<f64>(), max.to_vec::<f64>());
                assert_eq!(where_.to_vec(), argmax.to_vec());
            }
        }
    }

    #[test]
    fn gradients_go_where_the_elements_came_from() {
        let x = Tensor::from([5.0f32, 5.0, 1.0]).requires_grad();
        let weights = Tensor::from([1.0f32, 10.0, 100.0]);
        let d = (x.sort(0, false).0 * weights).sum(..).grad(&x);
        assert_eq!(d.to_vec::<f32>(), [10.0, 100.0, 1.0]);
    }

    #[test]
    #[should_panic(expected = "topk: k = 4 is above 3, the size of axis 1 of shape [2, 3]")]
    fn there_are_k_elements() {
        let _ = Tensor::zeros([2, 3], DType::F32).topk(4, -1, true);
    }

    #[test]
    #[should_panic(expected = "sort: axis 0 is outside shape [], which has 0 axes")]
    fn the_axis_exists() {
        let _ = Tensor::scalar(1.0, DType::F32).sort(0, false);
    }
}
