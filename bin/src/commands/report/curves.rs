//! Curves over the steps: the mean over the seeds of a group, with a band.

use std::collections::BTreeMap;

use clap::ValueEnum;

use super::collect::Run;
use super::groups::{Group, evaluated_on};
use crate::picture::Picture;
use crate::picture::bands::{Place, Series, chart};
use crate::statistics::summary;

/// The largest number of points of a training curve; longer ones are averaged over blocks of steps.
const POINTS: u64 = 150;

/// The band around a mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Band {
    /// From the smallest to the largest value of the seeds.
    #[default]
    Range,
    /// One standard deviation to either side.
    Sd,
}

impl Band {
    /// The band as text.
    pub fn words(self) -> &'static str {
        match self {
            Band::Range => "from the smallest to the largest value of the seeds",
            Band::Sd => "one standard deviation of the seeds to either side",
        }
    }
}

/// Steps and values of a run.
pub type Readings = Vec<(u64, f64)>;

/// The number of steps that a point of the training curves is the mean of.
pub fn block(groups: &[Group]) -> u64 {
    block_of(groups.iter().flat_map(|g| &g.runs).map(Run::done))
}

/// The same for curves of so many steps.
pub fn block_of(steps: impl Iterator<Item = u64>) -> u64 {
    steps.max().unwrap_or(0).div_ceil(POINTS).max(1)
}

/// The curves that have points: file name and picture.
pub fn pictures(groups: &[Group], band: Band) -> Vec<(&'static str, Picture)> {
    let size = block(groups);
    let test = |what: fn(&super::collect::EvalPoint) -> f64| {
        move |run: &Run| -> Readings { run.evaluations.iter().map(|t| (t.step, what(t))).collect() }
    };
    let spread = |what: fn(&super::collect::EnergyPoint) -> f64| {
        move |run: &Run| -> Readings { run.energies.iter().map(|s| (s.step, what(s))).collect() }
    };
    let train = |what: fn(&super::collect::StepPoint) -> f64| {
        move |run: &Run| -> Readings { averaged(run.steps_trained.iter().map(|t| (t.step, what(t))), size) }
    };
    let angle = |run: &Run| -> Readings {
        let least = |layers: &[super::collect::Layer]| {
            layers.iter().filter_map(|l| l.smallest_angle).fold(f64::INFINITY, f64::min).to_degrees()
        };
        run.layers.iter().map(|(step, layers)| (*step, least(layers))).collect()
    };
    let penalised = groups.iter().flat_map(|g| &g.runs).flat_map(|r| &r.steps_trained).any(|t| t.reg != 0.0);
    type Of<'a> = Box<dyn Fn(&Run) -> Readings + 'a>;
    let [loss, accuracy] = match evaluated_on(groups) {
        "test" => [("loss-test", "Test loss"), ("accuracy-test", "Test accuracy, %")],
        "validation" => {
            [("loss-validation", "Validation loss"), ("accuracy-validation", "Validation accuracy, %")]
        }
        _ => [
            ("loss-evaluation", "Test or validation loss"),
            ("accuracy-evaluation", "Test or validation accuracy, %"),
        ],
    };
    let all: Vec<(&'static str, &str, bool, Of)> = vec![
        ("loss-training", "Training loss (data term)", true, Box::new(train(|t| t.fit))),
        (loss.0, loss.1, true, Box::new(test(|t| t.loss))),
        (
            "accuracy-training",
            "Training accuracy, %",
            false,
            Box::new(train(|t| 100.0 * t.acc.unwrap_or(f64::NAN))),
        ),
        (accuracy.0, accuracy.1, false, Box::new(test(|t| 100.0 * t.acc.unwrap_or(f64::NAN)))),
        ("mae", "Mean absolute error of evaluations", true, Box::new(test(|t| t.mae.unwrap_or(f64::NAN)))),
        ("r2", "R2 of evaluations", false, Box::new(test(|t| t.r2.unwrap_or(f64::NAN)))),
        ("energy-full", "Energy in full space, mean of the layers", false, Box::new(spread(|s| s.full))),
        (
            "energy-half-space",
            "Energy in half-space, mean of the layers",
            false,
            Box::new(spread(|s| s.half_space)),
        ),
        ("angle", "Smallest angle in any layer, degrees", false, Box::new(angle)),
        ("penalty", "Weighted regulariser", true, Box::new(train(|t| t.reg))),
    ];
    let drawn = |(name, title, log, of): (&'static str, &str, bool, Of)| {
        if name == "penalty" && !penalised {
            return None;
        }
        let series: Vec<Series> = groups
            .iter()
            .map(|group| Series {
                name: group.name.clone(),
                colour: group.colour,
                places: places(&group.runs.iter().map(&of).collect::<Vec<_>>(), band),
            })
            .filter(|s| name != "penalty" || s.places.iter().any(|p| p.middle != 0.0))
            .collect();
        Some((name, chart(title, "step", log, &series)?))
    };
    all.into_iter().filter_map(drawn).collect()
}

/// The means over blocks of steps, at the middle of each block.
pub fn averaged(readings: impl Iterator<Item = (u64, f64)>, size: u64) -> Readings {
    let mut blocks: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for (step, value) in readings.filter(|(_, value)| value.is_finite()) {
        blocks.entry(step / size).or_default().push(value);
    }
    blocks.into_iter().map(|(i, values)| (i * size + size / 2, summary(&values).mean)).collect()
}

/// Mean and band at each step that a seed has.
pub fn places(seeds: &[Readings], band: Band) -> Vec<Place> {
    let mut steps: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for &(step, value) in seeds.iter().flatten().filter(|(_, value)| value.is_finite()) {
        steps.entry(step).or_default().push(value);
    }
    let place = |(step, values): (u64, Vec<f64>)| {
        let s = summary(&values);
        let [low, high] = match band {
            Band::Range => values.iter().fold([s.mean; 2], |[low, high], v| [low.min(*v), high.max(*v)]),
            Band::Sd => [s.mean - s.sd, s.mean + s.sd],
        };
        Place { x: step as f64, middle: s.mean, low, high }
    };
    steps.into_iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_band_is_what_it_says() {
        let seeds = [vec![(0, 1.0), (5, 3.0)], vec![(0, 3.0)]];
        let first = |band| places(&seeds, band)[0];
        assert_eq!(first(Band::Range), Place { x: 0.0, middle: 2.0, low: 1.0, high: 3.0 });
        let sd = 2f64.sqrt();
        assert_eq!(first(Band::Sd), Place { x: 0.0, middle: 2.0, low: 2.0 - sd, high: 2.0 + sd });
        assert_eq!(places(&seeds, Band::Sd)[1], Place { x: 5.0, middle: 3.0, low: 3.0, high: 3.0 });
        assert_eq!(averaged([(0, 1.0), (1, 3.0), (2, 7.0)].into_iter(), 2), [(1, 2.0), (3, 7.0)]);
    }
}
