//! T5: angles under Gaussian projections.
//!
//! For unit x, y with cosine rho and e in (0, 1): if |Px|^2, |Py|^2 and |P(x - y)|^2 keep to a factor 1 +- e of what
//! they were, then
//!
//!   (1+e)/(1-e) rho - 2e/(1-e)  <=  cos(Px, Py)  <=  (1-e)/(1+e) rho + 1/sqrt(1-e^2) - (1-e)/(1+e)
//!
//! and they do with probability at least 1 - 6 exp(-(k/2) (e^2/2 - e^3/3)).
//!
//! From cos = (|Px|^2 + |Py|^2 - |P(x-y)|^2) / (2 |Px| |Py|).
//!
//! Source: Lin et al., CVPR 2020 (angle preservation, Gaussian), whose upper
//! bound differs from this one from the third order in e on; the tails are those of Dasgupta and Gupta (2003).

use super::sample::{Mean, Projected, pair, project};
use super::{Check, Relation, Setting};
use crate::projection::Projections;

/// The bounds on the cosine.
fn interval(rho: f64, e: f64) -> (f64, f64) {
    let low = (1.0 + e) / (1.0 - e) * rho - 2.0 * e / (1.0 - e);
    let ratio = (1.0 - e) / (1.0 + e);
    (low, ratio * rho + 1.0 / (1.0 - e * e).sqrt() - ratio)
}

/// The probability bound of the theorem.
fn promise(k: usize, e: f64) -> f64 {
    1.0 - 6.0 * (-0.5 * k as f64 * (e * e / 2.0 - e.powi(3) / 3.0)).exp()
}

/// Runs the checks.
pub(super) fn run(setting: Setting) -> Vec<Check> {
    let grid = setting.pick(
        vec![(60, 0.6, 0.7), (100, 0.5, 0.0), (250, 0.3, 0.95)],
        vec![
            (60, 0.6, 0.7),
            (60, 0.6, -0.7),
            (100, 0.5, 0.0),
            (100, 0.5, 0.9),
            (200, 0.5, 0.3),
            (250, 0.3, 0.95),
            (250, 0.3, -0.5),
            (1000, 0.15, 0.5),
        ],
    );
    let samples = setting.pick(10_000, 100_000);
    let mut checks = Vec::new();
    for (k, e, rho) in grid {
        let both = pair(32, rho, setting.key(&format!("T5 {rho}")));
        let gaussian = Projections { k, c: 100, seed: setting.seed, ..Projections::default() };
        checks.extend(of(k, e, rho, &project(&both, gaussian, samples), &interval));
    }
    for e in setting.pick(vec![0.1, 0.5], vec![0.01, 0.1, 0.3, 0.5, 0.9]) {
        checks.push(implication(e, &interval));
    }
    checks
}

/// Whether the three squared lengths keep to a factor 1 +- e.
fn kept(p: &Projected, rho: f64, e: f64) -> bool {
    let difference = (p.xx + p.yy - 2.0 * p.xy) / (2.0 - 2.0 * rho);
    [p.xx, p.yy, difference].iter().all(|ratio| (ratio - 1.0).abs() <= e)
}

type Interval = dyn Fn(f64, f64) -> (f64, f64);

/// The probability of the events, the probability of the interval, and how much wider it is than necessary.
fn of(k: usize, e: f64, rho: f64, found: &[Projected], interval: &Interval) -> [Check; 3] {
    let case = format!("k = {k}, e = {e}, rho = {rho}");
    let (low, high) = interval(rho, e);
    let events = Mean::share(found.iter().map(|p| kept(p, rho, e)));
    let inside = Mean::share(found.iter().map(|p| (low..=high).contains(&p.cosine())));
    // The narrowest interval with equal tail probabilities and the guaranteed probability.
    let mut cosines: Vec<f64> = found.iter().map(|p| p.cosine()).collect();
    cosines.sort_by(f64::total_cmp);
    let outside = (0.5 * (1.0 - promise(k, e)) * found.len() as f64) as usize;
    let needed = cosines[cosines.len() - 1 - outside] - cosines[outside];
    let bound = |case, mean| Check::mean_bound("T5", case, mean, Relation::AtLeast, promise(k, e), 0.02);
    [
        bound(format!("lengths kept, {case}"), events),
        bound(format!("cosine in its interval, {case}"), inside),
        Check::bound(
            "T5",
            format!("width needed for the promise, {case}"),
            needed,
            Relation::AtMost,
            high - low,
            0.0,
        ),
    ]
}

/// By how much the cosine exceeds the bounds, at most, over all squared lengths that keep to e: on a grid with its
/// corners.
fn implication(e: f64, interval: &Interval) -> Check {
    const POINTS: i32 = 8;
    let factors: Vec<f64> =
        (0..=POINTS).map(|i| 1.0 - e + 2.0 * e * f64::from(i) / f64::from(POINTS)).collect();
    let mut excess = f64::NEG_INFINITY;
    for rho in (-10..=10).map(|i| f64::from(i) / 10.0) {
        let (low, high) = interval(rho, e);
        for xx in &factors {
            for yy in &factors {
                for c in &factors {
                    let cosine = (xx + yy - c * (2.0 - 2.0 * rho)) / (2.0 * (xx * yy).sqrt());
                    excess = excess.max(low - cosine).max(cosine - high);
                }
            }
        }
    }
    let case = format!("excess over the bounds where lengths are kept, e = {e}");
    Check::bound("T5", case, excess, Relation::AtMost, 0.0, 1e-12)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tighter_bounds_and_fewer_dimensions_fail() {
        let both = pair(32, 0.7, Setting { seed: 5, full: false }.key("control"));
        let draw = |k| project(&both, Projections { k, c: 100, seed: 5, ..Projections::default() }, 2000);
        let passes = |found: &[Projected], interval: &Interval| {
            of(100, 0.5, 0.7, found, interval).map(|check| check.pass)
        };
        assert_eq!(passes(&draw(100), &interval), [true; 3]);
        // Ten dimensions where a hundred are claimed.
        assert!(!passes(&draw(10), &interval)[0]);
        // Bounds without their spread.
        let tight = |rho: f64, e: f64| (rho - 0.1 * e, rho + 0.1 * e);
        assert_eq!(passes(&draw(100), &tight), [true, false, false]);
        assert!(implication(0.5, &interval).pass && !implication(0.5, &tight).pass);
        // Even a little less on one side.
        let low = |rho: f64, e: f64| (interval(rho, e).0 + 1e-6, interval(rho, e).1);
        assert!(!implication(0.5, &low).pass);
        let high = |rho: f64, e: f64| (interval(rho, e).0, interval(rho, e).1 - 0.2);
        assert!(!implication(0.5, &high).pass);
    }
}
