//! The folder of a run: settings, log, checkpoints, best and final weights, manifest, plots.

mod checkpoints;
pub mod inputs;
pub mod manifest;
mod views;

pub use checkpoints::{CHECKPOINT, last_good, latest, load};

use std::fmt::Display;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use comhe::LayerReport;
use nn::{Archive, Evaluation, StepMetrics, write_atomic};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::config::Config;
use crate::failure::Failure;
use crate::figures;
use crate::hash::sha256_of_file;
use crate::output::to_json;
use views::Views;

const CONFIG: &str = "config.toml";
const METRICS: &str = "metrics.jsonl";
/// The trained weights.
pub const FINAL: &str = "final.safetensors";
/// The weights of the step with the best accuracy.
const BEST: &str = "best.safetensors";
const MANIFEST: &str = "manifest.json";
/// The checkpoint's metadata: how long the log was.
const LOGGED: &str = "metrics_bytes";

/// A run folder that is being written.
pub struct RunFolder {
    path: PathBuf,
    metrics: BufWriter<File>,
    logged: u64,
    views: Views,
    best: Option<Best>,
    /// What the best weights are chosen by: the log's key.
    judge: &'static str,
    /// Held as long as the folder is written to.
    _lock: Option<File>,
}

/// The best evaluation of a run so far, the first among equals.
struct Best {
    step: u64,
    accuracy: f64,
    /// Its weights, until they are written.
    weights: Option<Archive>,
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

/// Makes sure that nobody else writes to a folder as long as the file is held. The system lets go of it when the process
/// ends, however it does; None where it knows of no such thing.
pub fn lock(path: &Path) -> Result<Option<File>, Failure> {
    let Ok(folder) = File::open(path) else { return Ok(None) };
    match folder.try_lock() {
        Ok(()) => Ok(Some(folder)),
        Err(TryLockError::WouldBlock) => {
            Err(Failure::place(path, "is being written to by another comhe; wait for it, or stop it"))
        }
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

impl RunFolder {
    /// Begins a run in a folder that was prepared, or in which nothing was done yet.
    pub fn create(path: &Path, config: &Config) -> Result<RunFolder, Failure> {
        let lock = lock(path)?;
        remove_leftovers(path);
        write_atomic(&path.join(CONFIG), config.to_toml()?.as_bytes())?;
        let file = path.join(METRICS);
        let metrics = File::create(&file).map_err(|e| unwritten(&file, &e))?;
        let views = Views::new(path, &[], config.tensorboard)?;
        let (path, metrics) = (path.to_path_buf(), BufWriter::new(metrics));
        Ok(RunFolder { path, metrics, logged: 0, views, best: None, judge: judge(config), _lock: lock })
    }

    /// Goes on with a run from a checkpoint, the file `name`: the log is cut back to what it was there, and lines that
    /// something has damaged since are cut out, with a word.
    pub fn reopen(
        path: &Path,
        config: &Config,
        checkpoint: &Archive,
        name: &str,
        lock: Option<File>,
    ) -> Result<RunFolder, Failure> {
        let logged =
            checkpoint.metadata.get(LOGGED).and_then(|n| n.parse::<usize>().ok()).ok_or_else(|| {
                Failure::place(
                    &path.join(name),
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
        let (kept, lines, damaged) = intact_lines(&log);
        if damaged.is_empty() {
            // Takes no room, as there may be none.
            let cut = OpenOptions::new().write(true).open(&file).and_then(|f| f.set_len(logged as u64));
            cut.map_err(|e| cannot(&e))?;
        } else {
            write_atomic(&file, &kept)?;
            let numbers = damaged.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
            eprintln!("{}: cut out what is no JSON object: line {numbers}", file.display());
        }
        if !damaged.is_empty() || name != CHECKPOINT {
            let mut checkpoint = checkpoint.clone();
            checkpoint.metadata.insert(LOGGED.into(), kept.len().to_string());
            checkpoints::replace(path, checkpoint)?;
        }
        remove_leftovers(path);
        let metrics = OpenOptions::new().append(true).open(&file).map_err(|e| cannot(&e))?;
        write_atomic(&path.join(CONFIG), config.to_toml()?.as_bytes())?;
        let views = Views::new(path, &lines, config.tensorboard)?;
        let (logged, best) = (kept.len() as u64, best_of(&lines, judge(config)));
        let (path, metrics) = (path.to_path_buf(), BufWriter::new(metrics));
        Ok(RunFolder { path, metrics, logged, views, best, judge: judge(config), _lock: lock })
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

    /// Logs what instruments say of a step.
    pub fn watched(&mut self, step: u64, watch: &Value) -> Result<(), Failure> {
        self.line(&json!({ "step": step, "watch": watch }))?;
        self.flush()
    }

    fn line(&mut self, line: &impl Serialize) -> Result<(), Failure> {
        let mut text = to_json(line);
        text.push('\n');
        self.logged += text.len() as u64;
        self.metrics.write_all(text.as_bytes()).map_err(|e| unwritten(&self.path.join(METRICS), &e))?;
        let line: views::Line = serde_json::from_str(&text).expect("a line of the log is an object");
        self.views.line(&line)
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.metrics.flush().map_err(|e| unwritten(&self.path.join(METRICS), &e))?;
        self.views.flush()
    }

    /// Keeps the weights after `step` steps if no evaluation of a trained network was better; they are written with the
    /// next checkpoint.
    pub fn candidate(&mut self, step: u64, accuracy: f64, weights: impl FnOnce() -> Archive) {
        if step > 0 && self.best.as_ref().is_none_or(|best| accuracy > best.accuracy) {
            self.best = Some(Best { step, accuracy, weights: Some(weights()) });
        }
    }

    /// Writes the checkpoint, and before it all that belongs to it: the log up to here, and the best weights.
    pub fn checkpoint(&mut self, mut archive: Archive) -> Result<(), Failure> {
        self.flush()?;
        self.metrics.get_ref().sync_data().map_err(|e| unwritten(&self.path.join(METRICS), &e))?;
        if let Some(best) = &mut self.best
            && let Some(mut weights) = best.weights.take()
        {
            weights.metadata.insert("step".into(), best.step.to_string());
            weights.metadata.insert(self.judge.into(), best.accuracy.to_string());
            write_atomic(&self.path.join(BEST), &checkpoints::sealed(weights)?)?;
        }
        archive.metadata.insert(LOGGED.into(), self.logged.to_string());
        checkpoints::write(&self.path, archive)
    }

    /// Writes the trained weights.
    pub fn finish(&mut self, weights: Archive) -> Result<(), Failure> {
        self.flush()?;
        Ok(weights.save(self.path.join(FINAL))?)
    }

    /// What a finished run adds to its manifest: the final weights' hash, and which weights were the best.
    pub fn results(&self) -> Result<[(&'static str, Value); 2], Failure> {
        let file = self.path.join(FINAL);
        let (sha256, bytes) = sha256_of_file(&file).map_err(|e| unread(&file, &e))?;
        let best = self
            .best
            .as_ref()
            .map(|best| json!({ "file": BEST, "step": best.step, (self.judge): best.accuracy }));
        Ok([("final", json!({ "file": FINAL, "bytes": bytes, "sha256": sha256 })), ("best", json!(best))])
    }

    /// Removes final weights that the run has gone beyond.
    pub fn not_final(&self) -> Result<(), Failure> {
        let file = self.path.join(FINAL);
        match fs::remove_file(&file) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(unwritten(&file, &e)),
            _ => Ok(()),
        }
    }

    /// Adds a session (one run of the command) to the manifest, or replaces the last one.
    pub fn manifest(&self, run: &Value, session: &Value, first_time: bool) -> Result<(), Failure> {
        manifest::write(&self.path, run, session, first_time)
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

/// The lines of a log that are JSON objects, as text and as objects, and the numbers of those that are not, from 1 on.
fn intact_lines(log: &[u8]) -> (Vec<u8>, Vec<views::Line>, Vec<usize>) {
    let (mut kept, mut lines, mut damaged) = (Vec::with_capacity(log.len()), Vec::new(), Vec::new());
    for (i, text) in log.split_inclusive(|&byte| byte == b'\n').enumerate() {
        match serde_json::from_slice::<views::Line>(text) {
            Ok(line) if text.ends_with(b"\n") => {
                kept.extend(text);
                lines.push(line);
            }
            _ => damaged.push(i + 1),
        }
    }
    (kept, lines, damaged)
}

/// The accuracy that chooses: on held-out images where there are some.
fn judge(config: &Config) -> &'static str {
    if config.hold_out > 0.0 { "val_acc" } else { "test_acc" }
}

/// The best evaluation of a log.
fn best_of(lines: &[views::Line], judge: &str) -> Option<Best> {
    let of = |line: &views::Line| Some((line.get("step")?.as_u64()?, line.get(judge)?.as_f64()?));
    let trained = lines.iter().filter_map(of).filter(|(step, _)| *step > 0);
    let best = trained.reduce(|best, next| if next.1 > best.1 { next } else { best });
    best.map(|(step, accuracy)| Best { step, accuracy, weights: None })
}

/// Removes the temporary files of a process that was killed while it wrote: ".NAME.PID" and ".NAME.next".
fn remove_leftovers(folder: &Path) {
    let ours = |name: &str| {
        name.strip_prefix('.').and_then(|name| name.rsplit_once('.')).is_some_and(|(name, end)| {
            let named = [CONFIG, METRICS, CHECKPOINT, FINAL, BEST, MANIFEST].iter().any(|n| name.contains(n));
            (named || name == "probe" || name.ends_with(".svg"))
                && (end == "next" || end.bytes().all(|byte| byte.is_ascii_digit()))
        })
    };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if ours(&entry.file_name().to_string_lossy()) {
            // What cannot be removed does no harm.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Writes pictures to a folder.
pub fn pictures(folder: &Path, pictures: Vec<figures::Picture>) -> Result<(), Failure> {
    for (name, svg) in pictures {
        write_atomic(&folder.join(name), svg.as_bytes())?;
    }
    Ok(())
}

/// A file that cannot be written.
pub fn unwritten(file: &Path, e: &io::Error) -> Failure {
    Failure::place(file, format_args!("cannot be written: {e}"))
}

/// A file that cannot be read.
pub fn unread(file: &Path, e: &io::Error) -> Failure {
    Failure::place(file, format_args!("cannot be read: {e}"))
}
