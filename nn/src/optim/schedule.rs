//! The learning rate as a function of the step.

use std::f64::consts::PI;

/// A learning-rate schedule: a pure function of the step, so that a resumed run needs only the step number.
///
/// ```
/// use nn::Schedule;
/// let schedule = Schedule::Cosine { steps: 100, min: 0.0 }.warmup(10);
/// assert_eq!(schedule.lr(0.1, 50), 0.05);
/// assert!(schedule.lr(0.1, 0) < 0.011);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Schedule {
    /// The base rate throughout.
    Constant,
    /// The base rate, times `gamma` from each milestone on.
    Step {
        /// The steps at which the rate is multiplied by `gamma`.
        milestones: Vec<u64>,
        /// The factor at each.
        gamma: f64,
    },
    /// Half a cosine from the base rate at step 0 down to `min` at `steps` and after
    /// (Loshchilov and Hutter 2017, arXiv 1608.03983).
    Cosine {
        /// Where the minimum is reached.
        steps: u64,
        /// The minimum.
        min: f64,
    },
    /// One cycle (Smith and Topin 2018, arXiv 1708.07120) in PyTorch's form: half a cosine from base /
    /// `start_div` up to the base rate, which is the peak, then half a cosine down to base / `start_div` /
    /// `end_div` at the last step.
    OneCycle {
        /// The number of steps of the cycle.
        steps: u64,
        /// The fraction of the steps with an increasing rate.
        up: f64,
        /// The ratio of the peak to the initial rate.
        start_div: f64,
        /// The ratio of the initial to the final rate.
        end_div: f64,
    },
    /// Another schedule whose first steps are scaled by (step + 1) / `steps`.
    Warmup {
        /// The number of scaled steps.
        steps: u64,
        /// The schedule that is scaled.
        then: Box<Schedule>,
    },
}

impl Schedule {
    /// One cycle with PyTorch's settings: 30 % up, from peak / 25, down to peak / 250,000.
    pub fn one_cycle(steps: u64) -> Schedule {
        Schedule::OneCycle { steps, up: 0.3, start_div: 25.0, end_div: 1e4 }
    }

    /// This schedule with a linear warm-up. Milestones and lengths are still counted from step 0.
    pub fn warmup(self, steps: u64) -> Schedule {
        Schedule::Warmup { steps, then: Box::new(self) }
    }

    /// The learning rate of step `step` (from 0 on) for a base rate.
    pub fn lr(&self, base: f64, step: u64) -> f64 {
        match self {
            Schedule::Constant => base,
            Schedule::Step { milestones, gamma } => {
                let passed = milestones.iter().filter(|&&m| m <= step).count();
                base * gamma.powi(passed as i32)
            }
            Schedule::Cosine { steps, min } => half_cosine(base, *min, step as f64 / (*steps).max(1) as f64),
            Schedule::OneCycle { steps, up, start_div, end_div } => {
                let start = base / start_div;
                let top = up * *steps as f64 - 1.0;
                let last = (*steps).max(1) as f64 - 1.0;
                let step = (step as f64).min(last);
                if step <= top {
                    half_cosine(start, base, step / top)
                } else {
                    half_cosine(base, start / end_div, (step - top) / (last - top))
                }
            }
            Schedule::Warmup { steps, then } => {
                let rate = then.lr(base, step);
                if step < *steps { rate * (step + 1) as f64 / *steps as f64 } else { rate }
            }
        }
    }
}

/// From `a` at t = 0 to `b` at t = 1 and after, exactly at both ends.
fn half_cosine(a: f64, b: f64, t: f64) -> f64 {
    let cos = (PI * t.min(1.0)).cos();
    (a * (1.0 + cos) + b * (1.0 - cos)) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milestones_lower_the_rate_from_their_step_on() {
        let s = Schedule::Step { milestones: vec![10, 20], gamma: 0.1 };
        let rates = [0, 9, 10, 19, 20, 1000].map(|step| s.lr(1.0, step));
        let expected = [1.0, 1.0, 0.1, 0.1, 0.01, 0.01];
        assert!(rates.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-15));
    }

    #[test]
    fn ends_hold() {
        let cosine = Schedule::Cosine { steps: 10, min: 0.01 };
        assert_eq!([0, 10, 11, u64::MAX].map(|s| cosine.lr(0.1, s)), [0.1, 0.01, 0.01, 0.01]);
        let cycle = Schedule::one_cycle(100);
        assert_eq!([0, 29, 99, 500].map(|s| cycle.lr(1.0, s)), [0.04, 1.0, 4e-6, 4e-6]);
        for degenerate in
            [Schedule::Cosine { steps: 0, min: 0.0 }, Schedule::one_cycle(1), Schedule::one_cycle(0)]
        {
            assert!((0..3).all(|s| degenerate.lr(0.1, s).is_finite()), "{degenerate:?}");
        }
    }

    #[test]
    fn warm_up_scales_what_is_behind_it() {
        let s = Schedule::Step { milestones: vec![2], gamma: 0.5 }.warmup(4);
        assert_eq!([0, 1, 2, 3, 4].map(|step| s.lr(1.0, step)), [0.25, 0.5, 0.375, 0.5, 0.5]);
    }
}
