//! The folder of a run: settings, log, checkpoint, final weights, manifest, plots.

use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use comhe::LayerReport;
use nn::{Archive, Evaluation, StepMetrics, write_atomic};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::config::Config;
use crate::failure::Failure;
use crate::figures;
use crate::output::to_json;

const CONFIG: &str = "config.toml";
const METRICS: &str = "metrics.jsonl";
/// All that a resume needs.
pub const CHECKPOINT: &str = "checkpoint.safetensors";
/// The trained weights.
pub const FINAL: &str = "final.safetensors";
const MANIFEST: &str = "manifest.json";
/// The checkpoint's metadata: how long the log was.
const LOGGED: &str = "metrics_bytes";

/// A run folder that is being written.
pub struct RunFolder {
    path: PathBuf,
    metrics: BufWriter<File>,
    logged: u64,
}

/// A line of the log after a step.
#[derive(Serialize)]
struct StepLine {
    step: u64,
    epoch: u64,
    loss: f64,
    fit: f64,
    reg: f64,
    lr: f64,
    acc: f64,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

/// A line of the log between steps: an evaluation, a measurement of the layers, or both. `step` counts the steps done.
#[derive(Serialize)]
struct BetweenLine {
    step: u64,
    #[serde(flatten)]
    judged: Option<JudgedLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    layers: Option<Vec<LayerLine>>,
}

/// What an evaluation gave, on the split that its keys name.
#[derive(Serialize)]
#[serde(untagged)]
enum JudgedLine {
    Test { test_loss: f64, test_acc: f64 },
    Validation { val_loss: f64, val_acc: f64 },
}

/// What a run is evaluated on.
#[derive(Clone, Copy, PartialEq)]
pub enum Judged {
    /// The test images.
    Test,
    /// Training images that were held out.
    Validation,
}

/// The state of a layer.
#[derive(Serialize, Deserialize)]
pub struct LayerLine {
    name: String,
    n: usize,
    d: usize,
    regulariser: Option<String>,
    weight: f64,
    penalty: Option<f64>,
    full: f64,
    half_space: f64,
    smallest_angle: Option<f64>,
}

impl From<LayerReport> for LayerLine {
    fn from(r: LayerReport) -> LayerLine {
        let LayerReport { name, n, d, regulariser, weight, penalty, full, half_space, smallest_angle } = r;
        let regulariser = regulariser.map(str::to_string);
        LayerLine { name, n, d, regulariser, weight, penalty, full, half_space, smallest_angle }
    }
}

/// Makes sure that a new run can be written to `path`, before any work: makes the folder, and tries a file in it.
pub fn prepare(path: &Path) -> Result<(), Failure> {
    for name in [CONFIG, METRICS, CHECKPOINT] {
        if path.join(name).exists() {
            return Err(Failure::place(
                path,
                format_args!(
                    "holds a run already ({name}); go on with it by --resume, or choose another --out"
                ),
            ));
        }
    }
    fs::create_dir_all(path).map_err(|e| Failure::place(path, format_args!("cannot be made: {e}")))?;
    writable(path)
}

/// Makes sure that files can be written to a folder.
pub fn writable(path: &Path) -> Result<(), Failure> {
    let probe = path.join(format!(".probe.{}", std::process::id()));
    let tried = File::create(&probe).and_then(|mut f| f.write_all(b"comhe").and_then(|()| f.sync_all()));
    let removed = fs::remove_file(&probe);
    tried.and(removed).map_err(|e| Failure::place(path, format_args!("cannot be written to: {e}")))
}

/// The first folder `runs/NAME-1`, `runs/NAME-2`, ... that does not exist.
pub fn fresh(name: &str) -> PathBuf {
    let numbered = |i: u64| Path::new("runs").join(format!("{name}-{i}"));
    (1..).map(numbered).find(|path| !path.exists()).expect("numbers do not end")
}

/// The settings of the run in a folder.
pub fn settings(path: &Path) -> Result<Config, Failure> {
    let file = path.join(CONFIG);
    if !file.is_file() {
        return Err(Failure::place(path, format_args!("is no run folder: it has no {CONFIG}")));
    }
    Config::load(&file)
}

/// The checkpoint of the run in a folder.
pub fn checkpoint(path: &Path) -> Result<Archive, Failure> {
    let file = path.join(CHECKPOINT);
    if !file.is_file() {
        return Err(Failure::place(
            path,
            format_args!("has no {CHECKPOINT}: the run ended before its first"),
        ));
    }
    Ok(Archive::load(&file)?)
}

impl RunFolder {
    /// Begins a run in a folder that was prepared.
    pub fn create(path: &Path, config: &Config) -> Result<RunFolder, Failure> {
        write_atomic(&path.join(CONFIG), config.to_toml()?.as_bytes())?;
        let file = path.join(METRICS);
        let metrics = File::create(&file).map_err(|e| unwritten(&file, &e))?;
        Ok(RunFolder { path: path.to_path_buf(), metrics: BufWriter::new(metrics), logged: 0 })
    }

    /// Goes on with a run: the log is cut back to what it was at the checkpoint, and lines that something has damaged
    /// since are cut out, with a word.
    pub fn reopen(path: &Path, config: &Config, checkpoint: &Archive) -> Result<RunFolder, Failure> {
        let logged =
            checkpoint.metadata.get(LOGGED).and_then(|n| n.parse::<usize>().ok()).ok_or_else(|| {
                Failure::place(
                    &path.join(CHECKPOINT),
                    format_args!("is not of a run: its metadata has no {LOGGED}"),
                )
            })?;
        let file = path.join(METRICS);
        let cannot = |e: &dyn Display| Failure::place(&file, format_args!("cannot go on: {e}"));
        let mut log = fs::read(&file).map_err(|e| cannot(&e))?;
        if log.len() < logged {
            return Err(cannot(&format_args!(
                "{} bytes are there, {logged} were at the checkpoint",
                log.len()
            )));
        }
        log.truncate(logged);
        let (kept, damaged) = intact_lines(&log);
        write_atomic(&file, &kept)?;
        if !damaged.is_empty() {
            let lines = damaged.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
            eprintln!("{}: cut out what is no JSON object: line {lines}", file.display());
            let mut checkpoint = checkpoint.clone();
            checkpoint.metadata.insert(LOGGED.into(), kept.len().to_string());
            checkpoint.save(path.join(CHECKPOINT))?;
        }
        let metrics = OpenOptions::new().append(true).open(&file).map_err(|e| cannot(&e))?;
        write_atomic(&path.join(CONFIG), config.to_toml()?.as_bytes())?;
        let logged = kept.len() as u64;
        Ok(RunFolder { path: path.to_path_buf(), metrics: BufWriter::new(metrics), logged })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Logs a step.
    pub fn step(&mut self, m: &StepMetrics) -> Result<(), Failure> {
        let extra = m.extra.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let StepMetrics { step, epoch, loss, fit, reg, lr, accuracy: acc, .. } = *m;
        self.line(&StepLine { step, epoch, loss, fit, reg, lr, acc, extra })
    }

    /// Logs what was seen after `step` steps: an evaluation, the layers, or both.
    pub fn between(
        &mut self,
        step: u64,
        judged: Option<(&Evaluation, Judged)>,
        layers: Option<Vec<LayerReport>>,
    ) -> Result<(), Failure> {
        let judged = judged.map(|(e, on)| match on {
            Judged::Test => JudgedLine::Test { test_loss: e.loss, test_acc: e.accuracy },
            Judged::Validation => JudgedLine::Validation { val_loss: e.loss, val_acc: e.accuracy },
        });
        let layers = layers.map(|layers| layers.into_iter().map(LayerLine::from).collect());
        self.line(&BetweenLine { step, judged, layers })?;
        self.flush()
    }

    fn line(&mut self, line: &impl Serialize) -> Result<(), Failure> {
        let mut text = to_json(line);
        text.push('\n');
        self.logged += text.len() as u64;
        self.metrics.write_all(text.as_bytes()).map_err(|e| unwritten(&self.path.join(METRICS), &e))
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.metrics.flush().map_err(|e| unwritten(&self.path.join(METRICS), &e))
    }

    /// Writes the checkpoint in place of the one before, and all of the log that belongs to it.
    pub fn checkpoint(&mut self, mut archive: Archive) -> Result<(), Failure> {
        self.flush()?;
        archive.metadata.insert(LOGGED.into(), self.logged.to_string());
        Ok(archive.save(self.path.join(CHECKPOINT))?)
    }

    /// Writes the trained weights.
    pub fn finish(&mut self, weights: Archive) -> Result<(), Failure> {
        self.flush()?;
        Ok(weights.save(self.path.join(FINAL))?)
    }

    /// Adds a session (one run of the command) to the manifest, or replaces the last one.
    pub fn manifest(&self, run: &Value, session: &Value, first_time: bool) -> Result<(), Failure> {
        let file = self.path.join(MANIFEST);
        let old: Value =
            fs::read_to_string(&file).ok().and_then(|t| serde_json::from_str(&t).ok()).unwrap_or_default();
        let mut sessions = old["sessions"].as_array().cloned().unwrap_or_default();
        if !first_time {
            sessions.pop();
        }
        sessions.push(session.clone());
        let mut manifest = run.clone();
        manifest["sessions"] = Value::Array(sessions);
        let text = serde_json::to_string_pretty(&manifest).expect("string keys") + "\n";
        Ok(write_atomic(&file, text.as_bytes())?)
    }

    /// Draws loss, accuracy, energies and angles from the log.
    pub fn plots(&mut self) -> Result<(), Failure> {
        self.flush()?;
        let file = self.path.join(METRICS);
        let wrong = |e: &dyn Display| Failure::place(&file, format_args!("cannot be read: {e}"));
        let text = fs::read_to_string(&file).map_err(|e| wrong(&e))?;
        let lines: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
        pictures(&self.path, figures::of_run(&lines.map_err(|e| wrong(&e))?))
    }
}

/// The lines of a log that are JSON objects, and the numbers of those that are not, from 1 on.
fn intact_lines(log: &[u8]) -> (Vec<u8>, Vec<usize>) {
    let (mut kept, mut damaged) = (Vec::with_capacity(log.len()), Vec::new());
    for (i, line) in log.split_inclusive(|&byte| byte == b'\n').enumerate() {
        match serde_json::from_slice::<Map<String, Value>>(line) {
            Ok(_) if line.ends_with(b"\n") => kept.extend(line),
            _ => damaged.push(i + 1),
        }
    }
    (kept, damaged)
}

/// Writes pictures to a folder.
pub fn pictures(folder: &Path, pictures: Vec<figures::Picture>) -> Result<(), Failure> {
    for (name, svg) in pictures {
        write_atomic(&folder.join(name), svg.as_bytes())?;
    }
    Ok(())
}

fn unwritten(file: &Path, e: &io::Error) -> Failure {
    Failure::place(file, format_args!("cannot be written: {e}"))
}
