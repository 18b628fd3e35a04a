//! The folder of a meta-learning run: settings, log, checkpoints, final weights, result.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use nn::meta::MetaMetrics;
use nn::{Archive, write_atomic};
use serde::Serialize;
use serde_json::Value;

use super::settings::Settings;
use crate::failure::Failure;
use crate::output::to_json;
use crate::run_folder::{self, FINAL, LOGGED, METRICS, unread, unwritten};

/// The settings of the run. It is not config.toml, which is of `comhe train`.
pub const SETTINGS: &str = "meta.toml";
/// What the test tasks gave.
pub const RESULT: &str = "result.json";

/// A folder that is being written.
pub struct Folder {
    pub path: PathBuf,
    metrics: BufWriter<File>,
    logged: u64,
    /// Held as long as the folder is written to.
    _lock: Option<File>,
}

/// A line of the log.
#[derive(Serialize)]
struct Line {
    step: u64,
    query_loss: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    query_acc: Option<f64>,
    support_loss: f64,
}

impl Folder {
    /// A new run.
    pub fn create(path: &Path, settings: &Settings) -> Result<Folder, Failure> {
        let lock = run_folder::lock(path)?;
        let text = toml::to_string(settings).map_err(Failure::usage)?;
        write_atomic(&path.join(SETTINGS), text.as_bytes())?;
        let file = path.join(METRICS);
        let metrics = BufWriter::new(File::create(&file).map_err(|e| unwritten(&file, &e))?);
        Ok(Folder { path: path.to_path_buf(), metrics, logged: 0, _lock: lock })
    }

    /// The settings of the run in a folder.
    pub fn settings(path: &Path) -> Result<Settings, Failure> {
        let file = path.join(SETTINGS);
        if !file.is_file() {
            return Err(Failure::place(
                path,
                format_args!("is no folder of comhe meta: it has no {SETTINGS}"),
            ));
        }
        let text = fs::read_to_string(&file).map_err(|e| unread(&file, &e))?;
        toml::from_str(&text).map_err(|e| Failure::place(&file, e.message()))
    }

    /// The run of a checkpoint: the log is cut back to its length there.
    pub fn reopen(path: &Path, checkpoint: &Archive) -> Result<Folder, Failure> {
        let lock = run_folder::lock(path)?;
        let file = path.join(METRICS);
        let logged = checkpoint.metadata.get(LOGGED).and_then(|n| n.parse::<u64>().ok());
        let held = fs::metadata(&file).map_err(|e| unread(&file, &e))?.len();
        let Some(logged) = logged.filter(|logged| *logged <= held) else {
            return Err(Failure::place(&file, "is shorter than it was at the checkpoint"));
        };
        let log = OpenOptions::new().append(true).open(&file).map_err(|e| unwritten(&file, &e))?;
        log.set_len(logged).map_err(|e| unwritten(&file, &e))?;
        Ok(Folder { path: path.to_path_buf(), metrics: BufWriter::new(log), logged, _lock: lock })
    }

    /// Logs a step.
    pub fn step(&mut self, m: &MetaMetrics) -> Result<(), Failure> {
        let MetaMetrics { step, query_loss, query_accuracy, support_loss } = *m;
        let query_acc = (!query_accuracy.is_nan()).then_some(query_accuracy);
        let text = to_json(&Line { step, query_loss, query_acc, support_loss }) + "\n";
        self.logged += text.len() as u64;
        self.metrics.write_all(text.as_bytes()).map_err(|e| unwritten(&self.path.join(METRICS), &e))
    }

    /// Writes the checkpoint, and before it the log up to here.
    pub fn checkpoint(&mut self, mut archive: Archive) -> Result<(), Failure> {
        let flushed = self.metrics.flush().and_then(|()| self.metrics.get_ref().sync_data());
        flushed.map_err(|e| unwritten(&self.path.join(METRICS), &e))?;
        archive.metadata.insert(LOGGED.into(), self.logged.to_string());
        run_folder::write_checkpoint(&self.path, archive)
    }

    /// Writes the final weights and the result.
    pub fn finish(&self, weights: Archive, result: &Value) -> Result<(), Failure> {
        weights.save(self.path.join(FINAL))?;
        Ok(write_atomic(&self.path.join(RESULT), (to_json(result) + "\n").as_bytes())?)
    }
}
