//! Sums whose rounding error grows like the logarithm of their length.
//!
//! A running sum of n terms can have an error of n roundings. Here [`RUN`] terms are added in order, then [`RUN`] of
//! these sums, and so on, so that each term takes part in at most RUN log n / log RUN additions (Higham, Accuracy and
//! Stability of Numerical Algorithms, 2002, section 4.2). The order depends on n alone.

use std::mem::MaybeUninit;

use crate::real::Element;

/// Terms that are added in order: four bits of their number.
pub(crate) const RUN: usize = 1 << BITS;
const BITS: usize = 4;
/// Levels enough for any number of terms.
const LEVELS: usize = usize::BITS as usize / BITS;

/// A sum that terms are added to one by one.
pub(crate) struct Cascade<S> {
    /// Level l holds the sum of the complete runs of RUN^l terms that are in no complete run of the next level. Digit l of
    /// `count` in base RUN is their number; where it is 0, the level is not initialised.
    levels: [MaybeUninit<S>; LEVELS],
    count: usize,
}

impl<S: Copy> Cascade<S> {
    #[inline(always)]
    pub fn new() -> Self {
        Cascade { levels: [const { MaybeUninit::uninit() }; LEVELS], count: 0 }
    }

    fn digit(&self, level: usize) -> usize {
        self.count >> (BITS * level) & (RUN - 1)
    }

    /// Adds a term; `add(a, b)` is a += b.
    #[inline(always)]
    pub fn push(&mut self, term: S, add: impl Fn(&mut S, &S)) {
        let mut carry = term;
        for level in 0..LEVELS {
            let digit = self.digit(level);
            let sum = &mut self.levels[level];
            if digit == 0 {
                sum.write(carry);
                break;
            }
            // SAFETY: the digit is not 0.
            let sum = unsafe { sum.assume_init_mut() };
            add(sum, &carry);
            if digit + 1 < RUN {
                break;
            }
            carry = *sum;
        }
        self.count += 1;
    }

    /// The sum of all terms; `zero` if there are none.
    #[inline(always)]
    pub fn total(&self, zero: S, add: impl Fn(&mut S, &S)) -> S {
        let mut total = zero;
        for level in 0..LEVELS {
            if self.digit(level) > 0 {
                // SAFETY: the digit is not 0.
                add(&mut total, unsafe { self.levels[level].assume_init_ref() });
            }
        }
        total
    }
}

/// The sum of `n` terms: `cascade!(n, zero, |i, sum| term, add)`, where the term is code that adds term i to `sum`, and
/// `add(a, b)` is a += b.
///
/// It is a macro, because a closure that is large enough to be compiled as a separate function loses the instruction
/// set of the loop around it.
macro_rules! cascade {
    ($n:expr, $zero:expr, |$i:ident, $sum:ident| $term:expr, $add:expr) => {{
        let (n, zero) = ($n, $zero);
        let mut sums = $crate::cascade::Cascade::new();
        let mut start = 0;
        loop {
            let end = n.min(start + $crate::cascade::RUN);
            let mut run = zero;
            for $i in start..end {
                let $sum = &mut run;
                $term;
            }
            if end == n {
                if start > 0 {
                    $add(&mut run, &sums.total(zero, $add));
                }
                break run;
            }
            sums.push(run, $add);
            start = end;
        }
    }};
}
pub(crate) use cascade;

/// Several sums in parallel, to which terms are added in place.
pub(crate) struct Slices<'a, T> {
    /// The level that terms are added to.
    pub first: &'a mut [T],
    /// The other levels, one after the other. As in [`Cascade`], a level whose digit of `count` is 0 holds arbitrary
    /// values.
    others: &'a mut [T],
    count: usize,
}

impl<'a, T: Element> Slices<'a, T> {
    /// How many numbers of memory sums of `len` numbers and of `terms` terms need besides the first level.
    pub fn room(len: usize, terms: usize) -> usize {
        len * (terms.checked_ilog2().unwrap_or(0) as usize / BITS)
    }

    /// Sums of no terms.
    pub fn new(first: &'a mut [T], others: &'a mut [T]) -> Self {
        first.fill(T::ZERO);
        Slices { first, others, count: 0 }
    }

    /// To be called after each term.
    pub fn carry(&mut self) {
        self.count += 1;
        let (mut count, mut low) = (self.count, &mut *self.first);
        for high in self.others.chunks_exact_mut(low.len()) {
            if !count.is_multiple_of(RUN) {
                break;
            }
            count /= RUN;
            if count % RUN == 1 {
                high.copy_from_slice(low)
            } else {
                add_assign(high, low)
            }
            low = high;
        }
        if self.count.is_multiple_of(RUN) && !self.others.is_empty() {
            self.first.fill(T::ZERO);
        }
    }

    /// Leaves the sum of all levels in the first.
    pub fn finish(self) {
        let mut count = self.count / RUN;
        for other in self.others.chunks_exact(self.first.len()) {
            if !count.is_multiple_of(RUN) {
                add_assign(self.first, other);
            }
            count /= RUN;
        }
    }
}

fn add_assign<T: Element>(a: &mut [T], b: &[T]) {
    a.iter_mut().zip(b).for_each(|(a, &b)| *a = *a + b);
}

/// The sum of numbers.
#[inline(always)]
pub(crate) fn sum_of<T: Element>(terms: impl Iterator<Item = T>) -> T {
    let add = |a: &mut T, b: &T| *a = *a + *b;
    let (mut sums, mut run, mut count) = (Cascade::new(), T::ZERO, 0);
    for term in terms {
        if count == RUN {
            sums.push(run, add);
            (run, count) = (T::ZERO, 0);
        }
        run = run + term;
        count += 1;
    }
    run + sums.total(T::ZERO, add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_term_counts_once() {
        for n in (0..600).chain([4095, 4096, 4097, 70_000]) {
            let want = n * (n + 1) / 2;
            let add = |a: &mut usize, b: &usize| *a += b;
            assert_eq!(cascade!(n, 0, |i, sum| *sum += i + 1, add), want, "{n}");
            assert_eq!(sum_of((0..n).map(|i| (i + 1) as f64)), want as f64, "{n}");
        }
    }

    #[test]
    fn every_slice_counts_once() {
        for n in [0, 1, 15, 16, 17, 255, 256, 257, 272, 273, 4095, 4096, 5000] {
            let (mut first, mut others) = (vec![f64::NAN; 3], vec![f64::NAN; Slices::<f64>::room(3, n)]);
            let mut sums = Slices::new(&mut first, &mut others);
            for i in 0..n {
                sums.first.iter_mut().for_each(|v| *v += i as f64);
                sums.carry();
            }
            sums.finish();
            assert_eq!(first, [(n * n.saturating_sub(1) / 2) as f64; 3], "{n}");
        }
    }

    #[test]
    fn errors_do_not_grow_with_the_length() {
        for n in [1000, 1 << 20, 50_000_000] {
            let (sum, exact) = (sum_of((0..n).map(|_| 0.1f32)), f64::from(0.1f32) * n as f64);
            assert!((f64::from(sum) / exact - 1.0).abs() < 1e-6, "{n}: {sum}, not {exact}");
        }
    }
}
