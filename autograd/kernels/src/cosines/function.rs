//! Functions of the cosine of a pair of rows.

use crate::real::{Arithmetic, Element};

/// A function f of the cosine c of two directions, with its slope f'(c): what [`super::Sums`] sums over pairs.
///
/// Rows that nearly coincide, or are nearly opposite if [`CosineFunction::antipodes`] or [`CosineFunction::two_ended`]
/// is true, are evaluated by [`CosineFunction::at_chords`], since their cosines have too few correct digits for f; all
/// others by the loops of [`CosineFunction::specialise`].
pub trait CosineFunction: Copy + Sync {
    /// Whether the points are {u, -u} rather than {u}.
    fn antipodes(&self) -> bool;

    /// Whether f or its slope is large at c = -1, too.
    fn two_ended(&self) -> bool;

    /// A bound on |f'|.
    fn steepest(&self) -> f64;

    /// f and f' of a pair with x = 2 - 2c and y = 2 + 2c, each to full relative precision.
    fn at_chords(&self, x: f64, y: f64) -> (f64, f64);

    /// Calls `visitor` with this function in the form for a loop. All its cosines are at most 1 - `gap`, and at least
    /// `gap` - 1 if both ends matter.
    fn specialise<V: Visitor>(&self, gap: f64, visitor: V) -> V::Output;
}

/// A [`CosineFunction`] whose cases are decided, so that a loop over it has no branches.
pub trait Specialised: Copy {
    /// f(c) and f'(c); with antipodes f(c) + f(-c) and f'(c) - f'(-c). Must be `#[inline(always)]` for loops to be
    /// vectorised.
    fn at<T: Element, A: Arithmetic>(&self, c: T) -> (T, T);
}

/// A visitor that is called with a specialised function.
pub trait Visitor {
    /// What it returns.
    type Output;
    /// Must be `#[inline(always)]`.
    fn visit<F: Specialised>(self, f: F) -> Self::Output;
}
