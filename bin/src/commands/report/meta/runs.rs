//! The runs of `comhe meta`, and their groups.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use toml::Table as Settings;

use crate::commands::meta::{self, RESULT};
use crate::commands::report::collect::{log_lines, manifest_of, name_of};
use crate::commands::report::groups::{names, text};
use crate::config::meta::MetaConfig;
use crate::config::{self, Settings as _};
use crate::failure::Failure;
use crate::picture::{Colour, chart};
use crate::plot;
use crate::run_folder::FINAL;
use crate::statistics::Measure;

/// The losses of a step, after adaptation.
#[derive(Clone, Copy)]
pub struct Point {
    pub step: u64,
    pub query_loss: f64,
    pub query_acc: Option<f64>,
}

/// A run, as far as its folder has it.
pub struct MetaRun {
    pub folder: PathBuf,
    pub name: String,
    pub config: MetaConfig,
    pub points: Vec<Point>,
    /// What the test tasks gave; null before the end.
    pub result: Value,
    pub manifest: Value,
    pub finished: bool,
    pub notes: Vec<String>,
}

impl MetaRun {
    /// The run in a folder.
    pub fn read(folder: &Path) -> Result<MetaRun, Failure> {
        let config = meta::settings(folder)?.settled();
        let mut notes = Vec::new();
        let (lines, manifest) = (log_lines(folder, &mut notes), manifest_of(folder, &mut notes));
        let point = |line: &Value| {
            let (step, query_acc) = (line["step"].as_u64()?, line["query_acc"].as_f64());
            Some(Point { step, query_loss: line["query_loss"].as_f64()?, query_acc })
        };
        let finished = folder.join(FINAL).is_file();
        let result = fs::read_to_string(folder.join(RESULT)).ok().filter(|_| finished);
        let result: Value = result.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        if finished && !result["mean"].is_f64() {
            notes.push(format!("{RESULT} is missing or damaged; comhe meta --resume makes it again"));
        }
        let (points, name) = (lines.iter().filter_map(point).collect(), name_of(folder));
        Ok(MetaRun { folder: folder.into(), name, config, points, result, manifest, finished, notes })
    }

    /// The number of steps in the log.
    pub fn done(&self) -> u64 {
        self.points.last().map_or(0, |point| point.step + 1)
    }

    pub fn score(&self) -> Option<f64> {
        self.result["mean"].as_f64()
    }

    pub fn measure(&self) -> Measure {
        let classes = self.points.last().is_some_and(|point| point.query_acc.is_some());
        if classes { Measure::Accuracy } else { Measure::Loss }
    }
}

/// The runs that differ in their seed alone, in the order of their seeds.
pub struct MetaGroup {
    pub name: String,
    pub colour: Colour,
    pub settings: Settings,
    pub runs: Vec<MetaRun>,
}

impl MetaGroup {
    pub fn is_plain(&self) -> bool {
        text(&self.settings, "noise") == "none"
    }

    /// The settings besides those of the noise.
    pub fn other_settings(&self) -> Vec<(&String, &toml::Value)> {
        self.settings.iter().filter(|(key, _)| *key != "noise" && !key.starts_with("noise-")).collect()
    }

    pub fn measure(&self) -> Measure {
        self.runs[0].measure()
    }

    /// The scores of the finished runs, by seed.
    pub fn scores(&self) -> BTreeMap<u64, f64> {
        self.runs.iter().filter_map(|run| Some((run.config.seed, run.score()?))).collect()
    }
}

/// The settings that the runs of a group share, without those that have no effect.
fn shared(config: &MetaConfig) -> Result<Settings, Failure> {
    let mut settings = config::table(config)?;
    let may_differ =
        |key: &str| key == "seed" || key != "meta-steps" && MetaConfig::changeable().contains(&key);
    settings.retain(|key, _| !may_differ(key) && config.check_effects(&[key.to_string()]).is_ok());
    Ok(settings)
}

/// The groups, those without noise first.
pub fn groups(runs: Vec<MetaRun>) -> Result<Vec<MetaGroup>, Failure> {
    let mut groups: Vec<MetaGroup> = Vec::new();
    for run in runs {
        let settings = shared(&run.config)?;
        match groups.iter_mut().find(|group| group.settings == settings) {
            Some(group) => group.runs.push(run),
            None => groups.push(MetaGroup { name: String::new(), colour: [0; 3], settings, runs: vec![run] }),
        }
    }
    groups.sort_by_key(|group| !group.is_plain());
    for group in &mut groups {
        group.runs = one_per_seed(std::mem::take(&mut group.runs));
    }
    let names =
        names(&groups.iter().map(|group| &group.settings).collect::<Vec<_>>(), &["noise", "task", "learner"]);
    let count = groups.len();
    for (i, (group, name)) in groups.iter_mut().zip(names).enumerate() {
        (group.name, group.colour) = (name, chart::colour(&plot::colour(i, count)));
    }
    Ok(groups)
}

/// One run per seed, in the order of the seeds: of several a finished one, or the longest.
fn one_per_seed(runs: Vec<MetaRun>) -> Vec<MetaRun> {
    let mut kept: BTreeMap<u64, MetaRun> = BTreeMap::new();
    for mut run in runs {
        if let Some(mut other) = kept.remove(&run.config.seed) {
            if (other.finished, other.done()) >= (run.finished, run.done()) {
                std::mem::swap(&mut run, &mut other);
            }
            run.notes.push(format!(
                "{} has the same settings and the same seed; only this run is counted",
                other.folder.display()
            ));
        }
        kept.insert(run.config.seed, run);
    }
    kept.into_values().collect()
}
