//! Groups of runs that differ only in their seed, with short names.

use std::collections::{BTreeMap, BTreeSet};

use super::collect::Run;
use super::settings;
use crate::config::kinds::{self, Class, KINDS, Kind, Part};
use crate::picture::{Colour, chart};
use crate::plot;
use crate::statistics::Measure;

/// Whether the runs of a group may differ in a setting: the seed, settings of machine and log, and the name of a preset,
/// whose values are settings of their own.
fn may_differ(key: &str) -> bool {
    let class = kinds::part(key).map(Part::class);
    matches!(class, Some(Class::Machine | Class::Log)) || ["seed", "preset"].contains(&key)
}

/// The settings that a baseline lacks, the first one first, each with its plain value.
const PLAIN: [(&str, &str); 7] = [
    ("reg", "none"),
    ("method", "plain"),
    ("attack", "none"),
    ("input-penalty", "none"),
    ("spectral", "none"),
    ("loss", "cross-entropy"),
    ("teacher", ""),
];

/// The runs of one configuration, in the order of their seeds.
pub struct Group {
    pub name: String,
    pub colour: Colour,
    /// The settings of all its runs, see [`settings::canonical`].
    pub settings: toml::Table,
    pub runs: Vec<Run>,
}

impl Group {
    /// The runs whose results are in the tables: the finished ones, or all if none is finished.
    pub fn counted(&self) -> Vec<&Run> {
        let finished: Vec<&Run> = self.runs.iter().filter(|run| run.finished).collect();
        if finished.is_empty() { self.runs.iter().collect() } else { finished }
    }

    /// Its name and its settings.
    pub fn named(&self) -> Named<'_> {
        (&self.name, &self.settings)
    }

    /// Whether a setting of [`PLAIN`] has its plain value, which is also that of settings without it.
    fn is_plain(&self, (key, plain): (&str, &str)) -> bool {
        self.settings.get(key).is_none_or(|value| value.as_str() == Some(plain))
    }

    /// How many settings of [`PLAIN`] have another value.
    fn departures(&self) -> usize {
        PLAIN.iter().filter(|setting| !self.is_plain(**setting)).count()
    }

    /// The settings besides one of [`PLAIN`] and those that belong to it.
    fn besides(&self, key: &str) -> Vec<(&String, &toml::Value)> {
        let kind = KINDS.iter().find(|kind| kind.key == key);
        let belongs = |name: &str| {
            let within = |kind: &Kind| {
                name.strip_prefix(kind.prefix).is_some_and(|rest| rest.starts_with('-'))
                    || !kind.readers(name).is_empty()
            };
            name == key || kind.is_some_and(within)
        };
        self.settings.iter().filter(|(name, _)| !belongs(name)).collect()
    }

    /// The group that it is compared with: of the settings of [`PLAIN`], in their order, the first that is not plain here
    /// and whose plain value another group has with all other settings the same.
    pub fn baseline<'a>(&self, groups: &'a [Group]) -> Option<&'a Group> {
        let without = |&setting: &(&str, &str)| {
            let rest = self.besides(setting.0);
            groups.iter().find(|other| other.is_plain(setting) && other.besides(setting.0) == rest)
        };
        PLAIN.iter().filter(|setting| !self.is_plain(**setting)).find_map(without)
    }

    /// The measure of its targets; None if no run has a line in its log.
    fn measure(&self) -> Option<Measure> {
        self.runs.iter().find_map(Run::measure)
    }
}

/// The measures of the groups, accuracy first, with the groups of each. A group without a log is with the first ones.
pub fn by_measure(groups: &[Group]) -> Vec<(Measure, Vec<&Group>)> {
    let known: Vec<Option<Measure>> = groups.iter().map(Group::measure).collect();
    let present = [Measure::Accuracy, Measure::Loss].into_iter().filter(|m| known.contains(&Some(*m)));
    let mut measures: Vec<Measure> = present.collect();
    if measures.is_empty() {
        measures.push(Measure::Accuracy);
    }
    let first = measures[0];
    let of = |measure| {
        let zipped = groups.iter().zip(&known);
        zipped.filter(|(_, known)| known.unwrap_or(first) == measure).map(|(group, _)| group).collect()
    };
    measures.iter().map(|&measure| (measure, of(measure))).collect()
}

/// What runs were evaluated on: the test set, or held-out training examples ("validation").
pub fn evaluated_on<'a>(groups: impl IntoIterator<Item = &'a Group>) -> &'static str {
    let held_out = |group: &Group| {
        group.settings.get("hold-out").and_then(toml::Value::as_float).is_some_and(|s| s > 0.0)
    };
    let kinds: BTreeSet<bool> = groups.into_iter().map(held_out).collect();
    match (kinds.contains(&true), kinds.contains(&false)) {
        (true, false) => "validation",
        (true, true) => "test or validation",
        _ => "test",
    }
}

/// A setting as text; "-" if it is not set.
pub fn text(settings: &toml::Table, key: &str) -> String {
    match settings.get(key) {
        None => "-".into(),
        Some(toml::Value::String(text)) => text.clone(),
        Some(toml::Value::Float(number)) => comhe::short(*number),
        Some(value) => value.to_string(),
    }
}

/// The groups, the plainest first, and those that are equally plain in the order of their first runs.
pub fn of_runs(runs: Vec<Run>) -> Vec<Group> {
    let mut as_written: Vec<(toml::Table, Vec<Run>)> = Vec::new();
    for run in runs {
        let settings = fixed(run.settings.clone());
        match as_written.iter_mut().find(|(known, _)| *known == settings) {
            Some((_, runs)) => runs.push(run),
            None => as_written.push((settings, vec![run])),
        }
    }
    let mut groups: Vec<Group> = Vec::new();
    for (written, runs) in as_written {
        let measure = runs.iter().find_map(Run::measure);
        let canonical = |config| settings::canonical(config, measure).ok().map(fixed);
        let settings = runs[0].config.as_ref().ok().and_then(canonical).unwrap_or(written);
        match groups.iter_mut().find(|group| group.settings == settings) {
            Some(group) => group.runs.extend(runs),
            None => groups.push(Group { name: String::new(), colour: [0; 3], settings, runs }),
        }
    }
    groups.sort_by_key(Group::departures);
    for group in &mut groups {
        group.runs = one_per_seed(std::mem::take(&mut group.runs));
    }
    let names = names(&groups.iter().map(|group| &group.settings).collect::<Vec<_>>(), &["reg"]);
    let count = groups.len();
    for (i, (group, name)) in groups.iter_mut().zip(names).enumerate() {
        group.name = name;
        group.colour = chart::colour(&plot::colour(i, count));
    }
    groups
}

/// The settings that the runs of a group share.
fn fixed(settings: toml::Table) -> toml::Table {
    settings.into_iter().filter(|(key, _)| !may_differ(key)).collect()
}

/// One run per seed, in the order of the seeds: of several runs a finished one, or the longest. They are the same run in
/// several folders, and more of them are no further evidence. A note names those that are left out.
fn one_per_seed(runs: Vec<Run>) -> Vec<Run> {
    let mut kept: BTreeMap<i64, Run> = BTreeMap::new();
    for mut run in runs {
        let seed = run.seed();
        if let Some(mut other) = kept.remove(&seed) {
            // Runs of a comparison have no weights.
            let rank = |run: &Run| (run.finished, !run.of_comparison, run.done());
            if rank(&other) >= rank(&run) {
                std::mem::swap(&mut run, &mut other);
            }
            let name = if other.of_comparison { other.name } else { other.folder.display().to_string() };
            run.notes
                .push(format!("{name} has the same settings and the same seed; only this run is counted"));
            run.notes.extend(other.notes.into_iter().filter(|note| note.contains("the same seed")));
        }
        kept.insert(seed, run);
    }
    kept.into_values().collect()
}

/// A group's name and settings.
pub type Named<'a> = (&'a str, &'a toml::Table);

/// The keys in which groups differ. A setting that some groups do not read, since it belongs to a regulariser or method
/// for example, differs if those that read it have different values.
pub fn differing(groups: &[Named]) -> Vec<String> {
    let keys: BTreeSet<&String> = groups.iter().flat_map(|(_, settings)| settings.keys()).collect();
    let differs = |key: &&&String| {
        let mut values: Vec<Option<&toml::Value>> = groups.iter().map(|(_, s)| s.get(**key)).collect();
        if kinds::is_conditional(key) {
            values.retain(Option::is_some);
        }
        values.iter().any(|value| *value != values[0])
    };
    keys.iter().filter(differs).map(|key| key.to_string()).collect()
}

/// Names for groups: the value of the first of these keys where it differs, then the other settings that are needed to
/// distinguish them, those of `first` before others.
pub fn names(all: &[&toml::Table], first: &[&str]) -> Vec<String> {
    let unnamed: Vec<Named> = all.iter().map(|settings| ("", *settings)).collect();
    let mut others = differing(&unnamed);
    let leading: Vec<String> = all.iter().map(|settings| text(settings, first[0])).collect();
    let mut named = match others.iter().any(|key| key == first[0]) {
        true => leading.clone(),
        false => vec![String::new(); all.len()],
    };
    others.retain(|key| key != first[0]);
    // The settings of the first come last, since they often follow from its name.
    let own = format!("{}-", first[0]);
    let place = |key: &String| first.iter().position(|name| name == key).unwrap_or(first.len());
    others.sort_by_key(|key| (key.starts_with(&own), place(key)));
    for key in &others {
        let longer = |(settings, name): (&&toml::Table, &String)| {
            let part = format!("{key} {}", text(settings, key));
            if name.is_empty() { part } else { format!("{name}, {part}") }
        };
        let next: Vec<String> = all.iter().zip(&named).map(longer).collect();
        let distinct = |names: &[String]| names.iter().collect::<BTreeSet<_>>().len();
        if distinct(&next) > distinct(&named) {
            named = next;
        }
    }
    // A single group has the name of the first.
    named.into_iter().zip(leading).map(|(name, lead)| if name.is_empty() { lead } else { name }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(settings: &str) -> Group {
        let settings = toml::from_str(settings).unwrap();
        Group { name: String::new(), colour: [0; 3], settings, runs: Vec::new() }
    }

    fn named(groups: &[Group]) -> Vec<String> {
        names(&groups.iter().map(|group| &group.settings).collect::<Vec<_>>(), &["reg"])
    }

    #[test]
    fn names_say_as_much_as_is_needed() {
        let groups = ["reg = 'none'\nreg-head-weight = 0.0", "reg = 'rp'\nreg-head-weight = 1.0"].map(group);
        assert_eq!(named(&groups), ["none", "rp"]);
        let groups = ["reg = 'rp'\nwidth = 1\nlr = 0.1", "reg = 'rp'\nwidth = 2\nlr = 0.1"].map(group);
        assert_eq!(named(&groups), ["width 1", "width 2"]);
        assert_eq!(differing(&groups.iter().map(Group::named).collect::<Vec<_>>()), ["width"]);
        assert_eq!(named(&groups[..1]), ["rp"]);
        let groups =
            ["reg = 'rp'\nlearner = 'a'\ntask = 'x'", "reg = 'rp'\nlearner = 'b'\ntask = 'y'"].map(group);
        let settings: Vec<&toml::Table> = groups.iter().map(|group| &group.settings).collect();
        assert_eq!(names(&settings, &["reg", "task", "learner"]), ["task x", "task y"]);
    }

    #[test]
    fn a_baseline_lacks_one_thing() {
        let groups = [
            "reg = 'none'\nmethod = 'plain'\nloss = 'cross-entropy'\nlabel-smoothing = 0.0",
            "reg = 'rp'\nreg-k = 3\nmethod = 'plain'\nloss = 'cross-entropy'\nlabel-smoothing = 0.0",
            "reg = 'none'\nmethod = 'sam'\nmethod-eps = 0.05\nbn-stats = 'clean'\nloss = 'cross-entropy'\nlabel-smoothing = 0.0",
            "reg = 'rp'\nreg-k = 3\nmethod = 'sam'\nmethod-eps = 0.1\nloss = 'cross-entropy'\nlabel-smoothing = 0.0",
            "reg = 'none'\nmethod = 'plain'\nloss = 'isda'\nisda-lambda = 0.5",
            "reg = 'none'\nmethod = 'plain'\nloss = 'cross-entropy'\nlabel-smoothing = 0.0\nteacher = ['a']",
            "reg = 'none'\nmethod = 'sam'\nloss = 'cross-entropy'\nlabel-smoothing = 0.0\nwidth = 2",
        ]
        .map(group);
        let of = |i: usize| {
            let found: &Group = groups[i].baseline(&groups)?;
            groups.iter().position(|other| std::ptr::eq(other, found))
        };
        // Without a partner in regulariser the method is taken away; other settings have no plain value.
        assert_eq!([0, 1, 2, 3, 4, 5, 6].map(of), [None, Some(0), Some(0), Some(1), Some(0), Some(0), None]);
    }
}
