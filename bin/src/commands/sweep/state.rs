//! The state and the scores of a run, from its folder.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::file::Select;
use super::plan::{Job, Place};
use crate::config::Config;
use crate::failure::Failure;
use crate::run_folder::{self, CHECKPOINT, CONFIG, FINAL, METRICS};
use crate::statistics::Measure;

/// The state of a run.
#[derive(Debug, PartialEq)]
pub enum State {
    Finished,
    /// It has a checkpoint to resume from.
    Resumable,
    /// It has no checkpoint.
    New,
}

/// The state of a run. A folder that has other settings than the job is an error.
pub fn state(place: &Place, job: &Job) -> Result<State, Failure> {
    let folder = place.run(job);
    if !folder.join(CONFIG).is_file() {
        return Ok(State::New);
    }
    let found = run_folder::settings(&folder)?;
    // No result depends on these; a loss that the job leaves open is chosen by the data.
    let loss = |config: &Config| job.config.loss.and(config.loss);
    let of = |config: &Config| Config { threads: None, data_dir: None, loss: loss(config), ..config.clone() };
    if of(&found) != of(&job.config) {
        return Err(Failure::place(
            &folder,
            "has other settings than the sweep gave it; move it away, and the run is repeated",
        ));
    }
    Ok(match () {
        () if folder.join(FINAL).is_file() => State::Finished,
        () if folder.join(CHECKPOINT).is_file() => State::Resumable,
        () => State::New,
    })
}

/// The scores of a run on the examples that it is evaluated on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scores {
    pub best: f64,
    pub last: f64,
    pub measure: Measure,
}

impl Scores {
    /// The score by which the run is compared.
    pub fn selected(&self, select: Select) -> f64 {
        if select == Select::Best { self.best } else { self.last }
    }

    /// The same, negative for losses: larger is better.
    pub fn rank(&self, select: Select) -> f64 {
        let score = self.selected(select);
        if self.measure == Measure::Loss { -score } else { score }
    }

    /// The last score as text.
    pub fn text(&self) -> String {
        let score = self.measure.text(self.last);
        if self.measure == Measure::Loss { format!("loss {score}") } else { format!("accuracy {score} %") }
    }
}

/// The scores of a finished run, from its log; an error without the folder's name if there are none.
pub fn scores(folder: &Path, hold_out: f64) -> Result<Scores, String> {
    let [accuracy, loss] = if hold_out > 0.0 { ["val_acc", "val_loss"] } else { ["test_acc", "test_loss"] };
    let text =
        fs::read_to_string(folder.join(METRICS)).map_err(|e| format!("{METRICS} cannot be read: {e}"))?;
    let lines = text.lines().filter(|line| line.contains(loss));
    let lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    // The evaluation at step 0 is of untrained weights.
    let evaluations: Vec<Value> = lines.filter(|line| line["step"].as_u64() > Some(0)).collect();
    let last = evaluations.last().ok_or_else(|| format!("{METRICS} has no {loss} after step 0"))?;
    // NaN and infinities are null in JSON.
    if last[loss].is_null() {
        return Err("the loss of its last evaluation is not finite: the run diverged".into());
    }
    let measure = if last[accuracy].is_null() { Measure::Loss } else { Measure::Accuracy };
    let key = if measure == Measure::Loss { loss } else { accuracy };
    let finite = evaluations.iter().filter(|line| !line[loss].is_null());
    let values: Vec<f64> = finite.filter_map(|line| line[key].as_f64()).collect();
    let best = values.iter().copied().reduce(if measure == Measure::Loss { f64::min } else { f64::max });
    let both = best.zip(values.last().copied());
    let scores = both.map(|(best, last)| Scores { best, last, measure });
    scores.ok_or_else(|| format!("{METRICS} has no {key} after step 0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_of_the_log() {
        let here = tempfile::tempdir().unwrap();
        let of = |lines: &[&str]| {
            fs::write(here.path().join(METRICS), lines.join("\n")).unwrap();
            scores(here.path(), 0.1)
        };
        let untrained = r#"{"step":0,"val_loss":0.1,"val_acc":0.9}"#;
        let found = of(&[
            untrained,
            r#"{"step":1,"val_loss":2,"val_acc":0.5}"#,
            r#"{"step":2,"val_loss":2,"val_acc":0.25}"#,
        ]);
        assert_eq!(found, Ok(Scores { best: 0.5, last: 0.25, measure: Measure::Accuracy }));
        // A loss that is not finite counts neither as the best nor as the last one.
        let found = of(&[
            r#"{"step":1,"val_loss":null}"#,
            r#"{"step":2,"val_loss":2.5}"#,
            r#"{"step":3,"val_loss":3}"#,
        ]);
        assert_eq!(found, Ok(Scores { best: 2.5, last: 3.0, measure: Measure::Loss }));
        assert!(
            of(&[r#"{"step":1,"val_loss":2}"#, r#"{"step":2,"val_loss":null}"#])
                .unwrap_err()
                .contains("diverged")
        );
        assert!(of(&[r#"{"step":1,"val_loss":null,"val_acc":0.5}"#]).unwrap_err().contains("diverged"));
        assert!(of(&[untrained]).unwrap_err().contains("has no val_loss after step 0"));
    }
}
