//! Maximum and minimum over axes: linear in the input for fixed positions of the extrema.

use crate::axis::{Axes, Axis};
use crate::buffer::Buffer;
use crate::dtype::dispatch;
use crate::kinds::linear::{Linear, linear_known};
use crate::ops::index::Index;
use crate::ops::reduce::reduction;
use crate::reduction::Reduction;
use crate::sample::{Input, Sample};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Reads the extrema, given by their row-major positions.
#[derive(Clone, Debug)]
struct Extremum<const MAX: bool> {
    input: Shape,
    winners: Index,
}
/// Adds to the extrema. Each element is the extremum of one line only, but the adjoint of reading is in general adding.
#[derive(Clone, Debug)]
struct ToWinners<const MAX: bool>(Extremum<MAX>);

impl<const MAX: bool> Linear for Extremum<MAX> {
    type Adjoint = ToWinners<MAX>;
    const NAME: &'static str = if MAX { "max" } else { "min" };
    fn apply(&self, x: &Tensor) -> Tensor {
        dispatch!(x.dtype(), T => Tensor::build::<T>(*self.winners.shape(), |out| {
            kernels::layout::take(x.slice::<T>(), self.winners.data(), out);
        }))
    }
    fn adjoint(&self) -> ToWinners<MAX> {
        ToWinners(self.clone())
    }
    fn kept_bytes(&self) -> usize {
        self.winners.bytes()
    }
}

impl<const MAX: bool> Linear for ToWinners<MAX> {
    type Adjoint = Extremum<MAX>;
    const NAME: &'static str = if MAX { "max_adjoint" } else { "min_adjoint" };
    fn apply(&self, g: &Tensor) -> Tensor {
        dispatch!(g.dtype(), T => Tensor::build::<T>(self.0.input, |out| {
            kernels::layout::put_add(g.slice::<T>(), self.0.winners.data(), out);
        }))
    }
    fn adjoint(&self) -> Extremum<MAX> {
        self.0.clone()
    }
    fn kept_bytes(&self) -> usize {
        self.0.winners.bytes()
    }
}

/// The values, and the row-major positions of the extrema.
#[track_caller]
fn search(largest: bool, name: &str, x: &Tensor, r: &Reduction) -> (Tensor, Index) {
    assert!(
        r.count() > 0 || r.output.numel() == 0,
        "{name}: shape {} has no elements along the given axes to choose from",
        x.shape()
    );
    assert!(x.numel() as u64 <= 1 << 32, "{name}: shape {} has more than 2^32 elements", x.shape());
    let mut winners = Buffer::uninit::<u32>(r.output.numel());
    let places = winners.unique_mut::<u32>().expect("new buffers have one owner");
    let reduced = &r.reduced[..r.input.rank()];
    let value = dispatch!(x.dtype(), T => Tensor::build::<T>(r.output, |out| match largest {
        true => kernels::reduce::max(x.slice::<T>(), &r.input, reduced, out, places),
        false => kernels::reduce::min(x.slice::<T>(), &r.input, reduced, out, places),
    }));
    (value, Index::from_buffer(winners, r.output))
}

#[track_caller]
fn extremum<const MAX: bool>(x: &Tensor, r: &Reduction) -> (Tensor, Index) {
    let (value, winners) = search(MAX, Extremum::<MAX>::NAME, x, r);
    let map = Extremum::<MAX> { input: r.input, winners: winners.clone() };
    (linear_known(map, x, value), winners)
}

/// The coordinate along `axis` of row-major positions in `shape`.
fn coordinate(positions: &Index, shape: &Shape, axis: usize) -> Index {
    let (stride, n, data) = (shape.strides()[axis], shape[axis], positions.data());
    let write = |out: &mut [u32]| out.iter_mut().zip(data).for_each(|(out, &p)| *out = along(p, stride, n));
    Index::from_buffer(Buffer::build(data.len(), write), *positions.shape())
}

/// The coordinate of a position along an axis of `n` elements, `stride` apart: of which either may be 2^32, beyond u32.
fn along(position: u32, stride: usize, n: usize) -> u32 {
    (u64::from(position) / stride as u64 % n as u64) as u32
}

/// # Extrema
///
/// Of equal elements the first in row-major order is selected and receives the whole gradient. If there is a NaN, the
/// first NaN is selected.
impl Tensor {
    /// The largest element over `axes`.
    ///
    /// # Panics
    /// If an axis is outside the shape or named twice, or a result is the extremum of no elements.
    #[track_caller]
    #[doc(alias = "amax")]
    pub fn max(&self, axes: impl Into<Axes>) -> Tensor {
        extremum::<true>(self, &reduction("max", self, axes)).0
    }

    /// The smallest element over `axes`.
    ///
    /// # Panics
    /// As [`Tensor::max`].
    #[track_caller]
    #[doc(alias = "amin")]
    pub fn min(&self, axes: impl Into<Axes>) -> Tensor {
        extremum::<false>(self, &reduction("min", self, axes)).0
    }

    /// The largest element along `axis`, and its index.
    ///
    /// ```
    /// use autograd::Tensor;
    /// let (most, place) = Tensor::from([[1.0, 5.0, 5.0], [4.0, 3.0, 2.0]]).max_with_index(1);
    /// assert_eq!(most.to_vec::<f64>(), [5.0, 4.0]);
    /// assert_eq!(place.to_vec(), [1, 0]);
    /// ```
    ///
    /// # Panics
    /// As [`Tensor::max`].
    #[track_caller]
    pub fn max_with_index(&self, axis: impl Into<Axis>) -> (Tensor, Index) {
        let axis = self.axis("max", axis);
        let (value, winners) = extremum::<true>(self, &reduction("max", self, axis));
        (value, coordinate(&winners, self.shape(), axis))
    }

    /// The smallest element along `axis`, and its index.
    ///
    /// # Panics
    /// As [`Tensor::max`].
    #[track_caller]
    pub fn min_with_index(&self, axis: impl Into<Axis>) -> (Tensor, Index) {
        let axis = self.axis("min", axis);
        let (value, winners) = extremum::<false>(self, &reduction("min", self, axis));
        (value, coordinate(&winners, self.shape(), axis))
    }

    /// The index of the largest element along `axis` (argmax).
    ///
    /// # Panics
    /// As [`Tensor::max`].
    #[track_caller]
    pub fn argmax(&self, axis: impl Into<Axis>) -> Index {
        let axis = self.axis("argmax", axis);
        let (_, winners) = search(true, "argmax", self, &reduction("argmax", self, axis));
        coordinate(&winners, self.shape(), axis)
    }

    /// The index of the smallest element along `axis` (argmin).
    ///
    /// # Panics
    /// As [`Tensor::max`].
    #[track_caller]
    pub fn argmin(&self, axis: impl Into<Axis>) -> Index {
        let axis = self.axis("argmin", axis);
        let (_, winners) = search(false, "argmin", self, &reduction("argmin", self, axis));
        coordinate(&winners, self.shape(), axis)
    }
}

pub(crate) fn samples() -> Vec<Sample> {
    let x = || Input::apart([2, 3, 4], 0);
    vec![
        Sample::new("max", "all", [x()], |x| x[0].max(..)),
        Sample::new("max", "last", [x()], |x| x[0].max(-1)),
        Sample::new("max", "outer two, kept", [x()], |x| x[0].max(crate::keep([0, 2]))),
        Sample::new("max", "no axes", [x()], |x| x[0].max(())),
        Sample::new("max", "nothing of nothing", [Input::normal([0, 3])], |x| x[0].max(1)),
        Sample::new("max", "times x", [x()], |x| x[0].max(crate::keep(1)) * &x[0]),
        Sample::new("min", "all", [x()], |x| x[0].min(..)),
        Sample::new("min", "first", [x()], |x| x[0].min(0)),
        Sample::new("min", "one element", [Input::normal([1])], |x| x[0].min(0)),
        Sample::new("max_with_index", "", [x()], |x| x[0].max_with_index(1).0),
        Sample::new("min_with_index", "read again", [x()], |x| {
            let (value, place) = x[0].min_with_index(2);
            value * x[0].gather(2, &place.reshape([2, 3, 1])).reshape([2, 3])
        }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, keep};

    #[test]
    fn the_first_of_equals_takes_the_gradient() {
        let x = Tensor::from([[1.0f32, 7.0, 7.0], [7.0, 0.0, 0.0]]).requires_grad();
        let gradient = |y: Tensor| y.sum(..).grad(&[&x]).remove(0).to_vec::<f32>();
        assert_eq!(gradient(x.max(..)), [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(gradient(x.max(1)), [0.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
        assert_eq!(gradient(x.min(..)), [0.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
        assert_eq!(gradient(x.max(keep(0))), [0.0, 1.0, 1.0, 1.0, 0.0, 0.0]);
        assert_eq!(x.argmax(1).to_vec(), [1, 0]);
        assert_eq!(x.argmin(0).to_vec(), [0, 1, 1]);
    }

    #[test]
    fn nan_wins() {
        let x =
            Tensor::from([[1.0, f64::NAN, f64::INFINITY], [0.0, -1.0, f64::NEG_INFINITY]]).requires_grad();
        let (most, place) = x.max_with_index(1);
        assert!(most.at(&[0]).is_nan() && most.at(&[1]) == 0.0);
        assert_eq!(place.to_vec(), [1, 0]);
        let (least, place) = x.min_with_index(1);
        assert!(least.at(&[0]).is_nan() && least.at(&[1]) == f64::NEG_INFINITY);
        assert_eq!(place.to_vec(), [1, 2]);
        assert_eq!(most.sum(..).backward()[&x].to_vec::<f64>(), [0.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn axes_of_4_billion_elements_have_coordinates() {
        let all = 1 << 32;
        assert_eq!(along(u32::MAX, 1, all), u32::MAX);
        assert_eq!(along(u32::MAX, all, 1), 0);
        assert_eq!(along(7, 2, all / 2), 3);
    }

    #[test]
    fn index_arrays_have_the_shape_of_the_values() {
        let x = Tensor::arange(24, DType::F32).reshape([2, 3, 4]);
        for axis in 0..3 {
            let (value, place) = x.max_with_index(axis);
            assert_eq!(value.shape(), place.shape());
            assert!(place.data().iter().all(|&i| i as usize == x.shape()[axis as usize] - 1));
            assert!(x.argmin(axis).data().iter().all(|&i| i == 0));
        }
    }

    #[test]
    #[should_panic(expected = "max: shape [2, 0] has no elements along the given axes to choose from")]
    fn nothing_has_no_maximum() {
        let _ = Tensor::zeros([2, 0], DType::F32).max(1);
    }

    #[test]
    #[should_panic(expected = "argmax: axis 2 is outside shape [2, 0], which has 2 axes")]
    fn the_axis_exists() {
        let _ = Tensor::zeros([2, 0], DType::F32).argmax(2);
    }
}
