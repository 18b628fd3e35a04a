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
    acc: f64,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

impl StepLine {
    /// What training says of a step.
    pub fn of(m: &StepMetrics) -> StepLine {
        let extra = m.extra.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let StepMetrics { step, epoch, loss, fit, reg, lr, accuracy: acc, .. } = *m;
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

    /// The log's key of the accuracy, by which the best weights are chosen.
    pub fn accuracy(self) -> &'static str {
        if self == Judged::Test { "test_acc" } else { "val_acc" }
    }

    /// In a word.
    pub fn name(self) -> &'static str {
        if self == Judged::Test { "test" } else { "validation" }
    }

    /// An evaluation on it as part of a line.
    pub fn line(self, e: &Evaluation) -> JudgedLine {
        match self {
            Judged::Test => JudgedLine::Test { test_loss: e.loss, test_acc: e.accuracy },
            Judged::Validation => JudgedLine::Validation { val_loss: e.loss, val_acc: e.accuracy },
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
    pub accuracy: f64,
    /// Its weights, until they are written.
    pub weights: Option<Archive>,
}

impl Best {
    /// That of a log, of a trained network.
    pub fn of(lines: &[Line], judged: Judged) -> Option<Best> {
        let of = |line: &Line| Some((line.get("step")?.as_u64()?, line.get(judged.accuracy())?.as_f64()?));
        let trained = lines.iter().filter_map(of).filter(|(step, _)| *step > 0);
        let best = trained.reduce(|best, next| if next.1 > best.1 { next } else { best });
        best.map(|(step, accuracy)| Best { step, accuracy, weights: None })
    }
}
