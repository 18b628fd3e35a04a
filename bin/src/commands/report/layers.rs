//! Heat maps of the layers over the steps, one per group, of the means over its seeds.

use super::collect::Layer;
use super::groups::Group;
use crate::picture::Picture;
use crate::picture::heat::{self, Map};

/// Energies and smallest angles: file name and picture.
pub fn pictures(groups: &[Group]) -> Vec<(&'static str, Picture)> {
    let of = |what: fn(&Layer) -> Option<f64>| groups.iter().map(|g| map(g, what)).collect::<Vec<Map>>();
    let energy =
        heat::picture("Mean energy of each layer, full space", &of(|l| l.full), |v| format!("{v:.3}"));
    let angle = heat::picture(
        "Smallest angle of each layer, degrees",
        &of(|l| l.smallest_angle.map(f64::to_degrees)),
        |v| format!("{v:.1}"),
    );
    [("layers-energy", energy), ("layers-angle", angle)]
        .into_iter()
        .filter_map(|(name, picture)| Some((name, picture?)))
        .collect()
}

fn map(group: &Group, what: fn(&Layer) -> Option<f64>) -> Map {
    let mut steps: Vec<u64> =
        group.runs.iter().flat_map(|r| r.layers.iter().map(|(step, _)| *step)).collect();
    steps.sort_unstable();
    steps.dedup();
    let mut rows: Vec<String> = Vec::new();
    for layer in group.runs.iter().flat_map(|r| &r.layers).flat_map(|(_, layers)| layers) {
        if !rows.contains(&layer.name) {
            rows.push(layer.name.clone());
        }
    }
    let value = |row: &String, step: u64| {
        let at = group.runs.iter().flat_map(|r| &r.layers).filter(|(s, _)| *s == step);
        let found: Vec<f64> =
            at.flat_map(|(_, layers)| layers).filter(|l| l.name == *row).filter_map(what).collect();
        (!found.is_empty()).then(|| found.iter().sum::<f64>() / found.len() as f64)
    };
    let values = rows.iter().map(|row| steps.iter().map(|&step| value(row, step)).collect()).collect();
    Map { name: group.name.clone(), rows, steps: steps.into_iter().map(|s| s as f64).collect(), values }
}
