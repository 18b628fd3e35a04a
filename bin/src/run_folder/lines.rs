//! The lines of a run's log, and what can be read from them again.

use comhe::LayerReport;
use nn::{Archive, Evaluation, StepMetrics};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::config::Config;

/// A line of the log as it is read.
pub type Line = Map<String, Value>;

/// A line of the log after a step.
#[derive(Serialize)]
pub struct StepLine {
    step: u64,
    epoch: u64,
    loss: f64,
    fit: f64,
    reg: f64,
    lr: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    acc: Option<f64>,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

impl StepLine {
    /// What training says of a step.
    pub fn of(m: &StepMetrics) -> StepLine {
        let extra = m.extra.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let StepMetrics { step, epoch, loss, fit, reg, lr, accuracy, .. } = *m;
        let acc = (!accuracy.is_nan()).then_some(accuracy);
        StepLine { step, epoch, loss, fit, reg, lr, acc, extra }
    }
}

/// A line of the log between steps: an evaluation, a measurement of the layers, or both. `step` counts the steps done.
#[derive(Serialize)]
pub struct BetweenLine {
    pub step: u64,
    #[serde(flatten)]
    pub judged: Option<JudgedLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers: Option<Vec<LayerLine>>,
}

/// What an evaluation gave, on the split that its keys name.
#[derive(Serialize)]
#[serde(untagged)]
pub enum JudgedLine {
    Test { test_loss: f64, test_acc: f64 },
    Validation { val_loss: f64, val_acc: f64 },
    TestErrors { test_loss: f64, test_mae: f64, test_r2: f64 },
    ValidationErrors { val_loss: f64, val_mae: f64, val_r2: f64 },
}

/// The number by which the best weights are chosen: the accuracy of classes, the loss of real targets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Score {
    /// Larger is better.
    Accuracy(f64),
    /// Smaller is better.
    Loss(f64),
}

impl Score {
    /// That of an evaluation.
    pub fn of(e: &Evaluation) -> Score {
        if e.regression.is_some() { Score::Loss(e.loss) } else { Score::Accuracy(e.accuracy) }
    }

    /// The number.
    pub fn value(self) -> f64 {
        match self {
            Score::Accuracy(value) | Score::Loss(value) => value,
        }
    }

    /// Another number of the same kind.
    pub fn with(self, value: f64) -> Score {
        match self {
            Score::Accuracy(_) => Score::Accuracy(value),
            Score::Loss(_) => Score::Loss(value),
        }
    }

    /// Whether it is strictly better than another one of its kind.
    pub fn beats(self, other: Score) -> bool {
        match self {
            Score::Accuracy(value) => value > other.value(),
            Score::Loss(value) => value < other.value() || (other.value().is_nan() && !value.is_nan()),
        }
    }
}

/// What a run is evaluated on.
#[derive(Clone, Copy, PartialEq)]
pub enum Judged {
    /// The test images.
    Test,
    /// Training images that were held out.
    Validation,
}

impl Judged {
    /// What the runs of some settings are evaluated on.
    pub fn of(config: &Config) -> Judged {
        if config.hold_out > 0.0 { Judged::Validation } else { Judged::Test }
    }

    /// The log's key of the accuracy.
    fn accuracy(self) -> &'static str {
        if self == Judged::Test { "test_acc" } else { "val_acc" }
    }

    /// The log's key of the loss.
    fn loss(self) -> &'static str {
        if self == Judged::Test { "test_loss" } else { "val_loss" }
    }

    /// The log's key of a score.
    pub fn key(self, score: Score) -> &'static str {
        match score {
            Score::Accuracy(_) => self.accuracy(),
            Score::Loss(_) => self.loss(),
        }
    }

    /// In a word.
    pub fn name(self) -> &'static str {
        if self == Judged::Test { "test" } else { "validation" }
    }

    /// An evaluation on it as part of a line.
    pub fn line(self, e: &Evaluation) -> JudgedLine {
        match (self, &e.regression) {
            (Judged::Test, None) => JudgedLine::Test { test_loss: e.loss, test_acc: e.accuracy },
            (Judged::Validation, None) => JudgedLine::Validation { val_loss: e.loss, val_acc: e.accuracy },
            (Judged::Test, Some(errors)) => {
                JudgedLine::TestErrors { test_loss: e.loss, test_mae: errors.mae(), test_r2: errors.r2() }
            }
            (Judged::Validation, Some(errors)) => {
                JudgedLine::ValidationErrors { val_loss: e.loss, val_mae: errors.mae(), val_r2: errors.r2() }
            }
        }
    }
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

/// The lines of a log that are JSON objects, as text and as objects, and the numbers of those that are not, from 1 on.
pub fn intact(log: &[u8]) -> (Vec<u8>, Vec<Line>, Vec<usize>) {
    let (mut kept, mut lines, mut damaged) = (Vec::with_capacity(log.len()), Vec::new(), Vec::new());
    for (i, text) in log.split_inclusive(|&byte| byte == b'\n').enumerate() {
        match serde_json::from_slice::<Line>(text) {
            Ok(line) if text.ends_with(b"\n") => {
                kept.extend(text);
                lines.push(line);
            }
            _ => damaged.push(i + 1),
        }
    }
    (kept, lines, damaged)
}

/// The best evaluation of a run so far, the first among equals.
pub struct Best {
    pub step: u64,
    pub score: Score,
    /// Its weights, until they are written.
    pub weights: Option<Archive>,
}

impl Best {
    /// That of a log, of a trained network.
    pub fn of(lines: &[Line], judged: Judged) -> Option<Best> {
        let of = |line: &Line| {
            let loss = line.get(judged.loss())?;
            let score = match line.get(judged.accuracy()) {
                Some(accuracy) => Score::Accuracy(accuracy.as_f64()?),
                None => Score::Loss(loss.as_f64()?),
            };
            Some((line.get("step")?.as_u64()?, score))
        };
        let trained = lines.iter().filter_map(of).filter(|(step, _)| *step > 0);
        let best = trained.reduce(|best, next| if next.1.beats(best.1) { next } else { best });
        best.map(|(step, score)| Best { step, score, weights: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_of_real_targets_has_the_smallest_loss() {
        let best = |key: &str, values: [(f64, f64); 3]| {
            let line = |(step, (loss, other)): (usize, (f64, f64))| {
                let value = json!({ "step": step, "test_loss": loss, (key): other });
                value.as_object().unwrap().clone()
            };
            let lines: Vec<Line> = values.into_iter().enumerate().map(line).collect();
            Best::of(&lines, Judged::Test).map(|best| (best.step, best.score))
        };
        // Of equals the first; nothing before the first step counts, nor a loss that is not finite.
        let values = [(0.1, 0.9), (0.5, 0.6), (0.5, 0.6)];
        assert_eq!(best("test_acc", values), Some((1, Score::Accuracy(0.6))));
        assert_eq!(best("test_mae", values), Some((1, Score::Loss(0.5))));
        let values = [(0.1, 0.9), (f64::NAN, 0.7), (0.5, 0.8)];
        assert_eq!(best("test_acc", values), Some((2, Score::Accuracy(0.8))));
        assert_eq!(best("test_mae", values), Some((2, Score::Loss(0.5))));
        assert!(
            !Score::Loss(f64::NAN).beats(Score::Loss(1.0)) && Score::Loss(1.0).beats(Score::Loss(f64::NAN))
        );
    }
}
