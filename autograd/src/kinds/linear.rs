//! Linear operations: a map and its adjoint. The gradient of A x is A' g.

use std::fmt::Debug;

use crate::node::{self, Rule};
use crate::pass::Pullback;
use crate::running;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// A linear map of one tensor. The adjoint of the adjoint is the map itself.
///
/// The defining property, which the tests check for every map: <A x, y> = <x, A' y>.
pub(crate) trait Linear: Clone + Debug + Send + Sync + 'static {
    /// The type of the adjoint map.
    type Adjoint: Linear<Adjoint = Self>;
    /// For errors and graph pictures.
    const NAME: &'static str;
    /// A x, for a constant x.
    fn apply(&self, x: &Tensor) -> Tensor;
    /// A'.
    fn adjoint(&self) -> Self::Adjoint;
    /// Bytes of indices that the map holds.
    fn kept_bytes(&self) -> usize {
        0
    }
}

/// A x, recorded.
#[track_caller]
pub(crate) fn linear<A: Linear>(a: A, x: &Tensor) -> Tensor {
    let value = running::run(A::NAME, || a.apply(x));
    linear_known(a, x, value)
}

/// A x, recorded, where A x is known already: the search for the positions of maxima also finds their values.
#[track_caller]
pub(crate) fn linear_known<A: Linear>(a: A, x: &Tensor, value: Tensor) -> Tensor {
    node::record(A::NAME, value, &[x], |_| LinearRule(a))
}

#[derive(Debug)]
struct LinearRule<A>(A);

impl<A: Linear> Rule for LinearRule<A> {
    fn name(&self) -> &'static str {
        A::NAME
    }
    fn pullback(&self, cx: &mut Pullback<'_>) {
        let g = cx.take_g();
        cx.give(0, linear(self.0.adjoint(), &g));
    }
    fn kept_bytes(&self) -> usize {
        self.0.kept_bytes()
    }
    fn flops(&self, _: &Shape) -> u64 {
        0
    }
}

/// A linear map of several tensors: the sum of one linear map of each. Concatenation, selection by a mask.
pub(crate) trait Joint: Clone + Debug + Send + Sync + 'static {
    /// For errors and graph pictures.
    const NAME: &'static str;
    /// The value, for constant inputs.
    fn apply(&self, x: &[&Tensor]) -> Tensor;
    /// The adjoint of the map of input `i`, applied to g: a recorded operation.
    fn adjoint(&self, i: usize, g: &Tensor) -> Tensor;
    /// Bytes of masks that the map holds.
    fn kept_bytes(&self) -> usize {
        0
    }
}

/// The value of a joint map, recorded.
#[track_caller]
pub(crate) fn joint<A: Joint>(a: A, x: &[&Tensor]) -> Tensor {
    let value = running::run(A::NAME, || a.apply(x));
    node::record(A::NAME, value, x, |_| JointRule { a, inputs: x.len() })
}

#[derive(Debug)]
struct JointRule<A> {
    a: A,
    inputs: usize,
}

impl<A: Joint> Rule for JointRule<A> {
    fn name(&self) -> &'static str {
        A::NAME
    }
    fn pullback(&self, cx: &mut Pullback<'_>) {
        let g = cx.take_g();
        for i in 0..self.inputs {
            if cx.wants(i) {
                cx.give(i, self.a.adjoint(i, &g));
            }
        }
    }
    fn kept_bytes(&self) -> usize {
        self.a.kept_bytes()
    }
    fn flops(&self, _: &Shape) -> u64 {
        0
    }
}
