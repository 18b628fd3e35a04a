//! Which axes a reduction removes, and the shapes of its results.

use kernels::MAX_RANK;

use crate::axis::Axes;
use crate::shape::{Shape, ShapeError};

/// A reduction of one shape, resolved: which axes are reduced, and the shape of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reduction {
    pub input: Shape,
    pub reduced: [bool; MAX_RANK],
    /// The result with reduced axes as 1s.
    pub kept: Shape,
    /// The shape of the result as requested.
    pub output: Shape,
}

impl Reduction {
    pub fn new(input: &Shape, axes: &Axes) -> Result<Reduction, ShapeError> {
        let mut reduced = [false; MAX_RANK];
        axes.resolve(input)?.into_iter().for_each(|axis| reduced[axis] = true);
        let mut kept = *input;
        (0..input.rank()).filter(|&a| reduced[a]).for_each(|a| kept = kept.with(a, 1));
        let rest: Vec<usize> = (0..input.rank()).filter(|&a| !reduced[a]).map(|a| input[a]).collect();
        let output = if axes.keep { kept } else { Shape::new(&rest) };
        Ok(Reduction { input: *input, reduced, kept, output })
    }

    /// The reduction that undoes broadcasting from `to` back to `from`.
    pub fn unbroadcast(from: &Shape, to: &Shape) -> Reduction {
        let lead = to.rank() - from.rank();
        let mut reduced = [false; MAX_RANK];
        let mut kept = *to;
        for axis in 0..to.rank() {
            if axis < lead || (from[axis - lead] == 1 && to[axis] != 1) {
                reduced[axis] = true;
                kept = kept.with(axis, 1);
            }
        }
        Reduction { input: *to, reduced, kept, output: *from }
    }

    /// The same reduction with reduced axes kept as 1s.
    pub fn keeping(self) -> Reduction {
        Reduction { output: self.kept, ..self }
    }

    /// The number of elements per result.
    pub fn count(&self) -> usize {
        (0..self.input.rank()).filter(|&a| self.reduced[a]).map(|a| self.input[a]).product()
    }
}
