//! One run of the command on a run.

use std::path::Path;
use std::time::Instant;

use autograd::{DType, Tensor};
use datasets::{Loader, LoaderConfig, Split, Tasks};
use nn::meta::{MeanInterval, MetaEvaluation, MetaMetrics, MetaTrainer, Task};
use nn::{Archive, Module, StepMetrics};
use serde_json::{Value, json};

use super::folder::Folder;
use super::setup::{dtype, tests, trainer};
use crate::config::meta::{MetaConfig, Sizes};
use crate::failure::Failure;
use crate::hash::sha256_of_file;
use crate::progress::Progress;
use crate::run_folder::identity::{self, SETTINGS};
use crate::run_folder::inputs::Inputs;
use crate::run_folder::{self, FINAL, manifest, unread};
use crate::statistics::count;
use crate::{data, setup, stop, system};

/// A run that is ready to go, and where it goes.
pub struct Session {
    pub config: MetaConfig,
    pub tasks: Tasks,
    pub trainer: MetaTrainer,
    pub folder: Folder,
    pub inputs: Inputs,
}

impl Session {
    /// In a new folder. The settings have been checked and settled.
    pub fn fresh(config: MetaConfig, path: &Path) -> Result<Session, Failure> {
        run_folder::unless_empty(path, || {
            let tasks = super::setup::tasks(&config)?;
            let trainer = trainer(&config, &tasks)?;
            run_folder::prepare(path)?;
            let inputs = Inputs::of_files(&tasks.files)?;
            let folder = Folder::create(path, &config)?;
            Ok(Session { config, tasks, trainer, folder, inputs })
        })
    }

    /// Trains and tests: the result.
    pub fn run(&mut self) -> Result<Value, Failure> {
        let (start, started, from) = (Instant::now(), system::now(), self.trainer.step_count());
        let steps = self.config.sizes().meta_steps;
        self.tasks.notes.iter().for_each(|note| eprintln!("{note}"));
        let record = |outcome: &str, to: u64| {
            json!({
                "command": system::command(),
                "version": env!("CARGO_PKG_VERSION"),
                "commit": system::COMMIT,
                "cpu": system::cpu(),
                "instructions": system::instructions(),
                "gemm": autograd::gemm_backend_in_use().to_string(),
                "cores": setup::cores(),
                "threads": autograd::threads(),
                "started": started,
                "seconds": start.elapsed().as_secs_f64(),
                "from_step": from,
                "to_step": to,
                "steps": steps,
                "peak_memory_mib": system::peak_memory(),
                "outcome": outcome,
            })
        };
        let mut about = self.description()?;
        let path = self.folder.path.clone();
        manifest::write(&path, &about, &record("running", from), true)?;
        let tested = self.steps().and_then(|all| if all { self.test().map(Some) } else { Ok(None) });
        let tested = tested.map_err(Failure::mid_run);
        let done = self.trainer.step_count();
        let outcome = match &tested {
            Ok(Some(_)) => "finished".to_string(),
            Ok(None) => "stopped".to_string(),
            Err(failure) => format!("failed: {}", failure.message().unwrap_or_default()),
        };
        if let Ok(Some(result)) = &tested {
            self.folder.finish(Archive::of(self.trainer.model.state_dict()), result)?;
            let file = path.join(FINAL);
            let (sha256, bytes) = sha256_of_file(&file).map_err(|e| unread(&file, &e))?;
            about["final"] = json!({ "file": FINAL, "bytes": bytes, "sha256": sha256 });
            about["result"] = result.clone();
        }
        manifest::write(&path, &about, &record(&outcome, done), false)?;
        tested?.ok_or_else(|| {
            Failure::unfinished(format_args!(
                "stopped after step {done} of {steps}; resume with: comhe meta --resume {}",
                path.display()
            ))
        })
    }

    /// Makes the steps that are left; returns whether all were made.
    fn steps(&mut self) -> Result<bool, Failure> {
        let Sizes { meta_batch, meta_steps, .. } = self.config.sizes();
        let (dtype, checkpoint_every) = (dtype(&self.config), self.config.checkpoint_every);
        let mut progress = Progress::new(meta_steps, self.trainer.step_count());
        while self.trainer.step_count() < meta_steps && !stop::wanted() {
            let step = self.trainer.step_count();
            let batch: Vec<Task> = (0..meta_batch)
                .map(|i| task(self.tasks.train(step.wrapping_mul(meta_batch).wrapping_add(i)), dtype))
                .collect();
            let (start, lr) = (Instant::now(), self.trainer.rate());
            let m = self.trainer.step(&batch)?;
            self.folder.step(&m)?;
            let examples = batch.iter().map(|task| task.support.len() + task.query.len()).sum();
            progress.step(&step_metrics(&m, lr, start), examples);
            if (step + 1).is_multiple_of(checkpoint_every) && step + 1 < meta_steps {
                self.folder.checkpoint(self.trainer.checkpoint())?;
            }
        }
        self.folder.checkpoint(self.trainer.checkpoint())?;
        Ok(self.trainer.step_count() == meta_steps)
    }

    /// The results on test tasks, before and after adaptation.
    fn test(&self) -> Result<Value, Failure> {
        let (n, dtype) = (tests(&self.config, &self.tasks), dtype(&self.config));
        let steps = self.config.sizes().inner_steps;
        let evaluate = |steps: usize| {
            let tasks = (0..n).map(|i| task(self.tasks.test(i), dtype));
            Ok::<MetaEvaluation, Failure>(self.trainer.evaluate(tasks, steps)?)
        };
        let (before, after) = (evaluate(0)?, evaluate(steps)?);
        let (metric, of): (_, fn(&MetaEvaluation) -> MeanInterval) = match self.tasks.regression {
            true => ("loss", MetaEvaluation::loss),
            false => ("accuracy", MetaEvaluation::accuracy),
        };
        let interval = of(&after);
        // Weights may be finite and yet so large that the outputs overflow.
        if !after.loss().mean.is_finite() {
            return Err(Failure::unfinished(
                "the loss on the test tasks is not finite; the run diverged: try a smaller --meta-lr or --inner-lr",
            ));
        }
        Ok(json!({
            "task": self.tasks.name,
            "learner": self.config.learner.name,
            "noise": self.config.noise.name,
            "inner_steps": steps,
            "metric": metric,
            "mean": interval.mean,
            "ci95": interval.ci95,
            "tasks": interval.tasks,
            "loss": after.loss().mean,
            "before": of(&before).mean,
        }))
    }

    /// What the manifest says about the run as a whole.
    fn description(&self) -> Result<Value, Failure> {
        let Session { config, tasks, trainer, inputs, .. } = self;
        Ok(json!({
            "format": manifest::FORMAT,
            "kind": "meta",
            (SETTINGS): identity::of(config)?,
            "inputs": inputs,
            "data": { "name": tasks.name, "notes": tasks.notes, "shape": tasks.shape, "outputs": tasks.outputs },
            "model": { "name": trainer.model.model.name, "parameters": trainer.model.parameter_count() },
            "steps": config.sizes().meta_steps,
        }))
    }
}

/// A task as tensors.
fn task(task: datasets::Task, dtype: DType) -> Task {
    Task { support: batch(task.support, dtype), query: batch(task.query, dtype) }
}

/// All examples of a split, in their order.
fn batch(split: Split, dtype: DType) -> nn::Batch {
    let batch_size = split.len();
    let config = LoaderConfig { batch_size, shuffle: false, prefetch: 0, ..LoaderConfig::default() };
    let loader = Loader::new(split.into(), config);
    let (images, targets) = match dtype {
        DType::F32 => {
            let batch = loader.batch::<f32>(0, 0);
            (Tensor::new(&batch.images, batch.shape), batch.targets)
        }
        DType::F64 => {
            let batch = loader.batch::<f64>(0, 0);
            (Tensor::new(&batch.images, batch.shape), batch.targets)
        }
    };
    nn::Batch::new(images, data::tensors(targets, dtype))
}

/// A step for the display of progress.
fn step_metrics(m: &MetaMetrics, lr: f64, start: Instant) -> StepMetrics {
    StepMetrics {
        step: m.step,
        epoch: 0,
        loss: m.query_loss,
        fit: m.query_loss,
        reg: 0.0,
        lr,
        accuracy: m.query_accuracy,
        time: start.elapsed(),
        extra: Vec::new(),
    }
}

/// The result for a reader.
pub fn text(result: &Value) -> String {
    let number = |key: &str| result[key].as_f64().unwrap_or(f64::NAN);
    let whole = |key: &str| result[key].as_u64().unwrap_or(0) as usize;
    let metric = result["metric"].as_str().unwrap_or_default();
    let (tasks, steps) = (count(whole("tasks"), "task"), count(whole("inner_steps"), "inner step"));
    let (mean, ci95, before) = (number("mean"), number("ci95"), number("before"));
    format!("test {metric} {mean:.4} +- {ci95:.4} on {tasks} after {steps} ({before:.4} before)")
}
