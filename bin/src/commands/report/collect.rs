//! The runs in folders: what each was, what its log says, how far it came.

use std::fs;
use std::path::{Path, PathBuf};

use autograd::parallel_map;
use serde_json::Value;

use crate::commands::compare::log::RUNS;
use crate::commands::compare::plan::{PLAN, Plan};
use crate::commands::compare::run::Run as Compared;
use crate::config::Config;
use crate::config::file::parsed;
use crate::failure::Failure;
use crate::run_folder::{self, CONFIG, FINAL, MANIFEST, METRICS};

/// So deep below a given folder runs are looked for.
const DEPTH: usize = 3;

/// A step of training.
#[derive(Clone, Copy, Debug)]
pub struct Trained {
    pub step: u64,
    pub fit: f64,
    pub reg: f64,
    /// None of real targets.
    pub acc: Option<f64>,
}

/// An evaluation after some steps, on the test set or on held-out examples (see [`groups::judge`](super::groups::judge)).
#[derive(Clone, Copy, Debug)]
pub struct Tested {
    pub step: u64,
    pub loss: f64,
    /// None of real targets, which have errors instead.
    pub acc: Option<f64>,
    pub mae: Option<f64>,
    pub r2: Option<f64>,
}

/// The mean energies of all layers after some steps.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    pub step: u64,
    pub full: f64,
    pub half_space: f64,
}

/// A layer when it was measured.
#[derive(Clone, Debug)]
pub struct Layer {
    pub name: String,
    pub full: Option<f64>,
    /// In radians.
    pub smallest_angle: Option<f64>,
}

/// A run, as far as its folder tells.
pub struct Run {
    pub folder: PathBuf,
    pub name: String,
    /// All settings by key.
    pub settings: toml::Table,
    /// The same as this version understands them, or why it does not.
    pub config: Result<Config, String>,
    pub trained: Vec<Trained>,
    pub tested: Vec<Tested>,
    pub spread: Vec<Spread>,
    pub layers: Vec<(u64, Vec<Layer>)>,
    pub manifest: Value,
    /// The length of the run, where that is known.
    pub steps: Option<u64>,
    pub finished: bool,
    pub notes: Vec<String>,
    /// Whether it is one of a comparison, which keeps no weights.
    pub compared: bool,
}

impl Run {
    /// The seed of weights and order.
    pub fn seed(&self) -> i64 {
        self.settings.get("seed").and_then(toml::Value::as_integer).unwrap_or(0)
    }

    /// How many steps were done, as far as the log tells.
    pub fn done(&self) -> u64 {
        let trained = self.trained.last().map_or(0, |t| t.step + 1);
        trained.max(self.tested.last().map_or(0, |t| t.step)).max(self.spread.last().map_or(0, |s| s.step))
    }

    /// How it ended, in words.
    pub fn state(&self) -> String {
        let outcome = self.manifest["sessions"].as_array().and_then(|s| s.last()?["outcome"].as_str());
        match (self.finished, outcome) {
            (true, _) => "finished".into(),
            (false, Some("running")) => "killed, or still running".into(),
            (false, Some(outcome)) => outcome.into(),
            (false, None) => "unfinished".into(),
        }
    }
}

/// The runs of all folders, which each must hold one at least.
pub fn all(folders: &[PathBuf]) -> Result<Vec<Run>, Failure> {
    let mut runs: Vec<Run> = Vec::new();
    for folder in folders {
        if !folder.is_dir() {
            return Err(Failure::place(
                folder,
                "is no folder; a run folder is needed, or one that holds some",
            ));
        }
        let (before, mut found) = (runs.len(), Vec::new());
        below(folder, DEPTH, &mut found)?;
        for read in parallel_map(found.len(), |i| read(&found[i])) {
            runs.extend(read?);
        }
        if runs.len() == before {
            let (has, lacks) = if folder.join(METRICS).is_file() { (METRICS, CONFIG) } else { ("", "") };
            return Err(Failure::place(
                folder,
                match has {
                    "" => format!("holds no run: neither it nor a folder in it has {CONFIG} or {PLAN}"),
                    _ => format!("is no run folder: it has {has} but no {lacks}"),
                },
            ));
        }
    }
    // The same folder given twice is one run.
    let mut seen = std::collections::HashSet::new();
    runs.retain(|run| {
        run.compared || seen.insert(fs::canonicalize(&run.folder).unwrap_or(run.folder.clone()))
    });
    if runs.iter().all(|run| run.done() == 0 && run.tested.is_empty() && run.layers.is_empty()) {
        return Err(Failure::place(
            &folders[0],
            format_args!("has no line in its {METRICS}: there is nothing to report"),
        ));
    }
    Ok(runs)
}

/// The run folders and comparisons in a folder, in the order of their names.
fn below(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), Failure> {
    if folder.join(CONFIG).is_file() || folder.join(PLAN).is_file() {
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
fn read(folder: &Path) -> Result<Vec<Run>, Failure> {
    if folder.join(CONFIG).is_file() { Ok(vec![trained(folder)?]) } else { compared(folder) }
}

/// The run of `comhe train` in a folder.
fn trained(folder: &Path) -> Result<Run, Failure> {
    let file = folder.join(CONFIG);
    let text =
        fs::read_to_string(&file).map_err(|e| Failure::place(&file, format_args!("cannot be read: {e}")))?;
    let (settings, _) = parsed(&text, &file)?;
    let config = run_folder::settings(folder).map_err(|e| e.message().unwrap_or_default().to_string());
    let manifest = fs::read_to_string(folder.join(MANIFEST)).ok();
    let manifest: Value = manifest.and_then(|t| serde_json::from_str(&t).ok()).unwrap_or_default();
    let mut notes = Vec::new();
    let log = fs::read(folder.join(METRICS)).unwrap_or_else(|e| {
        notes.push(format!("{METRICS} cannot be read: {e}"));
        Vec::new()
    });
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<Option<Value>> = log.lines().map(|line| serde_json::from_str(line).ok()).collect();
    match lines.iter().filter(|line| line.is_none()).count() {
        0 => {}
        1 => notes.push(format!("1 line of {METRICS} is damaged or cut off, and left out")),
        n => notes.push(format!("{n} lines of {METRICS} are damaged or cut off, and left out")),
    }
    if manifest.is_null() {
        notes.push(format!("{MANIFEST} is missing or damaged"));
    }
    if let Err(why) = &config {
        notes.push(why.clone());
    }
    let whole = |key: &str| settings.get(key)?.as_integer()?.try_into().ok();
    let steps = manifest["steps"].as_u64().or_else(|| whole("steps"));
    let mut run = Run {
        folder: folder.to_path_buf(),
        name: folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned(),
        config,
        trained: Vec::new(),
        tested: Vec::new(),
        spread: Vec::new(),
        layers: Vec::new(),
        manifest,
        steps,
        finished: folder.join(FINAL).is_file(),
        notes,
        compared: false,
        settings,
    };
    lines.iter().flatten().for_each(|line| run.line(line));
    Ok(run)
}

impl Run {
    /// Takes up a line of the log. Keys that are not known here belong to somebody else.
    fn line(&mut self, line: &Value) {
        let Some(step) = line["step"].as_u64() else { return };
        let number = |key: &str| line[key].as_f64();
        if let Some(fit) = number("fit") {
            self.trained.push(Trained { step, fit, reg: number("reg").unwrap_or(0.0), acc: number("acc") });
        }
        let judged = |on: &str| {
            let of = |what: &str| number(&format!("{on}_{what}"));
            Some(Tested { step, loss: of("loss")?, acc: of("acc"), mae: of("mae"), r2: of("r2") })
        };
        self.tested.extend(judged("val").or_else(|| judged("test")));
        if let Some(layers) = line["layers"].as_array() {
            let mean =
                |key: &str| layers.iter().filter_map(|l| l[key].as_f64()).sum::<f64>() / layers.len() as f64;
            self.spread.push(Spread { step, full: mean("full"), half_space: mean("half_space") });
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

/// The runs of `comhe compare` in a folder.
fn compared(folder: &Path) -> Result<Vec<Run>, Failure> {
    let plan = Plan::load(folder)?;
    let file = folder.join(RUNS);
    let text =
        fs::read_to_string(&file).map_err(|e| Failure::place(&file, format_args!("cannot be read: {e}")))?;
    let known = text.lines().filter_map(|line| serde_json::from_str::<Compared>(line).ok());
    let mut runs = Vec::new();
    for run in known.filter(|run| !run.job.tuning) {
        let config = run.job.config(&plan.settings)?;
        let settings = toml::Table::try_from(&config).map_err(|e| {
            Failure::place(&folder.join(PLAN), format_args!("has a setting out of range: {e}"))
        })?;
        let last = run.curve.last().map_or(0, |p| p.step);
        let value = serde_json::to_value(&run.layers).unwrap_or_default();
        let layers = value.as_array().map(|l| l.iter().map(layer).collect()).unwrap_or_default();
        let of = |p: &crate::commands::compare::run::Point| Tested {
            step: p.step,
            loss: p.test.test_loss,
            acc: p.test.test_acc,
            mae: p.test.test_mae,
            r2: p.test.test_r2,
        };
        let energy = |p: &crate::commands::compare::run::Point| Spread {
            step: p.step,
            full: p.energy.full,
            half_space: p.energy.half_space,
        };
        runs.push(Run {
            folder: folder.to_path_buf(),
            name: format!("{}: {}, seed {}", folder.display(), run.job.reg, run.job.seed),
            settings,
            config: Ok(config),
            trained: Vec::new(),
            tested: run.curve.iter().map(of).collect(),
            spread: run.curve.iter().map(energy).collect(),
            layers: vec![(last, layers)],
            manifest: Value::Null,
            steps: Some(last),
            finished: true,
            notes: Vec::new(),
            compared: true,
        });
    }
    Ok(runs)
}
