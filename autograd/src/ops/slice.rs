//! Parts of a tensor: slices, single entries of an axis, reversed axes, splits.

use std::ops::{Bound, RangeBounds};

use kernels::MAX_RANK;

use crate::axis::{Axes, Axis};
use crate::dtype::dispatch;
use crate::kinds::linear::{Linear, linear};
use crate::ops::reduce::reduction;
use crate::sample::{Input, Sample};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Element i along axis a of the part is element `starts[a] + i * steps[a]` of the whole.
#[derive(Clone, Copy, Debug)]
struct Part {
    whole: Shape,
    part: Shape,
    starts: [usize; MAX_RANK],
    steps: [isize; MAX_RANK],
    /// The part as the user sees it: `part`, perhaps without an axis of size 1.
    output: Shape,
}

/// Reads the part.
#[derive(Clone, Copy, Debug)]
struct Slice(Part);
/// Zeros around the part.
#[derive(Clone, Copy, Debug)]
struct SliceScatter(Part);

impl Linear for Slice {
    type Adjoint = SliceScatter;
    const NAME: &'static str = "slice";
    fn apply(&self, x: &Tensor) -> Tensor {
        let p = &self.0;
        let (starts, steps) = (&p.starts[..p.whole.rank()], &p.steps[..p.whole.rank()]);
        dispatch!(x.dtype(), T => Tensor::build::<T>(p.output, |out| {
            kernels::layout::strided_slice(x.slice::<T>(), &p.whole, starts, steps, &p.part, out);
        }))
    }
    fn adjoint(&self) -> SliceScatter {
        SliceScatter(self.0)
    }
}

impl Linear for SliceScatter {
    type Adjoint = Slice;
    const NAME: &'static str = "slice_scatter";
    fn apply(&self, x: &Tensor) -> Tensor {
        let p = &self.0;
        let (starts, steps) = (&p.starts[..p.whole.rank()], &p.steps[..p.whole.rank()]);
        dispatch!(x.dtype(), T => Tensor::build::<T>(p.whole, |out| {
            kernels::layout::slice_scatter(x.slice::<T>(), &p.part, starts, steps, &p.whole, out);
        }))
    }
    fn adjoint(&self) -> Slice {
        Slice(self.0)
    }
}

impl Part {
    fn whole(shape: &Shape) -> Part {
        Part { whole: *shape, part: *shape, starts: [0; MAX_RANK], steps: [1; MAX_RANK], output: *shape }
    }

    /// `count` elements along `axis` only, from `start` on in steps of `step`.
    fn along(shape: &Shape, axis: usize, start: usize, step: usize, count: usize) -> Part {
        let mut part = Part::whole(shape);
        // A step past the end is taken at most once, from the last element, so its length has no effect.
        (part.starts[axis], part.steps[axis]) = (start, step.min(isize::MAX as usize) as isize);
        part.part = shape.with(axis, count);
        part.output = part.part;
        part
    }
}

/// # Parts
impl Tensor {
    /// The elements `range` along `axis`: `x.slice_axis(1, 2..5)`, `x.slice_axis(0, ..n)`.
    ///
    /// # Panics
    /// If `axis` is not an axis, or the range leaves it.
    #[track_caller]
    #[doc(alias = "narrow")]
    pub fn slice_axis(&self, axis: impl Into<Axis>, range: impl RangeBounds<usize>) -> Tensor {
        self.slice_step(axis, range, 1)
    }

    /// Every `step`-th of the elements `range` along `axis`, the first one included.
    ///
    /// ```
    /// use autograd::{DType, Tensor};
    /// let x = Tensor::arange(7, DType::F64);
    /// assert_eq!(x.slice_step(0, 1.., 2).to_vec::<f64>(), [1.0, 3.0, 5.0]);
    /// ```
    ///
    /// # Panics
    /// If `axis` is not an axis, the range leaves it, or `step` is 0.
    #[track_caller]
    pub fn slice_step(&self, axis: impl Into<Axis>, range: impl RangeBounds<usize>, step: usize) -> Tensor {
        let axis = self.axis("slice", axis);
        let n = self.shape()[axis];
        let start = match range.start_bound() {
            Bound::Included(&i) => i,
            Bound::Excluded(&i) => i.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&i) => i.saturating_add(1),
            Bound::Excluded(&i) => i,
            Bound::Unbounded => n,
        };
        assert!(
            start <= end && end <= n,
            "slice: {start}..{end} is not a range of axis {axis} of shape {}",
            self.shape()
        );
        assert!(step > 0, "slice: the step must be at least 1");
        linear(Slice(Part::along(self.shape(), axis, start, step, (end - start).div_ceil(step))), self)
    }

    /// Entry `index` of `axis`, which is removed; a negative index counts from the end: `x.select(0, -1)` is the last
    /// row.
    ///
    /// # Panics
    /// If `axis` is not an axis, or `index` is outside it.
    #[track_caller]
    #[doc(alias = "index_axis")]
    pub fn select(&self, axis: impl Into<Axis>, index: isize) -> Tensor {
        let axis = self.axis("select", axis);
        let n = self.shape()[axis];
        let from_start = if index < 0 { index + n as isize } else { index };
        assert!(
            (0..n as isize).contains(&from_start),
            "select: index {index} is outside axis {axis} of shape {}",
            self.shape()
        );
        let rest: Vec<usize> = (0..self.rank()).filter(|&a| a != axis).map(|a| self.shape()[a]).collect();
        let part = Part::along(self.shape(), axis, from_start as usize, 1, 1);
        linear(Slice(Part { output: Shape::new(&rest), ..part }), self)
    }

    /// The elements along `axes` in reverse order: `x.flip(-1)`, `x.flip([2, 3])`, `x.flip(..)`.
    ///
    /// # Panics
    /// If an axis is outside the shape or named twice.
    #[track_caller]
    pub fn flip(&self, axes: impl Into<Axes>) -> Tensor {
        let flipped = reduction("flip", self, axes).reduced;
        let mut part = Part::whole(self.shape());
        for axis in (0..self.rank()).filter(|&a| flipped[a]) {
            (part.starts[axis], part.steps[axis]) = (self.shape()[axis].saturating_sub(1), -1);
        }
        linear(Slice(part), self)
    }

    /// Consecutive parts of the given sizes along `axis`: undoes [`Tensor::concat`].
    ///
    /// # Panics
    /// If `axis` is not an axis, or the sizes do not add up to its size.
    #[track_caller]
    pub fn split(&self, axis: impl Into<Axis>, sizes: &[usize]) -> Vec<Tensor> {
        let axis = self.axis("split", axis);
        let total = sizes.iter().try_fold(0usize, |total, &size| total.checked_add(size));
        assert!(
            total == Some(self.shape()[axis]),
            "split: sizes {sizes:?} do not add up to axis {axis} of shape {}",
            self.shape()
        );
        let mut parts = Vec::with_capacity(sizes.len());
        let mut start = 0;
        for &size in sizes {
            parts.push(linear(Slice(Part::along(self.shape(), axis, start, 1, size)), self));
            start += size;
        }
        parts
    }

    /// `count` parts along `axis`. All have the size n / `count` rounded up, except the last, which may be smaller;
    /// there are fewer parts if these cover the axis.
    ///
    /// # Panics
    /// If `axis` is not an axis, or `count` is 0.
    #[track_caller]
    pub fn chunk(&self, axis: impl Into<Axis>, count: usize) -> Vec<Tensor> {
        let axis = self.axis("chunk", axis);
        let n = self.shape()[axis];
        assert!(count > 0, "chunk: at least one part is needed");
        let size = n.div_ceil(count).max(1);
        let mut sizes = vec![size; n / size];
        if !n.is_multiple_of(size) || n == 0 {
            sizes.push(n % size);
        }
        self.split(axis, &sizes)
    }

    /// The elements along `axis` rolled by `shift`: those shifted beyond one end reappear at the other.
    ///
    /// # Panics
    /// If `axis` is not an axis.
    #[track_caller]
    pub fn roll(&self, axis: impl Into<Axis>, shift: isize) -> Tensor {
        let axis = self.axis("roll", axis);
        let n = self.shape()[axis];
        let cut = n - shift.rem_euclid(n.max(1) as isize) as usize;
        Tensor::concat(&[&self.slice_axis(axis, cut..), &self.slice_axis(axis, ..cut)], axis)
    }
}

pub(crate) fn samples() -> Vec<Sample> {
    let x = || Input::normal([3, 4, 5]);
    vec![
        Sample::new("slice", "middle", [x()], |x| x[0].slice_axis(1, 1..3)),
        Sample::new("slice", "last axis", [x()], |x| x[0].slice_axis(-1, 2..)),
        Sample::new("slice", "all", [x()], |x| x[0].slice_axis(0, ..)),
        Sample::new("slice", "nothing", [x()], |x| x[0].slice_axis(0, 3..)),
        Sample::new("slice", "of nothing", [Input::normal([0, 2])], |x| x[0].slice_axis(1, ..1)),
        Sample::new("slice", "overlapping", [x()], |x| x[0].slice_axis(2, ..4) * x[0].slice_axis(2, 1..)),
        Sample::new("slice", "stepped", [x()], |x| x[0].slice_step(-1, 1.., 3)),
        Sample::new("slice", "stepped first axis", [x()], |x| x[0].slice_step(0, .., 2)),
        Sample::new("select", "middle", [x()], |x| x[0].select(1, 2)),
        Sample::new("select", "to a scalar", [Input::normal([4])], |x| x[0].select(0, -1)),
        Sample::new("flip", "one", [x()], |x| x[0].flip(1)),
        Sample::new("flip", "all", [x()], |x| x[0].flip(..)),
        Sample::new("flip", "of nothing", [Input::normal([2, 0])], |x| x[0].flip(..)),
        Sample::new("flip", "times itself", [Input::normal([5])], |x| x[0].flip(0) * &x[0]),
        Sample::new("split", "added", [x()], |x| {
            let parts = x[0].split(1, &[1, 3]);
            &parts[0] + &parts[1]
        }),
        Sample::new("split", "multiplied", [x()], |x| {
            let parts = x[0].split(2, &[1, 3, 0, 1]);
            &parts[0] * &parts[1] + &parts[3]
        }),
        Sample::new("chunk", "", [x()], |x| x[0].chunk(0, 2).swap_remove(1)),
        Sample::new("roll", "forwards", [x()], |x| x[0].roll(2, 2)),
        Sample::new("roll", "backwards, around", [x()], |x| x[0].roll(0, -4)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;

    fn counting(shape: impl Into<Shape>) -> Tensor {
        let shape = shape.into();
        Tensor::arange(shape.numel(), DType::F32).reshape(shape)
    }

    fn values(x: &Tensor) -> Vec<f32> {
        x.to_vec()
    }

    #[test]
    fn parts_hold_the_right_elements() {
        let x = counting([2, 3]);
        assert_eq!(values(&x.slice_axis(1, 1..)), [1.0, 2.0, 4.0, 5.0]);
        assert_eq!(values(&x.slice_axis(1, 0..=1)), [0.0, 1.0, 3.0, 4.0]);
        assert_eq!(values(&x.slice_step(1, .., 2)), [0.0, 2.0, 3.0, 5.0]);
        assert_eq!(values(&x.select(0, 1)), [3.0, 4.0, 5.0]);
        assert_eq!(*x.select(0, 1).shape(), [3]);
        assert_eq!(values(&x.select(1, -3)), [0.0, 3.0]);
        assert_eq!(values(&x.flip(1)), [2.0, 1.0, 0.0, 5.0, 4.0, 3.0]);
        assert_eq!(values(&x.flip(..)), [5.0, 4.0, 3.0, 2.0, 1.0, 0.0]);
        assert_eq!(values(&x.roll(1, 1)), [2.0, 0.0, 1.0, 5.0, 3.0, 4.0]);
        assert_eq!(values(&x.roll(1, -1)), [1.0, 2.0, 0.0, 4.0, 5.0, 3.0]);
        assert_eq!(*counting([0]).roll(0, 3).shape(), [0]);
    }

    #[test]
    fn chunks_use_up_the_axis() {
        let sizes = |n: usize, count| -> Vec<usize> {
            counting([n]).chunk(0, count).iter().map(Tensor::numel).collect()
        };
        assert_eq!(sizes(7, 3), [3, 3, 1]);
        assert_eq!(sizes(6, 4), [2, 2, 2]);
        assert_eq!(sizes(6, 2), [3, 3]);
        assert_eq!(sizes(1, 5), [1]);
        assert_eq!(sizes(0, 5), [0]);
    }

    #[test]
    #[should_panic(expected = "slice: 2..6 is not a range of axis 1 of shape [3, 5]")]
    fn a_slice_stays_inside() {
        let _ = counting([3, 5]).slice_axis(1, 2..6);
    }

    #[test]
    fn the_largest_numbers_are_outside_and_not_wrapped() {
        let x = counting([3, 5]);
        let fails =
            |f: &dyn Fn() -> Tensor| std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).is_err();
        assert!(fails(&|| x.slice_axis(0, ..=usize::MAX)));
        assert!(fails(&|| x.slice_axis(0, (Bound::Excluded(usize::MAX), Bound::Unbounded))));
        assert!(fails(&|| x.split(0, &[usize::MAX, 4]).remove(0)));
        assert!(fails(&|| x.select(0, isize::MIN)));
        assert_eq!(values(&x.slice_step(1, 1..2, usize::MAX)), [1.0, 6.0, 11.0]);
        assert_eq!(values(&x.slice_step(1, 1.., usize::MAX)), [1.0, 6.0, 11.0]);
        assert_eq!(values(&x.roll(1, isize::MIN)), values(&x.roll(1, isize::MIN.rem_euclid(5))));
    }

    #[test]
    #[should_panic(expected = "slice: the step must be at least 1")]
    fn a_slice_moves_on() {
        let _ = counting([3]).slice_step(0, .., 0);
    }

    #[test]
    #[should_panic(expected = "select: index -4 is outside axis 0 of shape [3, 5]")]
    fn a_selected_entry_exists() {
        let _ = counting([3, 5]).select(0, -4);
    }

    #[test]
    #[should_panic(expected = "split: sizes [1, 3] do not add up to axis 1 of shape [3, 5]")]
    fn a_split_is_whole() {
        counting([3, 5]).split(1, &[1, 3]);
    }

    #[test]
    #[should_panic(expected = "flip: axis 2 is outside shape [3, 5], which has 2 axes")]
    fn flipped_axes_exist() {
        let _ = counting([3, 5]).flip(2);
    }
}
