//! `--watch`: instruments on the steps of a run, a line of the log a watched step.

mod measure;
pub mod picture;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use autograd::{Key, Tensor};
use clap::ValueEnum;
use nn::{Archive, Trainer};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::Config;
use crate::failure::Failure;

/// What can be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Instrument {
    /// Gradient norm, and dead units of ReLUs
    Grad,
    /// |w_new - w_old| / |w_old|, and dead units of ReLUs
    Update,
    /// Share of a ReLU's units that are 0 on the whole batch
    Dead,
    /// Hyperspherical energy, full space and half-space
    Energy,
    /// Smallest angle between two neurons
    Angles,
    /// Gradient noise scale, from the gradient of each image of the batch
    Noise,
    /// Largest eigenvalue of the Hessian of the batch's cross-entropy, by Lanczos
    Sharpness,
    /// The same of each layer's diagonal block, too
    SharpnessLayers,
    /// Cosine of the gradient with that of the step before, and of the data's gradient with the regulariser's
    Cosine,
}

/// Steps between two watched ones by default.
const EVERY: u64 = 10;
/// The prefix, in a checkpoint, of the gradient that the next step's cosine needs.
const PREVIOUS: &str = "watch";

/// The instruments of a run.
pub struct Watch {
    instruments: Vec<Instrument>,
    every: u64,
    /// Where Lanczos starts follows from it and the step.
    key: Key,
    /// The gradient of the last step by parameter, if the next one is watched.
    previous: Option<BTreeMap<String, Tensor>>,
    measurements: u32,
    time: Duration,
}

impl Watch {
    /// The instruments of the settings, put on a trainer. Without any, the trainer keeps nothing.
    pub fn new(config: &Config, trainer: &mut Trainer) -> Watch {
        let (instruments, every) = (config.watch.clone(), config.watch_every.unwrap_or(EVERY));
        let cosine = instruments.contains(&Instrument::Cosine);
        if !instruments.is_empty() {
            // The cosine needs the gradient of the step before, too.
            trainer.observe(move |step| {
                step.is_multiple_of(every) || cosine && (step + 1).is_multiple_of(every)
            });
        }
        Watch {
            instruments,
            every,
            key: Key::new(config.seed).stream("watch"),
            previous: None,
            measurements: 0,
            time: Duration::ZERO,
        }
    }

    fn has(&self, instrument: Instrument) -> bool {
        self.instruments.contains(&instrument)
    }

    /// What the instruments say of the last step, if it was watched: its number and the object of the log.
    pub fn look(&mut self, trainer: &Trainer) -> Result<Option<(u64, Value)>, Failure> {
        let Some(seen) = trainer.observed() else {
            self.previous = None;
            return Ok(None);
        };
        let start = Instant::now();
        let line = match seen.step.is_multiple_of(self.every) {
            true => Some((seen.step, self.measured(seen, trainer)?)),
            false => None,
        };
        let wanted = self.has(Instrument::Cosine) && (seen.step + 1).is_multiple_of(self.every);
        self.previous = wanted.then(|| seen.gradients.clone());
        self.measurements += u32::from(line.is_some());
        self.time += start.elapsed();
        Ok(line)
    }

    /// A checkpoint with what the next watched step needs.
    pub fn kept(&self, mut archive: Archive) -> Archive {
        archive.add(PREVIOUS, self.previous.iter().flatten().map(|(name, g)| (name.clone(), g.clone())));
        archive
    }

    /// Takes up what [`Watch::kept`] put into a checkpoint, where it fits the model.
    pub fn resume(&mut self, archive: &Archive) {
        let kept: BTreeMap<String, Tensor> = archive.part(PREVIOUS).into_iter().collect();
        self.previous = Some(kept).filter(|kept| !kept.is_empty());
    }

    /// For the manifest and the user: how often was measured and what it took; None without instruments.
    pub fn cost(&self, whole: Duration) -> Option<Value> {
        let ms_each = 1e3 * self.time.as_secs_f64() / f64::from(self.measurements.max(1));
        let share = self.time.as_secs_f64() / whole.as_secs_f64().max(1e-9);
        let measurements = self.measurements;
        (!self.instruments.is_empty())
            .then(|| json!({ "measurements": measurements, "ms_each": ms_each, "share_of_time": share }))
    }
}
