//! Curves of what was watched.

use serde_json::Value;

use crate::plot::{Curve, Panel, figure};

/// A number of the log, what its panel is called, and whether its logarithm is drawn.
const PANELS: [(&str, &str, bool); 9] = [
    ("grad", "Gradient norm, log10", true),
    ("update", "Update for the weights' length, log10", true),
    ("dead", "Dead units, share", false),
    ("noise", "Gradient noise scale in images, log10", true),
    ("sharpness", "Largest eigenvalue of the Hessian, log10", true),
    ("cosine_previous", "Cosine with the gradient before", false),
    ("cosine_reg", "Cosine of the data's gradient with the regulariser's", false),
    ("full", "Mean energy, full space", false),
    ("smallest_angle", "Smallest angle in radians", false),
];

/// The picture of a log's watched steps, the network first and then its layers; None if there are none.
pub fn of(log: &[Value]) -> Option<String> {
    let watched: Vec<&Value> = log.iter().filter(|line| line["watch"].is_object()).collect();
    let first = &watched.first()?["watch"]["layers"];
    let names: Vec<&str> = first.as_array()?.iter().filter_map(|layer| layer["name"].as_str()).collect();
    let panel = |&(key, title, logarithm): &(&str, &'static str, bool)| {
        let curve = |name: &str, at: &dyn Fn(&Value) -> Option<f64>| {
            let value = |line: &Value| at(&line["watch"]).map(|v| if logarithm { v.log10() } else { v });
            let points = watched.iter().filter_map(|line| Some((line["step"].as_f64()?, value(line)?)));
            Curve { name: name.into(), points: points.collect(), spread: Vec::new() }
        };
        let whole = curve("network", &|watch| watch["all"][key].as_f64());
        let layer = |name: &&str| {
            curve(name, &|watch| {
                watch["layers"].as_array()?.iter().find(|l| l["name"] == **name)?[key].as_f64()
            })
        };
        Panel { title, curves: std::iter::once(whole).chain(names.iter().map(layer)).collect() }
    };
    figure("step", &PANELS.iter().map(panel).collect::<Vec<_>>())
}
