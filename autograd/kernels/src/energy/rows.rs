//! Rows of the Gram matrix turned into energies and coefficients of the gradient.

use super::near::near;
use super::pair::{ANY, LOG, ONE, PairEnergy, TWO};
use super::points::Points;
use crate::real::{Arithmetic, Element};
use crate::simd::Kernel;

/// Sums over the pairs of some rows of the Gram matrix, which are replaced by rows of the coefficients of the gradient.
///
/// The diagonal itself stands for half an antipodal pair, or for nothing.
pub(super) struct Rows<'a, T> {
    pub energy: &'a PairEnergy,
    /// All of them.
    pub points: Points<'a, T>,
    /// Which i and j the first product is of, and how many there are in a row.
    pub at: (usize, usize, usize),
    pub products: &'a mut [T],
    /// Whether pairs i > j are replaced, too; otherwise what is left of them is of no use.
    pub both: bool,
    /// The sum over the pairs i < j of each row.
    pub sums: &'a mut [f64],
    /// The sum of f'(c_ij) c_ij over what is replaced of each row is added here,
    pub along: &'a mut [f64],
    /// and that of each column over the pairs i < j here.
    pub columns: &'a mut [T],
}

impl<T: Element> Kernel for Rows<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        match self.energy.exponent() {
            LOG => self.with_exponent::<A, LOG>(),
            ONE => self.with_exponent::<A, ONE>(),
            TWO => self.with_exponent::<A, TWO>(),
            _ => self.with_exponent::<A, ANY>(),
        }
    }
}

impl<T: Element> Rows<'_, T> {
    #[inline(always)]
    fn with_exponent<A: Arithmetic, const S: u8>(self) {
        match (self.energy.angular, self.energy.half_space) {
            (false, false) => self.rows::<A, S, false, false>(),
            (false, true) => self.rows::<A, S, false, true>(),
            (true, false) => self.rows::<A, S, true, false>(),
            (true, true) => self.rows::<A, S, true, true>(),
        }
    }

    #[inline(always)]
    fn rows<A: Arithmetic, const S: u8, const ANGULAR: bool, const HALF: bool>(self) {
        let Rows { energy, points, at: (i, j, cols), products, both, sums, along, columns } = self;
        let inverse = &points.inverse[j..j + cols];
        for (((i, row), sum), along) in (i..).zip(products.chunks_exact_mut(cols)).zip(sums).zip(along) {
            let stretch = Stretch { energy, points, i };
            let own = i.saturating_sub(j).min(cols);
            if both {
                // Whoever wants both sides of the diagonal has no use for the columns' sums.
                let (_, r) = stretch.replace::<A, S, ANGULAR, HALF>(j, &mut row[..own], columns);
                *along += r;
            }
            let upper = if i < j { 0 } else { (own + 1).min(cols) };
            let (f, r) =
                stretch.replace::<A, S, ANGULAR, HALF>(j + upper, &mut row[upper..], &mut columns[upper..]);
            *sum = f;
            *along += r;
            if i >= j && own < cols {
                let (f, df) = if HALF { energy.antipodes(points, i) } else { (0.0, 0.0) };
                *sum += 0.5 * f;
                row[own] = T::from_f64(-df * inverse[own] * inverse[own]);
            }
        }
    }
}

/// Products of row i with neighbouring rows, all on one side of the diagonal.
#[derive(Clone, Copy)]
struct Stretch<'a, T> {
    energy: &'a PairEnergy,
    points: Points<'a, T>,
    i: usize,
}

impl<T: Element> Stretch<'_, T> {
    /// Replaces the products with rows `j`, `j` + 1, … by coefficients f'(c) / (n_i n_j), adds f'(c) c to the columns'
    /// sums, and returns the sums of f(c) and of f'(c) c.
    #[inline(always)]
    fn replace<A: Arithmetic, const S: u8, const ANGULAR: bool, const HALF: bool>(
        self,
        j: usize,
        products: &mut [T],
        columns: &mut [T],
    ) -> (f64, f64) {
        let Stretch { energy, points, i } = self;
        // Opposite rows matter where their distance to the antipode, or the sine of the angle, is needed.
        let both = HALF || ANGULAR;
        let bound = T::from_f64(1.0 - near::<T>());
        let far = energy.still < 2.0 * near::<T>();
        let (own, inverse) = (points.inverse[i], &points.inverse[j..j + products.len()]);
        let columns = &mut columns[..products.len()];
        let cosines = products;
        if cosines_of(own, inverse, cosines, both) <= bound {
            return replace::<T, A, S, ANGULAR, HALF>(energy, far, own, inverse, cosines, columns);
        }
        // Near pairs sit out as orthogonal ones, and then take their own places.
        let is_near = |c: T| c > bound || (both && -c > bound);
        let near: Vec<(usize, [f64; 3])> = (0..cosines.len())
            .filter(|&k| is_near(cosines[k]))
            .map(|k| (k, energy.exact(points, i, j + k)))
            .collect();
        near.iter().for_each(|&(k, ..)| cosines[k] = T::ZERO);
        let (orthogonal, _) = energy.both::<f64, A, S, ANGULAR, HALF>(0.0, false);
        let (mut sum, mut along) =
            replace::<T, A, S, ANGULAR, HALF>(energy, far, own, inverse, cosines, columns);
        for (k, [f, df, c]) in near {
            cosines[k] = T::from_f64(df * own * inverse[k]);
            sum += f - orthogonal;
            along += df * c;
            columns[k] = columns[k] + T::from_f64(df * c);
        }
        (sum, along)
    }
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

/// Replaces cosines by coefficients, adds to the columns' sums, and returns the row's. With `far`, all pairs are far
/// enough for a gradient.
#[inline(always)]
fn replace<T: Element, A: Arithmetic, const S: u8, const ANGULAR: bool, const HALF: bool>(
    energy: &PairEnergy,
    far: bool,
    own: f64,
    inverse: &[f64],
    cosines: &mut [T],
    columns: &mut [T],
) -> (f64, f64) {
    const LANES: usize = 16;
    let (mut sums, mut along) = ([T::ZERO; LANES], [T::ZERO; LANES]);
    let (blocks, tail) = cosines.as_chunks_mut::<LANES>();
    let (inverses, inverse) = inverse.as_chunks::<LANES>();
    let (columns, column) = columns.as_chunks_mut::<LANES>();
    for ((block, inverse), column) in blocks.iter_mut().zip(inverses).zip(columns) {
        for l in 0..LANES {
            let c = block[l];
            let (f, df) = energy.both::<T, A, S, ANGULAR, HALF>(c, far);
            block[l] = df * T::from_f64(own * inverse[l]);
            sums[l] = sums[l] + f;
            along[l] = along[l] + df * c;
            column[l] = column[l] + df * c;
        }
    }
    for (l, c) in tail.iter_mut().enumerate() {
        let (f, df) = energy.both::<T, A, S, ANGULAR, HALF>(*c, far);
        sums[l] = sums[l] + f;
        along[l] = along[l] + df * *c;
        column[l] = column[l] + df * *c;
        *c = df * T::from_f64(own * inverse[l]);
    }
    let total = |lanes: [T; LANES]| lanes.iter().map(|v| v.to_f64()).sum();
    (total(sums), total(along))
}
