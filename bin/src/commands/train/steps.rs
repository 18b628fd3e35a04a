//! The steps of a run, with evaluations, measurements and checkpoints between them.

use std::time::{Duration, Instant};

use comhe::{LayerReport, REGULARISERS};
use nn::{Archive, Evaluation, Module, Outcome, Trainer};

use super::begun::Begun;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::run_folder::{Judged, RunFolder, Score};
use crate::setup::{self, Setup};
use crate::{data, stop};

/// Steps between two measurements of energies, at least by default: one costs up to half a step, which is so less than a
/// hundredth of the run.
const APART: u64 = 100;

/// What measuring energies and angles took.
#[derive(Default)]
pub struct Cost {
    pub measurements: u32,
    pub time: Duration,
}

impl Cost {
    /// Milliseconds a measurement, and the share of a time.
    pub fn of(&self, whole: Duration) -> (f64, f64) {
        let each = 1e3 * self.time.as_secs_f64() / f64::from(self.measurements.max(1));
        (each, self.time.as_secs_f64() / whole.as_secs_f64().max(1e-9))
    }
}

impl Begun {
    /// Makes the steps that are left.
    pub fn steps(&mut self, progress: &mut Progress, cost: &mut Cost) -> Result<Outcome, Failure> {
        let batches = self.setup.batches();
        let Begun { setup, folder, config, watch, .. } = self;
        let Setup { dataset, loader, trainer, dtype, steps, epoch, .. } = setup;
        let every = config.eval_every.unwrap_or(*epoch);
        let energy_every = config.energy_every.unwrap_or(APART.max(every).next_multiple_of(every));
        let on = Judged::of(config).name();
        // The first and the last step have both.
        let due = |done: u64, every: u64| done.is_multiple_of(every) || done == *steps;
        let mut last_loss = None;
        let mut assess = |trainer: &mut Trainer, folder: &mut RunFolder, progress: &mut Progress| {
            let step = trainer.step_count();
            let seen = match due(step, every) {
                true => Some(trainer.evaluate(data::judged(dataset, *dtype))?),
                false => None,
            };
            let layers = match due(step, energy_every) {
                true => Some(measured(trainer, cost)?),
                false => None,
            };
            if step == 0 {
                layers.iter().for_each(|layers| told_if_too_small(&config.reg, layers, progress));
            }
            progress.seen(step, seen.as_ref().map(|e| [e.loss, e.accuracy]), layers.as_deref().map(means));
            if seen.is_some() || layers.is_some() {
                folder.between(step, seen.as_ref(), layers)?;
            }
            if let Some(seen) = seen {
                last_loss = Some(seen.loss);
                trainer.judge(seen.loss);
                folder.candidate(step, Score::of(&seen), || Archive::of(trainer.trained().state_dict()));
                progress.say(&format!("step {step}: {}", summary(on, &seen)));
            }
            Ok::<(), Failure>(())
        };
        // A run that was stopped before its first step has the line already.
        if folder.is_empty() {
            assess(trainer, folder, progress)?;
        }
        let fitted = trainer.fit(batches, &stop::STOP, |trainer, metrics| {
            let done = metrics.step + 1;
            folder.step(metrics)?;
            if let Some((step, seen)) = watch.look(trainer)? {
                folder.watched(step, &seen)?;
            }
            progress.step(metrics, loader.config().batch_size);
            assess(trainer, folder, progress)?;
            if done % config.checkpoint_every == 0 && done != *steps {
                folder.checkpoint(watch.kept(trainer.checkpoint()))?;
            }
            Ok::<(), Failure>(())
        });
        let outcome = fitted.map_err(|failure| setup::explained(&trainer.model, failure))?;
        folder.checkpoint(watch.kept(trainer.checkpoint()))?;
        // Weights may be finite and yet so large that the outputs overflow.
        if let Some(loss) = last_loss.filter(|loss| outcome != Outcome::Stopped && !loss.is_finite()) {
            return Err(Failure::unfinished(format_args!(
                "step {}: the {on} loss is {loss}; the run diverged: try a smaller --lr (it was {:?})",
                trainer.step_count(),
                config.rate()
            )));
        }
        if outcome == Outcome::Converged {
            let (step, n) = (trainer.step_count(), config.early_stopping.unwrap_or_default());
            progress
                .say(&format!("step {step}: the loss has not fallen in {n} evaluations; the run ends here"));
        }
        if outcome != Outcome::Stopped {
            folder.finish(Archive::of(trainer.trained().state_dict()))?;
        }
        Ok(outcome)
    }
}

/// The numbers of an evaluation on a split in a line.
fn summary(on: &str, e: &Evaluation) -> String {
    match &e.regression {
        None => format!("{on} accuracy {:.2} %, loss {:.4}", 100.0 * e.accuracy, e.loss),
        Some(errors) => {
            format!("{on} loss {:.4}, mean absolute error {:.4}, R2 {:.4}", e.loss, errors.mae(), errors.r2())
        }
    }
}

/// The mean energies of some layers, full and half-space, and the smallest angle in any.
fn means(layers: &[LayerReport]) -> [f64; 3] {
    let mean =
        |what: fn(&LayerReport) -> f64| layers.iter().map(what).sum::<f64>() / layers.len().max(1) as f64;
    let angle = layers.iter().filter_map(|l| l.smallest_angle).fold(f64::INFINITY, f64::min);
    [mean(|l| l.full), mean(|l| l.half_space), angle]
}

/// Says so if no layer is large enough to be projected: k above d is allowed, and has nothing to do.
fn told_if_too_small(reg: &str, layers: &[LayerReport], progress: &mut Progress) {
    let fewer = registry::find(REGULARISERS, "regulariser", reg).is_ok_and(|row| row.reads("k"));
    if fewer && layers.iter().all(|layer| layer.regulariser != Some(reg)) {
        let instead = layers.iter().filter(|layer| layer.regulariser == Some("hs-mhe"));
        let most = instead.map(|layer| layer.d).max().unwrap_or(0);
        progress.say(&format!(
            "no hidden layer has dimensions enough for {reg}, so that all get half-space energy as it is; take a --reg-k of \
             {most} or less"
        ));
    }
}

/// The energies and angles of all layers, and what it took to measure them.
fn measured(trainer: &Trainer, cost: &mut Cost) -> Result<Vec<LayerReport>, Failure> {
    let start = Instant::now();
    let layers = setup::energies(trainer)?;
    cost.measurements += 1;
    cost.time += start.elapsed();
    Ok(layers)
}
