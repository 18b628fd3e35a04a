//! Cross-entropy of rows of logits with integer labels.

use super::{LN_SURE, balance, exponentials, log_softmax, rows};
use crate::cascade::sum_of;
use crate::par::Shared;
use crate::real::{Arithmetic, Element};
use crate::reduce::fold::{Product, Same, row_sum};
use crate::simd::{self, Kernel};

/// What cross-entropy compares log-probabilities with: one class per row, smoothed and weighted as PyTorch's
/// `cross_entropy` does. Of `classes` classes, class c of a row with label l has the target `t[c] = (1 - smoothing)
/// weights[l] [c = l] + smoothing weights[c] / classes`, and the loss of the row is `-sum t[c] log_prob[c]`. The
/// weighted mean of the losses divides their sum by [`Targets::total`].
#[derive(Clone, Copy, Debug)]
pub struct Targets<'a, T> {
    /// The class of each row.
    pub labels: &'a [u32],
    /// How many classes there are.
    pub classes: usize,
    /// Label smoothing, in 0..=1.
    pub smoothing: T,
    /// The weight of each class; `None`: all 1.
    pub weights: Option<&'a [T]>,
}

impl<T: Element> Targets<'_, T> {
    /// The sum of the labels' weights: what the mean divides by.
    pub fn total(&self) -> T {
        match self.weights {
            Some(w) => T::from_f64(sum_of(self.labels.iter().map(|&l| w[l as usize].to_f64()))),
            None => T::from_f64(self.labels.len() as f64),
        }
    }

    fn weight(&self, class: usize) -> T {
        self.weights.map_or(T::ONE, |w| w[class])
    }

    /// The weight of the label itself, and the factor of every class's weight.
    fn parts(&self, label: usize) -> (T, T) {
        let own = (T::ONE - self.smoothing) * self.weight(label);
        (own, self.smoothing / T::from_f64(self.classes as f64))
    }

    fn check(&self, name: &str, elements: usize, per_row: usize) {
        let (rows, classes) = (self.labels.len(), self.classes);
        assert_eq!(elements, rows * classes, "{name}: ({rows}, {classes}) elements");
        assert_eq!(per_row, rows, "{name}: one number a row");
        assert!(self.weights.is_none_or(|w| w.len() == classes), "{name}: one weight a class");
        let wrong = self.labels.iter().find(|&&l| l as usize >= classes);
        assert!(wrong.is_none(), "{name}: label {wrong:?} of {classes} classes");
    }
}

/// The loss of each row of logits, weighted, and the log-softmax of the logits in `log_probs` for the backward
/// pass.
///
/// # Panics
/// If a slice has the wrong length or a label is not below `classes`.
pub fn cross_entropy_forward<T: Element>(
    logits: &[T],
    targets: &Targets<T>,
    log_probs: &mut [T],
    losses: &mut [T],
) {
    targets.check("cross_entropy_forward", logits.len(), losses.len());
    assert_eq!(log_probs.len(), logits.len(), "cross_entropy_forward: log_probs as long as logits");
    let losses = Shared::new(losses);
    rows(log_probs, targets.classes, |range, y| {
        let (first, count) = (range.start / targets.classes, y.len() / targets.classes);
        // SAFETY: one loss for each row of y, whose groups are disjoint.
        let losses = unsafe { losses.slice(first, count) };
        simd::dispatch(Losses { x: &logits[range], targets, first, y, losses });
    });
}

struct Losses<'a, T> {
    x: &'a [T],
    targets: &'a Targets<'a, T>,
    first: usize,
    y: &'a mut [T],
    losses: &'a mut [T],
}

impl<T: Element> Kernel for Losses<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Losses { x, targets, first, y, losses } = self;
        let classes = targets.classes;
        let rows = x.chunks_exact(classes).zip(y.chunks_exact_mut(classes));
        for (((x, y), loss), &label) in rows.zip(losses).zip(&targets.labels[first..]) {
            log_softmax::<T, A>(x, y);
            let (own, all) = targets.parts(label as usize);
            // A class with target 0 is left out, since 0 times infinity is NaN where its probability is 0.
            *loss = if own == T::ZERO { T::ZERO } else { -own * y[label as usize] };
            if all != T::ZERO {
                let sum = match targets.weights {
                    Some(w) => weighted_sum::<T, A>(w, y),
                    None => row_sum::<T, A, 1>(&Same, [y]),
                };
                *loss = *loss - all * sum;
            }
        }
    }
}

/// The sum of w y over the entries whose w is not 0.
#[inline(always)]
fn weighted_sum<T: Element, A: Arithmetic>(w: &[T], y: &[T]) -> T {
    let sum = row_sum::<T, A, 2>(&Product, [w, y]);
    if sum.is_finite() {
        return sum;
    }
    let terms = w.iter().zip(y).filter(|&(&w, _)| w != T::ZERO);
    terms.map(|(&w, &y)| w * y).sum()
}

/// The gradient with respect to the logits, from the `log_probs` of [`cross_entropy_forward`] and the gradient
/// `g` of each row's loss: `dx[c] = g (e^log_prob[c] sum t - t[c])`.
///
/// # Panics
/// As [`cross_entropy_forward`].
pub fn cross_entropy_backward<T: Element>(log_probs: &[T], targets: &Targets<T>, g: &[T], dx: &mut [T]) {
    targets.check("cross_entropy_backward", log_probs.len(), g.len());
    assert_eq!(dx.len(), log_probs.len(), "cross_entropy_backward: dx as long as log_probs");
    rows(dx, targets.classes, |range, dx| {
        let first = range.start / targets.classes;
        simd::dispatch(LogitGradients { y: &log_probs[range], targets, first, g: &g[first..], dx });
    });
}

struct LogitGradients<'a, T> {
    y: &'a [T],
    targets: &'a Targets<'a, T>,
    first: usize,
    g: &'a [T],
    dx: &'a mut [T],
}

impl<T: Element> Kernel for LogitGradients<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let LogitGradients { y, targets, first, g, dx } = self;
        let classes = targets.classes;
        let weight_sum = match targets.weights {
            Some(w) => row_sum::<T, A, 1>(&Same, [w]),
            None => T::from_f64(classes as f64),
        };
        let rows = y.chunks_exact(classes).zip(dx.chunks_exact_mut(classes));
        for (((y, dx), &g), &label) in rows.zip(g).zip(&targets.labels[first..]) {
            let (own, all) = targets.parts(label as usize);
            exponentials::<T, A>(y, T::ZERO, Some(dx));
            let total = own + all * weight_sum;
            match targets.weights {
                Some(w) => dx.iter_mut().zip(w).for_each(|(dx, &w)| *dx = g * (*dx * total - all * w)),
                None => dx.iter_mut().for_each(|dx| *dx = g * (*dx * total - all)),
            }
            let label = label as usize;
            // With smoothing the others do not all have one sign.
            if all == T::ZERO && y[label] > T::from_f64(LN_SURE) {
                balance::<T, A>(dx, label);
            } else {
                dx[label] = dx[label] - g * own;
            }
        }
    }
}
