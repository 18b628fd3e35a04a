//! Running sums along an axis.

use crate::axis::Axis;
use crate::dtype::dispatch;
use crate::kinds::linear::{Linear, linear};
use crate::sample::{Input, Sample};
use crate::tensor::Tensor;

/// Element i becomes the sum of the elements up to i, or from i on.
#[derive(Clone, Copy, Debug)]
struct Cumsum {
    axis: usize,
    reverse: bool,
}

impl Linear for Cumsum {
    type Adjoint = Cumsum;
    const NAME: &'static str = "cumsum";
    fn apply(&self, x: &Tensor) -> Tensor {
        let (before, after) = x.shape().split_at(self.axis);
        let (outer, len, inner) = (before.iter().product(), after[0], after[1..].iter().product());
        dispatch!(x.dtype(), T => Tensor::build::<T>(*x.shape(), |out| {
            kernels::reduce::cumsum(x.slice::<T>(), outer, len, inner, self.reverse, out);
        }))
    }
    fn adjoint(&self) -> Cumsum {
        Cumsum { reverse: !self.reverse, ..*self }
    }
}

impl Tensor {
    /// The running sum along `axis`: element i of the result is the sum of the elements 0 to i.
    ///
    /// # Panics
    /// If `axis` is not an axis.
    #[track_caller]
    pub fn cumsum(&self, axis: impl Into<Axis>) -> Tensor {
        linear(Cumsum { axis: self.axis("cumsum", axis), reverse: false }, self)
    }
}

pub(crate) fn samples() -> Vec<Sample> {
    let x = || Input::normal([2, 3, 4]);
    vec![
        Sample::new("cumsum", "last", [x()], |x| x[0].cumsum(-1)),
        Sample::new("cumsum", "middle", [x()], |x| x[0].cumsum(1)),
        Sample::new("cumsum", "one element", [Input::normal([1])], |x| x[0].cumsum(0)),
        Sample::new("cumsum", "no elements", [Input::normal([2, 0])], |x| x[0].cumsum(1)),
        Sample::new("cumsum", "both ways", [Input::normal([5])], |x| x[0].cumsum(0) * x[0].flip(0).cumsum(0)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;

    #[test]
    fn sums_run_along_their_axis() {
        let x = Tensor::from([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
        assert_eq!(x.cumsum(1).to_vec::<f64>(), [1.0, 3.0, 6.0, 4.0, 9.0, 15.0]);
        assert_eq!(x.cumsum(0).to_vec::<f64>(), [1.0, 2.0, 3.0, 5.0, 7.0, 9.0]);
    }

    #[test]
    #[should_panic(expected = "cumsum: axis 1 is outside shape [3], which has 1 axes")]
    fn the_axis_exists() {
        let _ = Tensor::zeros([3], DType::F32).cumsum(1);
    }
}
