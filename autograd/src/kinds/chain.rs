//! The chain rule, g times a derivative, where a piecewise constant derivative selects instead of multiplying.
//!
//! A derivative that consists of constants, steps and signs alone selects a branch. Where it is 0, the gradient is 0
//! for every incoming gradient, infinity and NaN included: the square root of relu x has derivative 0 at x = -1. Any
//! other derivative is multiplied by the gradient under IEEE 754: x^2 at 0 times an infinite gradient is NaN.

use kernels::Real;
use kernels::map::{self, Map};

use crate::dtype::dispatch;
use crate::kinds::elementwise::broadcast;
use crate::kinds::linear::{Linear, linear};
use crate::real::Piece;
use crate::tensor::Tensor;

/// g times a derivative d; if d is piecewise constant, the result is 0 where d is 0.
#[inline(always)]
pub(crate) fn chain<R: Real>(g: R, d: R, piecewise: Piece) -> R {
    if piecewise.0 { g.gate(d) } else { g * d }
}

#[derive(Clone, Copy)]
struct GateMap;
impl Map<2> for GateMap {
    #[inline(always)]
    fn call<R: Real>(&self, [x, d]: [R; 2]) -> R {
        x.gate(d)
    }
}

/// The product with a piecewise constant d, which is 0 where d is 0.
#[derive(Clone, Debug)]
struct Gate(Tensor);

impl Linear for Gate {
    type Adjoint = Gate;
    const NAME: &'static str = "gate";
    fn apply(&self, x: &Tensor) -> Tensor {
        dispatch!(x.dtype(), T => {
            if self.0.shape() != x.shape() {
                return broadcast::<T, 2>(&GateMap, [x, &self.0], x.shape());
            }
            let inputs = [Some(x.blocks::<T>()), Some(self.0.blocks())];
            Tensor::build_blocks(*x.shape(), |out| map::flat(&GateMap, inputs, out))
        })
    }
    fn adjoint(&self) -> Gate {
        self.clone()
    }
    fn kept_bytes(&self) -> usize {
        self.0.buffer().bytes()
    }
}

impl Tensor {
    /// [`Real::gate`] of tensors, recorded. `d` broadcasts to `self`.
    #[track_caller]
    pub(crate) fn gate(&self, d: &Tensor) -> Tensor {
        linear(Gate(d.value()), self)
    }
}
