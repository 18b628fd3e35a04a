//! The folder of a meta-learning run: settings, log, checkpoints, final weights, result.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use nn::meta::MetaMetrics;
use nn::{Archive, write_atomic};
use serde::Serialize;
use serde_json::Value;

use crate::config::file;
use crate::config::meta::MetaConfig;
use crate::config::settings::to_toml;
use crate::failure::Failure;
use crate::output::to_json;
use crate::run_folder::identity::{self, SETTINGS};
use crate::run_folder::{self, FINAL, LOGGED, META, METRICS, cut_log, remove_leftovers, unwritten};

/// What the test tasks gave.
pub const RESULT: &str = "result.json";

/// A folder that is being written.
pub struct Folder {
    pub path: PathBuf,
    metrics: BufWriter<File>,
    logged: u64,
    /// What makes the run this one, for its checkpoints.
    identity: String,
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
    /// A run from its beginning.
    pub fn create(path: &Path, config: &MetaConfig) -> Result<Folder, Failure> {
        let lock = run_folder::lock(path)?;
        remove_leftovers(path);
        write_atomic(&path.join(META), to_toml(config)?.as_bytes())?;
        let file = path.join(METRICS);
        let metrics = File::create(&file).map_err(|e| unwritten(&file, &e))?;
        Folder::of(path, config, metrics, 0, lock)
    }

    /// The run of a checkpoint, the file `name`.
    pub fn reopen(
        path: &Path,
        config: &MetaConfig,
        checkpoint: &Archive,
        name: &str,
        lock: Option<File>,
    ) -> Result<Folder, Failure> {
        let (logged, _) = cut_log(path, checkpoint, name)?;
        remove_leftovers(path);
        let file = path.join(METRICS);
        let metrics = OpenOptions::new().append(true).open(&file).map_err(|e| unwritten(&file, &e))?;
        write_atomic(&path.join(META), to_toml(config)?.as_bytes())?;
        Folder::of(path, config, metrics, logged, lock)
    }

    fn of(
        path: &Path,
        config: &MetaConfig,
        metrics: File,
        logged: u64,
        lock: Option<File>,
    ) -> Result<Folder, Failure> {
        let (path, metrics) = (path.to_path_buf(), BufWriter::new(metrics));
        Ok(Folder { path, metrics, logged, identity: identity::of(config)?.to_string(), _lock: lock })
    }

    /// The settings of the run in a folder.
    pub fn settings(path: &Path) -> Result<MetaConfig, Failure> {
        if path.join(META).is_file() {
            return file::load(&path.join(META));
        }
        let problem = match path.is_dir() {
            true => format!("is no folder of comhe meta: it has no {META}"),
            false => "does not exist; a folder of comhe meta is needed".into(),
        };
        Err(Failure::place(path, problem))
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
        archive.metadata.insert(SETTINGS.into(), self.identity.clone());
        run_folder::write_checkpoint(&self.path, archive)
    }

    /// Writes the final weights and the result.
    pub fn finish(&self, weights: Archive, result: &Value) -> Result<(), Failure> {
        weights.save(self.path.join(FINAL))?;
        Ok(write_atomic(&self.path.join(RESULT), (to_json(result) + "\n").as_bytes())?)
    }

    /// Removes final weights and result, which the run goes beyond.
    pub fn not_final(&self) -> Result<(), Failure> {
        for file in [FINAL, RESULT].map(|name| self.path.join(name)) {
            match fs::remove_file(&file) {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(unwritten(&file, &e)),
                _ => {}
            }
        }
        Ok(())
    }
}
