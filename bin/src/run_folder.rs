//! The folder of a run: settings, log, checkpoints, best and final weights, manifest, plots.

mod checkpoints;
pub mod identity;
pub mod inputs;
mod lines;
pub mod manifest;
pub mod origin;
mod place;
mod trained;
mod views;

pub use checkpoints::{CHECKPOINT, last_good, latest, load, write as write_checkpoint};
pub use lines::{Judged, LayerLine, Score};
pub use place::{fresh, lock, made, prepare, remove_leftovers, unless_empty, writable};
pub use trained::{Trained, not_as_written, settings};

use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use comhe::LayerReport;
use nn::{Archive, Evaluation, StepMetrics, write_atomic};
use serde::Serialize;
use serde_json::{Value, json};

use crate::config::Config;
use crate::failure::Failure;
use crate::figures;
use crate::hash::sha256_of_file;
use crate::output::to_json;
use lines::{Best, BetweenLine, Line, StepLine};
use views::Views;

/// The settings of the run.
pub const CONFIG: &str = "config.toml";
/// The settings of a run of `comhe meta`.
pub const META: &str = "meta.toml";
/// Its log.
pub const METRICS: &str = "metrics.jsonl";
/// The trained weights.
pub const FINAL: &str = "final.safetensors";
/// The weights of the step with the best accuracy, or, of real targets, with the smallest loss.
pub const BEST: &str = "best.safetensors";
/// What the run was made with, from and by.
pub const MANIFEST: &str = "manifest.json";
/// The checkpoint's metadata: how long the log was.
pub const LOGGED: &str = "metrics_bytes";

/// A run folder that is being written.
pub struct RunFolder {
    path: PathBuf,
    metrics: BufWriter<File>,
    logged: u64,
    views: Views,
    best: Option<Best>,
    judged: Judged,
    /// What makes the run this one, for its checkpoints.
    identity: String,
    /// Held as long as the folder is written to.
    _lock: Option<File>,
}

impl RunFolder {
    /// Begins a run in a folder that was prepared, or in which nothing was done yet.
    pub fn create(path: &Path, config: &Config) -> Result<RunFolder, Failure> {
        let lock = lock(path)?;
        place::remove_leftovers(path);
        write_atomic(&path.join(CONFIG), config.to_toml()?.as_bytes())?;
        let file = path.join(METRICS);
        let metrics = File::create(&file).map_err(|e| unwritten(&file, &e))?;
        let views = Views::new(path, &[], config.tensorboard)?;
        let (path, metrics) = (path.to_path_buf(), BufWriter::new(metrics));
        let (judged, identity) = (Judged::of(config), identity::of(config)?.to_string());
        Ok(RunFolder { path, metrics, logged: 0, views, best: None, judged, identity, _lock: lock })
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
        let (logged, lines) = cut_log(path, checkpoint, name)?;
        let file = path.join(METRICS);
        let cannot = |e: &dyn Display| Failure::place(&file, format_args!("cannot be continued: {e}"));
        place::remove_leftovers(path);
        let metrics = OpenOptions::new().append(true).open(&file).map_err(|e| cannot(&e))?;
        write_atomic(&path.join(CONFIG), config.to_toml()?.as_bytes())?;
        let views = Views::new(path, &lines, config.tensorboard)?;
        let best = Best::of(&lines, Judged::of(config));
        let (path, metrics) = (path.to_path_buf(), BufWriter::new(metrics));
        let (judged, identity) = (Judged::of(config), identity::of(config)?.to_string());
        Ok(RunFolder { path, metrics, logged, views, best, judged, identity, _lock: lock })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether nothing has been logged yet.
    pub fn is_empty(&self) -> bool {
        self.logged == 0
    }

    /// Logs a step.
    pub fn step(&mut self, m: &StepMetrics) -> Result<(), Failure> {
        self.line(&StepLine::of(m))
    }

    /// Logs what was seen after `step` steps: an evaluation, the layers, or both.
    pub fn between(
        &mut self,
        step: u64,
        evaluation: Option<&Evaluation>,
        layers: Option<Vec<LayerReport>>,
    ) -> Result<(), Failure> {
        let judged = evaluation.map(|e| self.judged.line(e));
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
        let line: Line = serde_json::from_str(&text).expect("a line of the log is an object");
        self.views.line(&line)
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.metrics.flush().map_err(|e| unwritten(&self.path.join(METRICS), &e))?;
        self.views.flush()
    }

    /// Keeps the weights after `step` steps if no evaluation of a trained network was better; they are written with the
    /// next checkpoint.
    pub fn candidate(&mut self, step: u64, score: Score, weights: impl FnOnce() -> Archive) {
        let better = || self.best.as_ref().is_none_or(|best| score.beats(best.score));
        // The log has no number for a loss that is not finite, so that a resumed run would not know it.
        if step > 0 && score.value().is_finite() && better() {
            self.best = Some(Best { step, score, weights: Some(weights()) });
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
            weights.metadata.insert(self.judged.key(best.score).into(), best.score.value().to_string());
            write_atomic(&self.path.join(BEST), &checkpoints::sealed(weights)?)?;
        }
        archive.metadata.insert(LOGGED.into(), self.logged.to_string());
        archive.metadata.insert(identity::SETTINGS.into(), self.identity.clone());
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
            .map(|best| json!({ "file": BEST, "step": best.step, (self.judged.key(best.score)): best.score.value() }));
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

/// Cuts the log of a run back to what it was at a checkpoint, the file `name`, and cuts out lines that something has
/// damaged since, with a word. The bytes that are left, and their lines.
pub fn cut_log(path: &Path, checkpoint: &Archive, name: &str) -> Result<(u64, Vec<Line>), Failure> {
    let logged = checkpoint.metadata.get(LOGGED).and_then(|n| n.parse::<usize>().ok()).ok_or_else(|| {
        Failure::place(&path.join(name), format_args!("is not of a run: its metadata has no {LOGGED}"))
    })?;
    let file = path.join(METRICS);
    let cannot = |e: &dyn Display| Failure::place(&file, format_args!("cannot be continued: {e}"));
    let mut log = fs::read(&file).map_err(|e| cannot(&e))?;
    if log.len() < logged {
        return Err(cannot(&format_args!("{} bytes are there, {logged} were at the checkpoint", log.len())));
    }
    log.truncate(logged);
    let (kept, lines, damaged) = lines::intact(&log);
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
    Ok((kept.len() as u64, lines))
}

/// The command that made the run in a folder, and the name of the file of its settings.
pub fn made_by(folder: &Path) -> (&'static str, &'static str) {
    if folder.join(META).is_file() { ("meta", META) } else { ("train", CONFIG) }
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
