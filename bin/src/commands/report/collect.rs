//! The runs in folders, with their settings and logs.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use autograd::parallel_map;
use serde_json::Value;

use super::meta::MetaRun;
use crate::commands::compare::log::{self, RUNS};
use crate::commands::compare::plan::{PLAN, Plan};
use crate::commands::compare::run::Point;
use crate::config::Config;
use crate::config::file::parsed;
use crate::failure::Failure;
use crate::run_folder::{self, CONFIG, FINAL, MANIFEST, META, METRICS};
use crate::statistics::{Measure, count};

/// How many levels of folders are searched for runs.
const DEPTH: usize = 3;

/// A step of training in the log.
#[derive(Clone, Copy, Debug)]
pub struct StepPoint {
    pub step: u64,
    pub fit: f64,
    pub reg: f64,
    /// None for real targets.
    pub acc: Option<f64>,
}

/// An evaluation after `step` steps, on the test set or on held-out examples (see
/// [`groups::evaluated_on`](super::groups::evaluated_on)).
#[derive(Clone, Copy, Debug)]
pub struct EvalPoint {
    pub step: u64,
    /// NaN if it was not finite.
    pub loss: f64,
    /// None for real targets, which have errors instead.
    pub acc: Option<f64>,
    pub mae: Option<f64>,
    pub r2: Option<f64>,
}

impl EvalPoint {
    /// The score by which runs are compared; None if the loss is not finite.
    pub fn score(&self, measure: Measure) -> Option<f64> {
        let score = if measure == Measure::Loss { Some(self.loss) } else { self.acc };
        score.filter(|_| self.loss.is_finite())
    }
}

/// The mean energies of the layers after `step` steps.
#[derive(Clone, Copy, Debug)]
pub struct EnergyPoint {
    pub step: u64,
    pub full: f64,
    pub half_space: f64,
}

/// A measurement of a layer.
#[derive(Clone, Debug)]
pub struct Layer {
    pub name: String,
    pub full: Option<f64>,
    /// In radians.
    pub smallest_angle: Option<f64>,
}

/// A run, as far as its folder has it.
pub struct Run {
    pub folder: PathBuf,
    pub name: String,
    /// Settings by key, as in its file.
    pub settings: toml::Table,
    /// The settings, or why this version cannot read them.
    pub config: Result<Config, String>,
    pub steps_trained: Vec<StepPoint>,
    pub evaluations: Vec<EvalPoint>,
    pub energies: Vec<EnergyPoint>,
    pub layers: Vec<(u64, Vec<Layer>)>,
    pub manifest: Value,
    /// The planned number of steps, if known.
    pub steps: Option<u64>,
    pub finished: bool,
    pub notes: Vec<String>,
    /// Whether it is part of a comparison, which keeps no weights.
    pub of_comparison: bool,
}

impl Run {
    /// The seed.
    pub fn seed(&self) -> i64 {
        self.settings.get("seed").and_then(toml::Value::as_integer).unwrap_or(0)
    }

    /// The number of steps in the log.
    pub fn done(&self) -> u64 {
        let trained = self.steps_trained.last().map_or(0, |t| t.step + 1);
        trained
            .max(self.evaluations.last().map_or(0, |t| t.step))
            .max(self.energies.last().map_or(0, |s| s.step))
    }

    /// The measure of the run's targets; None before the first line of its log.
    pub fn measure(&self) -> Option<Measure> {
        let evaluated = self.evaluations.last().map(|point| point.acc.is_some());
        let classes = evaluated.or_else(|| self.steps_trained.last().map(|point| point.acc.is_some()))?;
        Some(if classes { Measure::Accuracy } else { Measure::Loss })
    }

    /// How the run ended.
    pub fn state(&self) -> String {
        state(self.finished, &self.manifest)
    }
}

/// What folders contain.
#[derive(Default)]
pub struct Found {
    /// Runs of `comhe train` and `comhe compare`.
    pub runs: Vec<Run>,
    /// Runs of `comhe meta`.
    pub meta: Vec<MetaRun>,
}

impl Found {
    fn len(&self) -> usize {
        self.runs.len() + self.meta.len()
    }

    /// Whether no run has got anywhere.
    fn is_bare(&self) -> bool {
        let bare = |run: &Run| run.done() == 0 && run.evaluations.is_empty() && run.layers.is_empty();
        self.runs.iter().all(bare) && self.meta.iter().all(|run| run.done() == 0)
    }
}

/// The runs of all folders, each of which must contain one.
pub fn all(folders: &[PathBuf]) -> Result<Found, Failure> {
    let mut all = Found::default();
    for folder in folders {
        if !folder.is_dir() {
            return Err(Failure::place(
                folder,
                "is not a folder; a run folder is needed, or one that contains some",
            ));
        }
        let (before, mut found) = (all.len(), Vec::new());
        below(folder, DEPTH, &mut found)?;
        let mut empty = Vec::new();
        for (path, read) in found.iter().zip(parallel_map(found.len(), |i| read(&found[i]))) {
            let read = read?;
            if read.len() == 0 {
                empty.push(Failure::place(path, "is a comparison without a finished run"));
            }
            all.runs.extend(read.runs);
            all.meta.extend(read.meta);
        }
        if all.len() == before {
            return Err(empty.into_iter().next().unwrap_or_else(|| no_run(folder)));
        }
        empty
            .iter()
            .filter_map(Failure::message)
            .for_each(|left_out| eprintln!("{left_out}; it is left out"));
    }
    // The same folder given twice is one run.
    let mut seen = std::collections::HashSet::new();
    let mut new = |folder: &PathBuf| seen.insert(fs::canonicalize(folder).unwrap_or(folder.clone()));
    all.runs.retain(|run| run.of_comparison || new(&run.folder));
    all.meta.retain(|run| new(&run.folder));
    if all.is_bare() {
        return Err(Failure::place(
            &folders[0],
            format_args!("has no line in its {METRICS}: there is nothing to report"),
        ));
    }
    Ok(all)
}

/// The error for a folder in which nothing was found.
fn no_run(folder: &Path) -> Failure {
    Failure::place(
        folder,
        match folder.join(METRICS).is_file() {
            true => format!("is not a run folder: it has {METRICS} but no {CONFIG}"),
            false => format!("contains no run: neither it nor a folder in it has {CONFIG}, {META} or {PLAN}"),
        },
    )
}

/// The run folders and comparisons in a folder, in the order of their names.
fn below(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), Failure> {
    if [CONFIG, META, PLAN].iter().any(|name| folder.join(name).is_file()) {
        found.push(folder.to_path_buf());
    } else if depth > 0 {
        let wrong = |e: std::io::Error| Failure::place(folder, format_args!("cannot be read: {e}"));
        let mut inner: Vec<PathBuf> = fs::read_dir(folder)
            .map_err(wrong)?
            .filter_map(|entry| Some(entry.ok()?.path()).filter(|path| path.is_dir() && !path.is_symlink()))
            .collect();
        inner.sort();
        for path in inner {
            below(&path, depth - 1, found)?;
        }
    }
    Ok(())
}

/// The runs of a folder that [`below`] found.
fn read(folder: &Path) -> Result<Found, Failure> {
    Ok(match folder {
        _ if folder.join(CONFIG).is_file() => Found { runs: vec![trained(folder)?], ..Found::default() },
        _ if folder.join(META).is_file() => Found { meta: vec![MetaRun::read(folder)?], ..Found::default() },
        _ => Found { runs: compared(folder)?, ..Found::default() },
    })
}

/// The run of `comhe train` in a folder.
fn trained(folder: &Path) -> Result<Run, Failure> {
    let file = folder.join(CONFIG);
    let text =
        fs::read_to_string(&file).map_err(|e| Failure::place(&file, format_args!("cannot be read: {e}")))?;
    let (settings, _) = parsed(&text, &file)?;
    let config = run_folder::settings(folder).map_err(|e| e.message().unwrap_or_default().to_string());
    let mut notes = Vec::new();
    let (lines, manifest) = (log_lines(folder, &mut notes), manifest_of(folder, &mut notes));
    if let Err(why) = &config {
        notes.push(why.clone());
    }
    let whole = |key: &str| settings.get(key)?.as_integer()?.try_into().ok();
    let steps = manifest["steps"].as_u64().or_else(|| whole("steps"));
    let mut run = Run {
        folder: folder.to_path_buf(),
        name: name_of(folder),
        config,
        steps_trained: Vec::new(),
        evaluations: Vec::new(),
        energies: Vec::new(),
        layers: Vec::new(),
        manifest,
        steps,
        finished: folder.join(FINAL).is_file(),
        notes,
        of_comparison: false,
        settings,
    };
    lines.iter().for_each(|line| run.line(line));
    if run.finished && run.evaluations.last().is_some_and(|point| !point.loss.is_finite()) {
        run.notes.push(
            "the loss of its last evaluation is not finite: the run diverged, and has no result".into(),
        );
    }
    Ok(run)
}

/// The lines of a run's log that are whole; the others are noted.
pub fn log_lines(folder: &Path, notes: &mut Vec<String>) -> Vec<Value> {
    let log = fs::read(folder.join(METRICS)).unwrap_or_else(|e| {
        notes.push(format!("{METRICS} cannot be read: {e}"));
        Vec::new()
    });
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<Option<Value>> = log.lines().map(|line| serde_json::from_str(line).ok()).collect();
    match lines.iter().filter(|line| line.is_none()).count() {
        0 => {}
        n => notes.push(damaged(n, METRICS)),
    }
    lines.into_iter().flatten().collect()
}

/// The manifest of a run; null if it is missing or damaged, which is noted.
pub fn manifest_of(folder: &Path, notes: &mut Vec<String>) -> Value {
    let text = fs::read_to_string(folder.join(MANIFEST)).ok();
    let manifest: Value = text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    if manifest.is_null() {
        notes.push(format!("{MANIFEST} is missing or damaged"));
    }
    manifest
}

/// The name of a run's folder.
pub fn name_of(folder: &Path) -> String {
    folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned()
}

/// How a run ended.
pub fn state(finished: bool, manifest: &Value) -> String {
    let outcome = manifest["sessions"].as_array().and_then(|s| s.last()?["outcome"].as_str());
    match (finished, outcome) {
        (true, _) => "finished".into(),
        (false, Some("running")) => "killed, or still running".into(),
        (false, Some(outcome)) => outcome.into(),
        (false, None) => "unfinished".into(),
    }
}

impl Run {
    /// Adds a line of the log. Unknown keys are ignored.
    fn line(&mut self, line: &Value) {
        let Some(step) = line["step"].as_u64() else { return };
        let number = |key: &str| line[key].as_f64();
        if let Some(fit) = number("fit") {
            self.steps_trained.push(StepPoint {
                step,
                fit,
                reg: number("reg").unwrap_or(0.0),
                acc: number("acc"),
            });
        }
        let evaluation = |on: &str| {
            let of = |what: &str| number(&format!("{on}_{what}"));
            // Infinities and NaN are null in the log.
            let loss = line.get(format!("{on}_loss"))?.as_f64().unwrap_or(f64::NAN);
            Some(EvalPoint { step, loss, acc: of("acc"), mae: of("mae"), r2: of("r2") })
        };
        self.evaluations.extend(evaluation("val").or_else(|| evaluation("test")));
        if let Some(layers) = line["layers"].as_array() {
            let mean =
                |key: &str| layers.iter().filter_map(|l| l[key].as_f64()).sum::<f64>() / layers.len() as f64;
            self.energies.push(EnergyPoint { step, full: mean("full"), half_space: mean("half_space") });
            self.layers.push((step, layers.iter().map(layer).collect()));
        }
    }
}

fn layer(value: &Value) -> Layer {
    let name = value["name"].as_str().unwrap_or_default();
    Layer {
        name: name.strip_suffix(".weight").unwrap_or(name).to_string(),
        full: value["full"].as_f64(),
        smallest_angle: value["smallest_angle"].as_f64(),
    }
}

/// The note on damaged lines of a file.
fn damaged(n: usize, file: &str) -> String {
    let are = if n == 1 { "is" } else { "are" };
    format!("{} of {file} {are} damaged or cut off, and left out", count(n, "line"))
}

/// The finished runs of `comhe compare` in a folder.
fn compared(folder: &Path) -> Result<Vec<Run>, Failure> {
    let plan = Plan::load(folder)?;
    let file = folder.join(RUNS);
    let text = match fs::read_to_string(&file) {
        Err(e) if e.kind() == ErrorKind::NotFound => String::new(),
        read => read.map_err(|e| Failure::place(&file, format_args!("cannot be read: {e}")))?,
    };
    let (finished, cut) = log::finished(&text);
    let mut notes = if cut > 0 { vec![damaged(cut, RUNS)] } else { Vec::new() };
    let mut runs = Vec::new();
    for run in finished.into_iter().filter(|run| !run.job.tuning) {
        let config = run.job.config(&plan.settings)?;
        let settings = toml::Table::try_from(&config).map_err(|e| {
            Failure::place(&folder.join(PLAN), format_args!("has a setting out of range: {e}"))
        })?;
        let last = run.curve.last().map_or(0, |p| p.step);
        let value = serde_json::to_value(&run.layers).unwrap_or_default();
        let layers = value.as_array().map(|l| l.iter().map(layer).collect()).unwrap_or_default();
        let of = |p: &Point| EvalPoint {
            step: p.step,
            loss: p.test.test_loss,
            acc: p.test.test_acc,
            mae: p.test.test_mae,
            r2: p.test.test_r2,
        };
        let energy =
            |p: &Point| EnergyPoint { step: p.step, full: p.energy.full, half_space: p.energy.half_space };
        runs.push(Run {
            folder: folder.to_path_buf(),
            name: format!("{}: {}, seed {}", folder.display(), run.job.arm.name(&plan), run.job.seed),
            settings,
            config: Ok(config),
            steps_trained: Vec::new(),
            evaluations: run.curve.iter().map(of).collect(),
            energies: run.curve.iter().map(energy).collect(),
            layers: vec![(last, layers)],
            manifest: Value::Null,
            steps: Some(last),
            finished: true,
            // The first run has the notes on the file.
            notes: std::mem::take(&mut notes),
            of_comparison: true,
        });
    }
    Ok(runs)
}
