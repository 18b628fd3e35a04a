//! Rows of cosines turned into energies and slopes.

use super::near::near;
use super::pair::{ANY, LOG, ONE, PairEnergy, TWO};
use super::points::Points;
use crate::real::{Arithmetic, Element};
use crate::simd::Kernel;

/// Sums over the pairs i < j, and slopes if wanted, of some rows of cosines.
///
/// The diagonal itself stands for half an antipodal pair, or for nothing.
pub(super) struct Rows<'a, T> {
    pub energy: &'a PairEnergy,
    /// All of them.
    pub points: Points<'a, T>,
    /// Which i and j the first cosine is of, and how many there are in a row.
    pub at: (usize, usize, usize),
    /// Replaced by slopes if they are wanted; otherwise what is left is of no use.
    pub cosines: &'a mut [T],
    pub slopes: bool,
    pub sums: &'a mut [f64],
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
        let Rows { energy, points, at: (i, j, cols), cosines, slopes, sums } = self;
        for ((i, row), sum) in (i..).zip(cosines.chunks_exact_mut(cols)).zip(sums) {
            let stretch = Stretch { energy, points, i };
            let (lower, rest) = row.split_at_mut(i.saturating_sub(j).min(cols));
            if slopes {
                stretch.replace::<A, S, ANGULAR, HALF>(j, lower);
            }
            let Some((own, upper)) = rest.split_first_mut().filter(|_| i >= j) else {
                *sum = if i < j { stretch.replace::<A, S, ANGULAR, HALF>(j, row) } else { 0.0 };
                continue;
            };
            *sum = stretch.replace::<A, S, ANGULAR, HALF>(i + 1, upper);
            let (f, df) = if HALF { energy.antipodes(points, i) } else { (0.0, 0.0) };
            *sum += 0.5 * f;
            *own = T::from_f64(-df);
        }
    }
}

/// Cosines of row i with neighbouring rows, all on one side of the diagonal.
#[derive(Clone, Copy)]
struct Stretch<'a, T> {
    energy: &'a PairEnergy,
    points: Points<'a, T>,
    i: usize,
}

impl<T: Element> Stretch<'_, T> {
    /// Replaces the cosines with rows `j`, `j` + 1, … by slopes and returns the sum of the values.
    #[inline(always)]
    fn replace<A: Arithmetic, const S: u8, const ANGULAR: bool, const HALF: bool>(
        self,
        j: usize,
        cosines: &mut [T],
    ) -> f64 {
        // Opposite rows matter where their distance to the antipode, or the sine of the angle, is needed.
        let both = HALF || ANGULAR;
        let bound = T::from_f64(1.0 - near::<T>());
        let far = self.energy.still < 2.0 * near::<T>();
        if largest(cosines, both) <= bound {
            return replace::<T, A, S, ANGULAR, HALF>(self.energy, far, cosines);
        }
        // Near pairs sit out as orthogonal ones, and then take their own places.
        let is_near = |c: T| c > bound || (both && -c > bound);
        let near: Vec<(usize, f64, f64)> = (0..cosines.len())
            .filter(|&k| is_near(cosines[k]))
            .map(|k| {
                let (f, slope) = self.energy.exact(self.points, self.i, j + k);
                (k, f, slope)
            })
            .collect();
        near.iter().for_each(|&(k, ..)| cosines[k] = T::ZERO);
        let (orthogonal, _) = self.energy.both::<f64, A, S, ANGULAR, HALF>(0.0, false);
        let mut sum = replace::<T, A, S, ANGULAR, HALF>(self.energy, far, cosines);
        for (k, f, slope) in near {
            cosines[k] = T::from_f64(slope);
            sum += f - orthogonal;
        }
        sum
    }
}

/// The largest cosine, or absolute value of one; at least 0.
#[inline(always)]
fn largest<T: Element>(cosines: &[T], both: bool) -> T {
    const LANES: usize = 32;
    let mut most = [T::ZERO; LANES];
    for block in cosines.chunks(LANES) {
        for (m, &c) in most.iter_mut().zip(block) {
            let c = if both && c < T::ZERO { -c } else { c };
            *m = if c > *m { c } else { *m };
        }
    }
    most.into_iter().fold(T::ZERO, |m, c| if c > m { c } else { m })
}

/// Replaces cosines by slopes and returns the sum of the values. With `far`, all pairs are far enough for a gradient.
#[inline(always)]
fn replace<T: Element, A: Arithmetic, const S: u8, const ANGULAR: bool, const HALF: bool>(
    energy: &PairEnergy,
    far: bool,
    cosines: &mut [T],
) -> f64 {
    const LANES: usize = 16;
    let mut sums = [T::ZERO; LANES];
    let (blocks, tail) = cosines.as_chunks_mut::<LANES>();
    for block in blocks {
        for l in 0..LANES {
            let (f, df) = energy.both::<T, A, S, ANGULAR, HALF>(block[l], far);
            block[l] = df;
            sums[l] = sums[l] + f;
        }
    }
    for (c, sum) in tail.iter_mut().zip(&mut sums) {
        let (f, df) = energy.both::<T, A, S, ANGULAR, HALF>(*c, far);
        *c = df;
        *sum = *sum + f;
    }
    sums.iter().map(|v| v.to_f64()).sum()
}
