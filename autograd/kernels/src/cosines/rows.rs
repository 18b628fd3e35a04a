//! Rows of the Gram matrix turned into values and coefficients of the gradient.

use std::marker::PhantomData;

use super::near::near;
use super::points::Points;
use super::{CosineFunction, Specialised, Sums, Visitor};
use crate::aligned::BLOCK;
use crate::real::{Arithmetic, Element};
use crate::simd::Kernel;

/// Sums over the pairs of some rows of the Gram matrix, which are replaced by rows of the coefficients of the gradient.
///
/// The diagonal itself counts as half an antipodal pair, or is not used.
pub(super) struct Rows<'a, T, F> {
    pub f: F,
    /// All of them.
    pub points: Points<'a, T>,
    /// Which i and j the first product is of, and how many there are in a row.
    pub at: (usize, usize, usize),
    pub products: &'a mut [T],
    /// Whether pairs i > j are replaced, too; otherwise their contents are unspecified.
    pub both: bool,
    /// The sum over the pairs i < j of each row.
    pub sums: &'a mut [f64],
    /// The sum of f'(c_ij) c_ij over what is replaced of each row is added here,
    pub along: &'a mut [f64],
    /// and that of each column over the pairs i < j here.
    pub columns: &'a mut [T],
}

impl<T: Element, F: CosineFunction> Kernel for Rows<'_, T, F> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let f = self.f;
        f.specialise(near::<T>(), WithArithmetic(self, PhantomData::<A>));
    }
}

struct WithArithmetic<R, A>(R, PhantomData<A>);

impl<T: Element, F: CosineFunction, A: Arithmetic> Visitor for WithArithmetic<Rows<'_, T, F>, A> {
    type Output = ();
    #[inline(always)]
    fn visit<S: Specialised>(self, special: S) {
        self.0.rows::<A, S>(special);
    }
}

impl<T: Element, F: CosineFunction> Rows<'_, T, F> {
    #[inline(always)]
    fn rows<A: Arithmetic, S: Specialised>(self, special: S) {
        let Rows { f, points, at: (i, j, cols), products, both, sums, along, columns } = self;
        let inverse = &points.inverse[j..j + cols];
        for (((i, row), sum), along) in (i..).zip(products.chunks_exact_mut(cols)).zip(sums).zip(along) {
            let stretch = Stretch { f, points, i };
            let own = i.saturating_sub(j).min(cols);
            let upper = if i < j { 0 } else { (own + 1).min(cols) };
            // The part left of the diagonal, if it is needed, and the part right of it. If both are needed, the
            // columns' sums are not.
            for side in [0..own, upper..cols].into_iter().skip(usize::from(!both)) {
                let (row, columns) = (&mut row[side.clone()], &mut columns[side.clone()]);
                let (value, r) = stretch.replace::<A, S>(special, j + side.start, row, columns);
                *sum = value;
                *along += r;
            }
            if i >= j && own < cols {
                let (value, df) = if f.antipodes() { Sums(f).antipode(points, i) } else { (0.0, 0.0) };
                *sum += 0.5 * value;
                row[own] = T::from_f64(-df * inverse[own] * inverse[own]);
            }
        }
    }
}

/// Products of row i with neighbouring rows, all on one side of the diagonal.
#[derive(Clone, Copy)]
struct Stretch<'a, T, F> {
    f: F,
    points: Points<'a, T>,
    i: usize,
}

impl<T: Element, F: CosineFunction> Stretch<'_, T, F> {
    /// Replaces the products with rows `j`, `j` + 1, … by coefficients f'(c) / (n_i n_j), adds f'(c) c to the columns'
    /// sums, and returns the sums of f(c) and of f'(c) c.
    #[inline(always)]
    fn replace<A: Arithmetic, S: Specialised>(
        self,
        special: S,
        j: usize,
        products: &mut [T],
        columns: &mut [T],
    ) -> (f64, f64) {
        let Stretch { f, points, i } = self;
        // Opposite rows matter where their distance to the antipode, or the sine of the angle, is needed.
        let both = f.antipodes() || f.two_ended();
        let bound = T::from_f64(1.0 - near::<T>());
        let (own, inverse) = (points.inverse[i], &points.inverse[j..j + products.len()]);
        let cosines = products;
        // Near pairs are first treated as orthogonal, and then replaced by their own values.
        let largest = cosines_of(own, inverse, cosines, both);
        let near = if largest > bound { sit_out(cosines, bound, both) } else { Vec::new() };
        let sums = replace::<T, A, S>(special, own, inverse, cosines, columns);
        if near.is_empty() { sums } else { self.take_places(j, &near, cosines, columns, sums) }
    }
}

impl<T: Element, F: CosineFunction> Stretch<'_, T, F> {
    /// Writes the coefficients of near pairs, and adds their terms to the sums.
    #[cold]
    #[inline(never)]
    fn take_places(
        self,
        j: usize,
        near: &[usize],
        coefficients: &mut [T],
        columns: &mut [T],
        (mut sum, mut along): (f64, f64),
    ) -> (f64, f64) {
        let Stretch { f, points, i } = self;
        let signs = if f.antipodes() { 2.0 } else { 1.0 };
        let orthogonal = signs * f.at_chords(2.0, 2.0).0;
        for &k in near {
            let [value, df, c] = Sums(f).exact(points, i, j + k);
            coefficients[k] = T::from_f64(df * points.inverse[i] * points.inverse[j + k]);
            sum += value - orthogonal;
            along += df * c;
            columns[k] = columns[k] + T::from_f64(df * c);
        }
        (sum, along)
    }
}

/// Sets the cosines of near pairs to 0, and returns which they are.
#[cold]
#[inline(never)]
fn sit_out<T: Element>(cosines: &mut [T], bound: T, both: bool) -> Vec<usize> {
    let is_near = |c: T| c > bound || (both && -c > bound);
    let near: Vec<usize> = (0..cosines.len()).filter(|&k| is_near(cosines[k])).collect();
    near.iter().for_each(|&k| cosines[k] = T::ZERO);
    near
}

/// Turns products into cosines and returns the largest, or the largest absolute value; at least 0.
#[inline(always)]
fn cosines_of<T: Element>(own: f64, inverse: &[f64], products: &mut [T], both: bool) -> T {
    const LANES: usize = 32;
    let mut most = [T::ZERO; LANES];
    for (block, inverse) in products.chunks_mut(LANES).zip(inverse.chunks(LANES)) {
        for ((m, c), &inverse) in most.iter_mut().zip(block).zip(inverse) {
            *c = T::from_f64(c.to_f64() * (own * inverse));
            let c = if both && *c < T::ZERO { -*c } else { *c };
            *m = if c > *m { c } else { *m };
        }
    }
    most.into_iter().fold(T::ZERO, |m, c| if c > m { c } else { m })
}

/// Replaces cosines by coefficients, adds to the columns' sums, and returns the row's.
#[inline(always)]
fn replace<T: Element, A: Arithmetic, S: Specialised>(
    special: S,
    own: f64,
    inverse: &[f64],
    cosines: &mut [T],
    columns: &mut [T],
) -> (f64, f64) {
    let (blocks, rest) = cosines.as_chunks_mut::<BLOCK>();
    let (inverses, inverse_rest) = inverse.as_chunks::<BLOCK>();
    let (columns, column_rest) = columns.as_chunks_mut::<BLOCK>();
    // One copy of the code: the remainder is filled up with orthogonal pairs, whose values are discarded.
    let count = rest.len();
    let (mut last, mut by, mut column) = ([T::ZERO; BLOCK], [0.0; BLOCK], [T::ZERO; BLOCK]);
    last[..count].copy_from_slice(rest);
    by[..count].copy_from_slice(inverse_rest);
    column[..count].copy_from_slice(&column_rest[..count]);
    let whole = blocks.iter_mut().zip(inverses).zip(columns).map(|block| (block, BLOCK));
    let (mut sums, mut along) = ([T::ZERO; BLOCK], [T::ZERO; BLOCK]);
    for (((c, by), column), count) in whole.chain([(((&mut last, &by), &mut column), count)]) {
        for l in 0..BLOCK {
            let (f, df) = special.at::<T, A>(c[l]);
            sums[l] = sums[l] + if l < count { f } else { T::ZERO };
            along[l] = along[l] + df * c[l];
            column[l] = column[l] + df * c[l];
            c[l] = df * T::from_f64(own * by[l]);
        }
    }
    rest.copy_from_slice(&last[..count]);
    column_rest[..count].copy_from_slice(&column[..count]);
    let total = |lanes: [T; BLOCK]| lanes.iter().map(|v| v.to_f64()).sum();
    (total(sums), total(along))
}
