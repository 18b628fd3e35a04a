//! What the folder of a run says: whether it is finished, and how good it became.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::file::Select;
use super::plan::{Job, Place};
use crate::config::Config;
use crate::failure::Failure;
use crate::run_folder::{self, CHECKPOINT, CONFIG, FINAL, METRICS};

/// How far a run is.
#[derive(Debug, PartialEq)]
pub enum State {
    Finished,
    /// It has a checkpoint to go on from.
    Begun,
    /// There is nothing, or nothing to go on from.
    New,
}

/// How far a run is. Its folder must have the frozen settings.
pub fn state(place: &Place, job: &Job) -> Result<State, Failure> {
    let folder = place.run(job);
    if !folder.join(CONFIG).is_file() {
        return Ok(State::New);
    }
    let found = run_folder::settings(&folder)?;
    // What no number depends on may differ.
    let of = |config: &Config| Config { threads: None, data_dir: None, ..config.clone() };
    if of(&found) != of(&job.config) {
        return Err(Failure::place(
            &folder,
            "has other settings than the sweep froze for it; move it away, and it will be made again",
        ));
    }
    Ok(match () {
        () if folder.join(FINAL).is_file() => State::Finished,
        () if folder.join(CHECKPOINT).is_file() => State::Begun,
        () => State::New,
    })
}

/// Accuracies of a run on what it is judged on; of real targets, losses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    pub best: f64,
    pub last: f64,
    /// Whether they are losses.
    pub real: bool,
}

impl Judged {
    pub fn by(&self, select: Select) -> f64 {
        if select == Select::Best { self.best } else { self.last }
    }

    /// The same so that larger is better.
    pub fn rank(&self, select: Select) -> f64 {
        if self.real { -self.by(select) } else { self.by(select) }
    }

    /// The last one in words.
    pub fn words(&self) -> String {
        if self.real {
            format!("loss {:.6}", self.last)
        } else {
            format!("accuracy {:.2} %", 100.0 * self.last)
        }
    }
}

/// How good a finished run became, from its log.
pub fn judged(folder: &Path, hold_out: f64) -> Result<Judged, Failure> {
    let [key, loss] = if hold_out > 0.0 { ["val_acc", "val_loss"] } else { ["test_acc", "test_loss"] };
    let path = folder.join(METRICS);
    let text =
        fs::read_to_string(&path).map_err(|e| Failure::place(&path, format_args!("cannot be read: {e}")))?;
    let lines =
        text.lines().filter(|line| line.contains(loss)).filter_map(|l| serde_json::from_str::<Value>(l).ok());
    // Before the first step there is nothing to judge.
    let lines: Vec<Value> = lines.filter(|l| l["step"].as_u64() > Some(0)).collect();
    // Real targets have no accuracy.
    let real = !lines.is_empty() && lines.iter().all(|l| l[key].is_null());
    let key = if real { loss } else { key };
    let found: Vec<f64> = lines.iter().filter_map(|l| l[key].as_f64()).collect();
    let best = found.iter().copied().reduce(if real { f64::min } else { f64::max });
    best.zip(found.last().copied())
        .map(|(best, last)| Judged { best, last, real })
        .ok_or_else(|| Failure::place(&path, format_args!("has no {key} after step 0")))
}
