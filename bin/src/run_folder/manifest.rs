//! `manifest.json`: what a run was made with, from and by.

use std::fs;
use std::path::Path;

use nn::write_atomic;
use serde_json::Value;

use super::inputs::Inputs;
use super::{CHECKPOINT, CONFIG, FINAL, MANIFEST, META, METRICS, made_by, unread};
use crate::failure::Failure;
use crate::system;

/// The version of the folder's files. It grows when an older comhe could not resume a run of a newer one, or the
/// other way round.
pub const FORMAT: u64 = 2;

/// Makes sure that a folder is that of a run, and has its settings.
pub fn is_run(folder: &Path) -> Result<(), Failure> {
    if folder.join(CONFIG).is_file() {
        return Ok(());
    }
    if folder.join(META).is_file() {
        let text = "is of comhe meta, whose runs are for comhe report, comhe replay and comhe meta --resume";
        return Err(Failure::place(folder, text));
    }
    if !folder.is_dir() {
        let problem = if folder.exists() { "is no folder" } else { "does not exist" };
        return Err(Failure::place(folder, format_args!("{problem}; a run folder is needed")));
    }
    let part = [CHECKPOINT, FINAL, METRICS, MANIFEST].into_iter().find(|name| folder.join(name).exists());
    Err(match part {
        Some(part @ (CHECKPOINT | FINAL)) => Failure::place(
            folder,
            format_args!(
                "is half there: it has {part}, but no {CONFIG}; the weights can be used by their file's name, with \
                 --model and --dataset"
            ),
        ),
        Some(part) => Failure::place(folder, format_args!("is half there: it has {part}, but no {CONFIG}")),
        None => Failure::place(folder, format_args!("is no run folder: it has no {CONFIG}")),
    })
}

/// Of the run in a folder; None if it was killed before it began.
pub fn load(folder: &Path) -> Result<Option<Value>, Failure> {
    is_run(folder)?;
    begun(folder)
}

/// The same of a folder that is known to be of a run.
pub fn begun(folder: &Path) -> Result<Option<Value>, Failure> {
    if !folder.join(MANIFEST).exists() && !folder.join(CHECKPOINT).exists() {
        return Ok(None);
    }
    read(folder).map(Some)
}

/// The manifest of a folder with a checkpoint.
pub fn read(folder: &Path) -> Result<Value, Failure> {
    let path = folder.join(MANIFEST);
    if !path.exists() {
        let text = format_args!("is half there: it has {CHECKPOINT}, but no {MANIFEST}");
        return Err(Failure::place(folder, text));
    }
    let text = fs::read_to_string(&path).map_err(|e| unread(&path, &e))?;
    let manifest: Value = serde_json::from_str(&text)
        .map_err(|e| Failure::place(&path, format_args!("is no manifest of a run: {e}")))?;
    if let Some(format) = manifest.get("format").filter(|format| !format.is_u64()) {
        return Err(Failure::place(&path, format_args!("is no manifest of a run: its format is {format}")));
    }
    match age(&manifest) {
        None => Ok(manifest),
        Some(age) => {
            let (command, settings) = made_by(folder);
            let weights = if command == "train" { "its weights can be used by comhe eval, and " } else { "" };
            let settings = folder.join(settings);
            Err(Failure::place(
                folder,
                format_args!(
                    "is of {age}; {weights}its settings can be used by comhe {command} --config {}",
                    settings.display()
                ),
            ))
        }
    }
}

/// The manifest of a folder, if there is one that can be read, of whatever version.
pub fn any(folder: &Path) -> Option<Value> {
    serde_json::from_str(&fs::read_to_string(folder.join(MANIFEST)).ok()?).ok()
}

/// Which comhe wrote a run whose folder this one does not know.
fn age(manifest: &Value) -> Option<String> {
    match manifest["format"].as_u64().unwrap_or(1) {
        FORMAT => None,
        older @ ..FORMAT => {
            Some(format!("an older version of comhe (folder format {older}; this one knows {FORMAT})"))
        }
        newer => Some(format!("a newer version of comhe (folder format {newer}; this one knows {FORMAT})")),
    }
}

/// Which comhe wrote the run of a folder, if it was another one than this.
pub fn other_version(folder: &Path) -> Option<String> {
    let manifest = any(folder)?;
    let session = manifest["sessions"].as_array().and_then(|sessions| sessions.last());
    let of = |key: &str| session.and_then(|s| s[key].as_str()).unwrap_or("unknown").to_string();
    let (version, commit) = (of("version"), of("commit"));
    let same = version == env!("CARGO_PKG_VERSION") && commit == system::COMMIT;
    age(&manifest).or_else(|| (!same).then(|| format!("comhe {version}, commit {commit}")))
}

/// The SHA-256 of the final weights, as the run in a folder wrote it down.
pub fn final_hash(folder: &Path) -> Option<String> {
    Some(any(folder)?["final"]["sha256"].as_str()?.to_string())
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
