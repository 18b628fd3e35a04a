//! Runs that differ in nothing but their seed, as groups with short names.

use std::collections::BTreeSet;

use super::collect::Run;
use crate::config::kinds::{self, Class, Part};
use crate::picture::{Colour, chart};
use crate::plot;

/// Whether runs of a group may differ in a setting: the steps do not depend on it, it is the seed, or a preset, whose
/// values are settings of their own.
fn free(key: &str) -> bool {
    let class = kinds::part(key).map(Part::class);
    matches!(class, Some(Class::Machine | Class::Log)) || ["seed", "preset"].contains(&key)
}

/// Runs of one configuration, by seed.
pub struct Group {
    pub name: String,
    pub colour: Colour,
    /// The settings that all its runs share.
    pub settings: toml::Table,
    pub runs: Vec<Run>,
}

impl Group {
    /// The runs that count in a table: those that are finished, or all if none is.
    pub fn counted(&self) -> Vec<&Run> {
        let finished: Vec<&Run> = self.runs.iter().filter(|run| run.finished).collect();
        if finished.is_empty() { self.runs.iter().collect() } else { finished }
    }

    /// Whether it has no regulariser.
    pub fn plain(&self) -> bool {
        text(&self.settings, "reg") == "none"
    }

    /// The settings that are not about the regulariser.
    pub fn beside(&self) -> Vec<(&String, &toml::Value)> {
        self.settings.iter().filter(|(key, _)| *key != "reg" && !key.starts_with("reg-")).collect()
    }
}

/// What runs were judged on: test examples, or training examples that were held out.
pub fn judge(groups: &[Group]) -> &'static str {
    let held_out = |group: &Group| {
        group.settings.get("hold-out").and_then(toml::Value::as_float).is_some_and(|s| s > 0.0)
    };
    match (groups.iter().all(held_out), groups.iter().any(held_out)) {
        (true, _) => "validation",
        (_, true) => "test or validation",
        _ => "test",
    }
}

/// A setting as a text; "-" where it is not set.
pub fn text(settings: &toml::Table, key: &str) -> String {
    match settings.get(key) {
        None => "-".into(),
        Some(toml::Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}

/// The groups: those without a regulariser first, otherwise in the order in which they came.
pub fn of_runs(runs: Vec<Run>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for run in runs {
        let settings: toml::Table = run.settings.clone().into_iter().filter(|(key, _)| !free(key)).collect();
        match groups.iter_mut().find(|group| group.settings == settings) {
            Some(group) => group.runs.push(run),
            None => groups.push(Group { name: String::new(), colour: [0; 3], settings, runs: vec![run] }),
        }
    }
    groups.sort_by_key(|group| !group.plain());
    let names = names(&groups);
    let count = groups.len();
    for (i, (group, name)) in groups.iter_mut().zip(names).enumerate() {
        group.runs.sort_by_key(Run::seed);
        group.name = name;
        group.colour = chart::colour(&plot::colour(i, count));
    }
    groups
}

/// The keys in which groups differ.
pub fn differing(groups: &[Group]) -> Vec<String> {
    let keys: BTreeSet<&String> = groups.iter().flat_map(|group| group.settings.keys()).collect();
    let differs =
        |key: &&&String| groups.iter().any(|g| g.settings.get(**key) != groups[0].settings.get(**key));
    keys.iter().filter(differs).map(|key| key.to_string()).collect()
}

/// The regulariser, and as many other settings as tell the groups apart.
fn names(groups: &[Group]) -> Vec<String> {
    let others = differing(groups).into_iter().filter(|key| key != "reg");
    // What users vary comes before what follows from it.
    let (follows, varied): (Vec<String>, Vec<String>) = others.partition(|key| key.starts_with("reg-"));
    let mut named: Vec<String> = groups.iter().map(|group| text(&group.settings, "reg")).collect();
    for key in varied.iter().chain(&follows) {
        let next: Vec<String> = groups
            .iter()
            .zip(&named)
            .map(|(group, name)| format!("{name}, {key} {}", text(&group.settings, key)))
            .collect();
        let distinct = |names: &[String]| names.iter().collect::<BTreeSet<_>>().len();
        if distinct(&next) > distinct(&named) {
            named = next;
        }
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(settings: &str) -> Group {
        let settings = toml::from_str(settings).unwrap();
        Group { name: String::new(), colour: [0; 3], settings, runs: Vec::new() }
    }

    #[test]
    fn names_say_as_much_as_is_needed() {
        let groups = ["reg = 'none'\nreg-head-weight = 0.0", "reg = 'rp'\nreg-head-weight = 1.0"].map(group);
        assert_eq!(names(&groups), ["none", "rp"]);
        let groups = ["reg = 'rp'\nwidth = 1\nlr = 0.1", "reg = 'rp'\nwidth = 2\nlr = 0.1"].map(group);
        assert_eq!(names(&groups), ["rp, width 1", "rp, width 2"]);
        assert_eq!(differing(&groups), ["width"]);
    }
}
