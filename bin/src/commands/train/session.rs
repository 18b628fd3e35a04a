//! One run of the command on a run: what it does, and what the manifest says of it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use nn::{Module, Outcome};
use serde_json::{Value, json};

use super::begun::Begun;
use super::name;
use super::steps::Cost;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::run_folder::{self, identity, manifest};
use crate::setup::{self, Setup};
use crate::system;

/// When a session began, and at which step.
struct Session {
    start: Instant,
    started: String,
    from: u64,
    steps: u64,
}

impl Session {
    /// As the manifest has it: up to step `to`, with what was measured on the way.
    fn record(&self, to: u64, outcome: &str, images_per_second: f64, cost: &Cost) -> Value {
        let (ms_each, share) = cost.of(self.start.elapsed());
        json!({
            "command": system::command(),
            "version": env!("CARGO_PKG_VERSION"),
            "commit": system::COMMIT,
            "cpu": system::cpu(),
            "cpu_features": system::cpu_features(),
            "instructions": system::instructions(),
            "gemm": autograd::gemm_backend_in_use().to_string(),
            "cores": setup::cores(),
            "threads": autograd::threads(),
            "started": self.started,
            "seconds": self.start.elapsed().as_secs_f64(),
            "steps": self.steps,
            "from_step": self.from,
            "to_step": to,
            "images_per_second": images_per_second,
            "energies": { "measurements": cost.measurements, "ms_each": ms_each, "share_of_time": share },
            "peak_memory_mib": system::peak_memory(),
            "outcome": outcome,
        })
    }
}

impl Begun {
    /// Trains, with live curves or without, and writes all files of the folder, which is returned.
    pub fn train(self, live: bool) -> Result<PathBuf, Failure> {
        let path = self.folder.path().to_path_buf();
        self.session(live).map_err(Failure::mid_run)?;
        Ok(path)
    }

    fn session(mut self, live: bool) -> Result<(), Failure> {
        let dataset = &self.setup.dataset;
        dataset.notes.iter().for_each(|note| eprintln!("{}: {note}", dataset.name));
        let mut manifest = description(&self)?;
        let (from, steps) = (self.setup.trainer.step_count(), self.setup.steps);
        let session = Session { start: Instant::now(), started: system::now(), from, steps };
        self.folder.manifest(&manifest, &session.record(from, "running", 0.0, &Cost::default()), true)?;

        let mut progress = match live {
            true => {
                let title = format!("{} -> {}", name(&self.config), self.folder.path().display());
                Progress::live(steps, from, title)?
            }
            false => Progress::new(steps, from),
        };
        let mut cost = Cost::default();
        let outcome = self.steps(&mut progress, &mut cost);
        let done = self.setup.trainer.step_count();
        let told = match &outcome {
            Ok(Outcome::Finished) => "finished".to_string(),
            Ok(Outcome::Converged) => "finished by early stopping".to_string(),
            Ok(Outcome::Stopped) => "stopped".to_string(),
            Err(failure) => format!("failed: {}", failure.message().unwrap_or_default()),
        };
        let mut record = session.record(done, &told, progress.images_per_second(), &cost);
        let watched = self.watch.cost(session.start.elapsed());
        if let Some(watched) = &watched {
            record["watch"] = watched.clone();
        }
        if let Ok(Outcome::Finished | Outcome::Converged) = outcome {
            self.folder.results()?.into_iter().for_each(|(key, value)| manifest[key] = value);
        }
        let written = self.folder.manifest(&manifest, &record, false);
        drop(progress);
        let costs = [("energies", Some(&record["energies"])), ("watch", watched.as_ref())];
        for (what, cost) in costs.into_iter().filter_map(|(what, cost)| Some((what, cost?))) {
            let number = |key: &str| cost[key].as_f64().unwrap_or_default();
            eprintln!(
                "{what}: measured {} times, {:.2} ms each, {:.2} % of the time",
                number("measurements"),
                number("ms_each"),
                100.0 * number("share_of_time")
            );
        }
        match outcome {
            Ok(Outcome::Finished | Outcome::Converged) => {
                written?;
                self.folder.plots()
            }
            Ok(Outcome::Stopped) => Err(Failure::unfinished(format_args!(
                "stopped after step {done} of {steps}; resume it with: comhe train --resume {}",
                self.folder.path().display()
            ))),
            Err(failure) => Err(with_checkpoint(failure, self.folder.path())),
        }
    }
}

/// What the manifest says about the run as a whole.
fn description(begun: &Begun) -> Result<Value, Failure> {
    let Begun { setup: Setup { dataset, trainer, steps, epoch, .. }, config, inputs, .. } = begun;
    let standard = dataset.standardisation();
    let mut manifest = json!({
        "format": manifest::FORMAT,
        "seeds": { "run": config.seed, "data": config.data_seed },
        identity::SETTINGS: identity::of(config)?,
        "inputs": inputs,
        "data": {
            "name": dataset.name,
            "notes": dataset.notes,
            "training_images": dataset.train.len(),
            "test_images": dataset.test.len(),
            "shape": dataset.shape(),
            "classes": dataset.classes,
            "outputs": dataset.outputs(),
            "mean": standard.mean,
            "std": standard.std,
        },
        "model": {
            "name": trainer.model.name,
            "parameters": trainer.model.parameter_count(),
            "flops_an_image": trainer.model.summary().flops(),
        },
        "steps": steps,
        "steps_an_epoch": epoch,
    });
    begun.origin.iter().for_each(|(key, value)| manifest[*key] = value.clone());
    Ok(manifest)
}

/// A failure of a run, with the step from which it can resume.
fn with_checkpoint(failure: Failure, folder: &Path) -> Failure {
    let Some(message) = failure.message() else { return failure };
    Failure::unfinished(match run_folder::last_good(folder) {
        Some((step, name)) => {
            format!("{message}; the last good checkpoint is {} (step {step})", folder.join(name).display())
        }
        None => format!("{message}; no checkpoint had been written (see --checkpoint-every)"),
    })
}
