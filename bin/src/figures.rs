//! Which pictures a run and a comparison give.

use serde_json::Value;

use crate::plot::{Curve, Panel, figure};
use crate::statistics::summary;
use crate::watch;

/// A picture's file name and text.
pub type Picture = (&'static str, String);

/// A reading of something at a step.
type Reading = (f64, f64);

/// The pictures of a run, from the lines of its log.
pub fn of_run(log: &[Value]) -> Vec<Picture> {
    let curve = |name: &str, key: &str| {
        let points = log.iter().filter_map(|l| Some((l["step"].as_f64()?, l[key].as_f64()?))).collect();
        Curve { name: name.into(), points, spread: Vec::new() }
    };
    // A run with held-out images is judged on those.
    let held_out = log.iter().any(|line| line["val_loss"].is_number());
    let judged = |what: &str| match held_out {
        true => curve("validation", &format!("val_{what}")),
        false => curve("test", &format!("test_{what}")),
    };
    let panel = |title, curves| Panel { title, curves };
    // Real targets have no accuracy.
    let real = log.iter().any(|line| line["test_r2"].is_number() || line["val_r2"].is_number());
    let loss = if real { "Mean squared error" } else { "Cross-entropy" };
    let penalty = penalty(log);
    let mut pictures = drawn([
        ("loss.svg", vec![panel(loss, vec![curve("training", "fit"), judged("loss")])]),
        ("accuracy.svg", vec![panel("Accuracy", vec![curve("training", "acc"), judged("acc")])]),
        (
            "energy.svg",
            vec![
                panel("Mean energy of each layer, full space", layers(log, "full", 1.0)),
                panel("Mean energy of each layer, half-space", layers(log, "half_space", 1.0)),
                panel(&penalty, layers(log, "penalty", 1.0)),
            ],
        ),
        (
            "angle.svg",
            vec![panel(
                "Smallest angle between two neurons of a layer, degrees",
                layers(log, "smallest_angle", 1f64.to_degrees()),
            )],
        ),
    ]);
    pictures.extend(watch::picture::of(log).map(|svg| ("watch.svg", svg)));
    pictures
}

/// What the regulariser's own value of a layer is called: the title of its curves.
fn penalty(log: &[Value]) -> String {
    let layers = log.iter().filter_map(|line| line["layers"].as_array()).flatten();
    let mut names: Vec<&str> = layers.filter_map(|layer| layer["regulariser"].as_str()).collect();
    // Every measurement has the same; those of the hidden layers come first.
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(*name));
    format!("Penalty of each layer before its weight: {}", names.join(", "))
}

/// A curve a layer, in the order of the network, of a number that the log has of it.
fn layers(log: &[Value], key: &str, unit: f64) -> Vec<Curve> {
    let mut curves: Vec<Curve> = Vec::new();
    for line in log {
        let (Some(step), Some(layers)) = (line["step"].as_f64(), line["layers"].as_array()) else { continue };
        for (i, layer) in layers.iter().enumerate() {
            if i == curves.len() {
                let name = layer["name"].as_str().unwrap_or_default();
                let name = name.strip_suffix(".weight").unwrap_or(name).to_string();
                curves.push(Curve { name, points: Vec::new(), spread: Vec::new() });
            }
            curves[i].points.extend(layer[key].as_f64().map(|v| (step, v * unit)));
        }
    }
    curves
}

/// How a regulariser did over its seeds: its name, and readings a seed, all at the same steps.
pub struct Group<'a> {
    /// The regulariser.
    pub name: &'a str,
    /// Mean energies of the layers in full space.
    pub full: Vec<Vec<Reading>>,
    /// The same in half-space.
    pub half_space: Vec<Vec<Reading>>,
    /// Accuracies on the test set; of real targets losses.
    pub test: Vec<Vec<Reading>>,
}

/// One of a group's readings.
type Pick = for<'a> fn(&'a Group<'_>) -> &'a [Vec<Reading>];

/// The pictures of a comparison: means over seeds, and their standard deviations as bands.
/// `real` targets have a loss in place of the accuracy.
pub fn of_comparison(groups: &[Group], real: bool) -> Vec<Picture> {
    let seeds = groups.first().map_or(0, |group| group.full.len());
    let title = |what: &str| match seeds {
        1 => what.to_string(),
        _ => format!("{what}: mean of {seeds} seeds, one standard deviation to either side"),
    };
    let panel = |title, what: Pick| Panel {
        title,
        curves: groups.iter().map(|group| over_seeds(group.name, what(group))).collect(),
    };
    let (full, half) = (title("Energy in full space"), title("Energy in half-space"));
    let (file, test) = if real { ("loss.svg", "Test loss") } else { ("accuracy.svg", "Test accuracy") };
    let test = title(test);
    drawn([
        ("energy.svg", vec![panel(&full, |g| &g.full), panel(&half, |g| &g.half_space)]),
        (file, vec![panel(&test, |g| &g.test)]),
    ])
}

fn over_seeds(name: &str, seeds: &[Vec<Reading>]) -> Curve {
    let steps = seeds.first().map_or(0, Vec::len);
    let at = |i: usize| summary(&seeds.iter().map(|seed| seed[i].1).collect::<Vec<f64>>());
    Curve {
        name: name.into(),
        points: (0..steps).map(|i| (seeds[0][i].0, at(i).mean)).collect(),
        spread: if seeds.len() > 1 { (0..steps).map(|i| at(i).sd).collect() } else { Vec::new() },
    }
}

fn drawn<const N: usize>(pictures: [(&'static str, Vec<Panel>); N]) -> Vec<Picture> {
    let draw = |(name, panels): (&'static str, Vec<Panel>)| Some((name, figure("step", &panels)?));
    pictures.into_iter().filter_map(draw).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn layers_become_curves_and_missing_angles_gaps() {
        let layer = |name: &str, full: f64, angle: Option<f64>| json!({ "name": name, "full": full, "half_space": 1.0, "smallest_angle": angle });
        let log = [
            json!({ "step": 0, "test_acc": 0.1, "layers": [layer("a.weight", 0.5, Some(1.0)), layer("b", 0.6, None)] }),
            json!({ "step": 1, "loss": 2.0 }),
            json!({ "step": 2, "layers": [layer("a.weight", 0.4, Some(1.1)), layer("b", 0.7, None)] }),
        ];
        let curves = layers(&log, "full", 2.0);
        assert_eq!((curves[0].name.as_str(), curves[1].name.as_str()), ("a", "b"));
        assert_eq!(curves[0].points, [(0.0, 1.0), (2.0, 0.8)]);
        assert_eq!(layers(&log, "smallest_angle", 1.0)[1].points, []);
        let names: Vec<&str> = of_run(&log).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["accuracy.svg", "energy.svg", "angle.svg"]);
        // With a regulariser its own value is drawn, too.
        let panels = |log: &[Value]| of_run(log)[1].1.matches("font-size=\"15\"").count();
        let mut regularised = log.clone();
        regularised[0]["layers"][0]["regulariser"] = json!("rp");
        regularised[0]["layers"][0]["penalty"] = json!(0.5);
        assert_eq!((panels(&log), panels(&regularised)), (2, 3));
        assert_eq!(penalty(&regularised), "Penalty of each layer before its weight: rp");
    }

    #[test]
    fn seeds_become_a_mean_and_a_band() {
        let curve = over_seeds("a", &[vec![(0.0, 1.0), (5.0, 3.0)], vec![(0.0, 3.0), (5.0, 3.0)]]);
        assert_eq!(curve.points, [(0.0, 2.0), (5.0, 3.0)]);
        assert_eq!(curve.spread, [2f64.sqrt(), 0.0]);
        assert!(over_seeds("a", &[vec![(0.0, 1.0)]]).spread.is_empty());
    }
}
