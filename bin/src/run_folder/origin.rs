//! Where a run began: what its relative paths start from.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::config::Config;
use crate::data;

/// The manifest's key of the directory.
const DIRECTORY: &str = "directory";
/// The manifest's key of the data folder.
const DATA_DIR: &str = "data_dir";

/// The working directory, as text; one that is no UTF-8 is only nearly right, and so not found again.
pub fn here() -> Value {
    json!(std::env::current_dir().ok().map(|path| path.to_string_lossy().into_owned()))
}

/// Where the run of a manifest began.
pub fn of(manifest: &Value) -> Value {
    manifest[DIRECTORY].clone()
}

/// The manifest's entries: where the run began, and where its data are looked for.
pub fn entries(directory: &Value, config: &Config) -> [(&'static str, Value); 2] {
    let data = data::options(config).folder().ok().flatten();
    let data = data.map(|path| path.to_string_lossy().into_owned());
    [(DIRECTORY, directory.clone()), (DATA_DIR, json!(data))]
}

/// A folder that a user names now, whatever the run's directory.
pub fn named_now(folder: &Path) -> PathBuf {
    std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf())
}

/// The settings of a run with paths that are right here: relative ones are looked for where it began, then here.
pub fn right_here(config: &Config, manifest: &Value) -> Config {
    let began = manifest[DIRECTORY].as_str().map(PathBuf::from).unwrap_or_default();
    let here = std::env::current_dir().ok();
    let found = |path: &Path| -> PathBuf {
        let there = began.join(path);
        let elsewhere = path.is_relative() && Some(&began) != here.as_ref() && there.exists();
        if elsewhere { there } else { path.into() }
    };
    let dataset = match config.dataset.split_once(':') {
        Some((kind, path)) => format!("{kind}:{}", found(Path::new(path)).display()),
        None => config.dataset.clone(),
    };
    let mut data_dir = config.data_dir.as_deref().map(found);
    let files = manifest["inputs"]["data"].as_array().is_some_and(|files| !files.is_empty());
    if data_dir.is_none() && files {
        let named = std::env::var_os(datasets::DATA_VARIABLE).is_some_and(|v| !v.is_empty());
        let then = manifest[DATA_DIR].as_str().filter(|_| !named);
        data_dir = then.map(|path| found(Path::new(path)));
    }
    let init = config.init.as_deref().map(found);
    let teacher = config.teacher.iter().map(|path| found(path)).collect();
    Config { dataset, data_dir, init, teacher, ..config.clone() }
}
