//! `manifest.json`: what a run was made with, from and by.

use std::fs;
use std::path::Path;

use nn::write_atomic;
use serde_json::Value;

use super::inputs::Inputs;
use super::{CHECKPOINT, CONFIG, MANIFEST, METRICS};
use crate::failure::Failure;

/// The version of the folder's files. It grows when an older comhe could not go on with a run of a newer one, or the
/// other way round.
pub const FORMAT: u64 = 2;

/// Of the run in a folder; None if it was killed before it began.
pub fn load(folder: &Path) -> Result<Option<Value>, Failure> {
    let path = folder.join(MANIFEST);
    if !folder.join(CONFIG).is_file() {
        let part = [METRICS, CHECKPOINT, MANIFEST].into_iter().find(|name| folder.join(name).exists());
        return Err(match part {
            Some(part) => {
                Failure::place(folder, format_args!("is half there: it has {part}, but no {CONFIG}"))
            }
            None => Failure::place(folder, format_args!("is no run folder: it has no {CONFIG}")),
        });
    }
    if !path.exists() {
        if folder.join(CHECKPOINT).exists() {
            let text = format_args!("is half there: it has {CHECKPOINT}, but no {MANIFEST}");
            return Err(Failure::place(folder, text));
        }
        return Ok(None);
    }
    let text =
        fs::read_to_string(&path).map_err(|e| Failure::place(&path, format_args!("cannot be read: {e}")))?;
    let manifest: Value = serde_json::from_str(&text)
        .map_err(|e| Failure::place(&path, format_args!("is no manifest of a run: {e}")))?;
    let age = match manifest["format"].as_u64().unwrap_or(1) {
        FORMAT => return Ok(Some(manifest)),
        older @ ..FORMAT => format!("an older version of comhe (folder format {older}"),
        newer => format!("a newer version of comhe (folder format {newer}"),
    };
    Err(Failure::place(
        folder,
        format_args!(
            "is of {age}; this one knows {FORMAT}); its weights can be used by comhe eval, and its settings by \
             comhe train --config {}",
            folder.join(CONFIG).display()
        ),
    ))
}

/// The files that the run of a manifest read.
pub fn inputs(manifest: &Value, folder: &Path) -> Result<Inputs, Failure> {
    serde_json::from_value(manifest["inputs"].clone())
        .map_err(|e| Failure::place(&folder.join(MANIFEST), format_args!("its inputs cannot be read: {e}")))
}

/// Adds a session (one run of the command) to the manifest, or replaces the last one.
pub fn write(folder: &Path, run: &Value, session: &Value, first_time: bool) -> Result<(), Failure> {
    let file = folder.join(MANIFEST);
    let old: Value =
        fs::read_to_string(&file).ok().and_then(|t| serde_json::from_str(&t).ok()).unwrap_or_default();
    let mut sessions = old["sessions"].as_array().cloned().unwrap_or_default();
    if !first_time {
        sessions.pop();
    }
    // Nobody else writes to the folder, so whoever began this did not live to tell its end.
    for session in sessions.iter_mut().filter(|session| session["outcome"] == "running") {
        session["outcome"] = "killed".into();
    }
    sessions.push(session.clone());
    let mut manifest = run.clone();
    manifest["sessions"] = Value::Array(sessions);
    let text = serde_json::to_string_pretty(&manifest).expect("string keys") + "\n";
    Ok(write_atomic(&file, text.as_bytes())?)
}
