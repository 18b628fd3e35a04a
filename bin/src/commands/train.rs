//! `comhe train`: one network, one run folder.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{ArgMatches, Args};
use comhe::{LayerReport, Objective, Step};
use nn::{Archive, Module, Outcome, Trainer, evaluate};
use serde_json::{Value, json};

use super::sanity::Sanity;
use crate::config::layers::{self, Assigned};
use crate::config::{self, Config};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::run_folder::inputs::Inputs;
use crate::run_folder::{self, Judged, RunFolder, manifest};
use crate::setup::{self, Setup};
use crate::watch::Watch;
use crate::{data, low_rank, output, penalty, stop, system};

/// Train one network; every flag can also come from a TOML file
#[derive(Args, Debug)]
#[group(skip)]
#[command(after_help = "Examples:
  comhe train                                        a small net on built-in images
  comhe train --reg rp --seed 3 --out runs/rp3       with RP-CoMHE
  comhe train --dataset fashion-mnist --epochs 12
  comhe train --dataset cifar10 --data-dir data --model cnn9 --width 2 --augment crop-flip \\
              --lr 0.1 --steps 6000 --milestones 3000,4500
  comhe train --config run.toml --threads 1          keys of the file are names of flags
  comhe train --config run.toml --set lr=0.1         the same as --lr 0.1, for scripts
  comhe train --model cnn9 --dry                     shapes, parameters, FLOPs, memory, one step
  comhe train --overfit 1                            can it learn a single batch by heart?
  comhe train --low-rank 8 --reg hs-mhe              hidden weights of rank 8, energies of their factors
  comhe train --watch grad,update,cosine --reg rp    instruments on every tenth step
  comhe train --watch noise,sharpness --watch-every 100
  comhe train --resume runs/rp3                      go on where it stopped
  comhe train --tui --epochs 40                      live curves on the terminal

--watch takes, for the network and for each layer (docs/instruments.md has the formulas and costs):
  grad       norm of the gradient, and dead units     update     |w_new - w_old| / |w_old|, and dead units
  dead       share of ReLU units 0 on the batch       cosine     with the gradient before; data to regulariser
  energy     hyperspherical energies                  angles     smallest angle between two neurons
  noise      gradient noise scale (a pass an image)   sharpness  top Hessian eigenvalue (up to 40 products);
                                                      sharpness-layers: of each layer's block, too
They look on: weights, order of data and random draws are the same without them, to the byte.

The last line printed is the run folder: config.toml, metrics.jsonl (a line a step, one an
evaluation and one a measurement of energies and angles, in one line where both fall together, whose
\"step\" counts the steps done), the same as metrics.csv and layers.csv, checkpoint.safetensors and the
one before it, best.safetensors (the weights of the best accuracy), final.safetensors,
manifest.json (what the run was made with, from and by), and the curves: loss.svg, accuracy.svg,
energy.svg (with the penalties, as the regulariser sees them), angle.svg.

A run that was stopped, killed or ran out of disk goes on by --resume, and ends with the same bytes as if
nothing had happened; comhe replay makes a finished run again and compares the weights.

The cnn nets keep running statistics over about 1,000 batches (batch norm's momentum is 0.001):
what they say on test images means little before some thousand steps.")]
pub struct Train {
    /// Take settings from this file; flags win
    #[arg(long = "config", value_name = "FILE.toml", conflicts_with = "resume")]
    file: Option<PathBuf>,
    /// The run folder [default: a new one in runs/]
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    out: Option<PathBuf>,
    /// Go on with the run in this folder
    #[arg(long, value_name = "DIR")]
    resume: Option<PathBuf>,
    /// Live curves on the whole terminal
    #[arg(long)]
    tui: bool,
    #[command(flatten)]
    more: Assigned,
    #[command(flatten)]
    sanity: Sanity,
    #[command(flatten)]
    settings: Config,
}

/// What may change when a run goes on: nothing that the steps depend on, but how many there are.
const CHANGEABLE: [&str; 12] = [
    "tui",
    "resume",
    "threads",
    "steps",
    "epochs",
    "eval-every",
    "energy-every",
    "watch",
    "watch-every",
    "checkpoint-every",
    "data-dir",
    "tensorboard",
];

/// A run that is ready to go, and where it goes.
struct Begun {
    setup: Setup,
    folder: RunFolder,
    config: Config,
    inputs: Inputs,
    watch: Watch,
}

/// What measuring energies and angles took.
#[derive(Default)]
struct Cost {
    measurements: u32,
    time: Duration,
}

impl Cost {
    /// Milliseconds a measurement, and the share of a time.
    fn of(&self, whole: Duration) -> (f64, f64) {
        let each = 1e3 * self.time.as_secs_f64() / f64::from(self.measurements.max(1));
        (each, self.time.as_secs_f64() / whole.as_secs_f64().max(1e-9))
    }
}

impl Train {
    /// Runs the command.
    pub fn run(self, matches: &ArgMatches) -> Result<(), Failure> {
        if self.tui && !std::io::stderr().is_terminal() {
            return Err(Failure::usage(
                "--tui draws on standard error, which is no terminal here; leave it out for plain lines",
            ));
        }
        stop::on_signals()?;
        if self.sanity.wanted() {
            let config = layers::resolve(self.file.as_deref(), &self.more, &self.settings, matches)?;
            config.check()?;
            return self.sanity.run(&config.settled());
        }
        let begun = match &self.resume {
            Some(path) => self.resumed(path, matches)?,
            None => {
                let config = layers::resolve(self.file.as_deref(), &self.more, &self.settings, matches)?;
                config.check()?;
                let config = config.settled();
                let path = self.out.clone().unwrap_or_else(|| run_folder::fresh(&name(&config)));
                fresh(config, &path)?
            }
        };
        begun.trained(self.tui)
    }

    fn resumed(&self, path: &Path, matches: &ArgMatches) -> Result<Begun, Failure> {
        if let Some(key) = config::given(matches).iter().find(|key| !CHANGEABLE.contains(&key.as_str())) {
            return Err(Failure::usage(format_args!(
                "--{key} cannot change when a run goes on; only {} can",
                CHANGEABLE[2..].iter().map(|name| format!("--{name}")).collect::<Vec<_>>().join(", ")
            )));
        }
        let manifest = manifest::load(path)?;
        let config = run_folder::settings(path)?.with_flags(&self.settings, matches)?;
        config.check()?;
        let config = config.settled();
        run_folder::writable(path)?;
        let lock = run_folder::lock(path)?;
        let checkpoint = run_folder::latest(path)?;
        // The checkpoint has the weights by now.
        let read =
            if checkpoint.is_some() { Config { init: None, ..config.clone() } } else { config.clone() };
        let mut inputs = Inputs::of(&read)?;
        if let Some(manifest) = manifest {
            let then = manifest::inputs(&manifest, path)?;
            inputs.check(&then)?;
            inputs.init = then.init;
        }
        let mut setup = Setup::new(&read)?;
        let Some((archive, name)) = checkpoint else {
            if path.join(run_folder::FINAL).exists() {
                let text = "is half there: it has final weights, but no checkpoint to go on from";
                return Err(Failure::place(path, text));
            }
            eprintln!("{}: has no checkpoint yet; beginning at step 0", path.display());
            drop(lock);
            let folder = RunFolder::create(path, &config)?;
            let watch = Watch::new(&config, &mut setup.trainer);
            return Ok(Begun { setup, folder, config, inputs, watch });
        };
        setup.trainer.restore(&archive).map_err(|e| Failure::place(&path.join(name), e))?;
        low_rank::check(&setup.trainer.model)?;
        let folder = RunFolder::reopen(path, &config, &archive, name, lock)?;
        if setup.trainer.step_count() < setup.steps {
            folder.not_final()?;
        }
        let mut watch = Watch::new(&config, &mut setup.trainer);
        watch.resume(&archive);
        Ok(Begun { setup, folder, config, inputs, watch })
    }
}

/// A run in a new folder. The settings have been checked and settled.
fn fresh(config: Config, path: &Path) -> Result<Begun, Failure> {
    // What needs no data comes first: a wrong name should not leave a folder behind.
    setup::objective(&config)?;
    let made: Vec<&Path> = path.ancestors().take_while(|folder| !folder.exists()).collect();
    run_folder::prepare(path)?;
    let begun = Setup::new(&config)
        .and_then(|setup| Ok((setup, Inputs::of(&config)?, RunFolder::create(path, &config)?)));
    if begun.is_err() {
        // Only succeeds on empty folders, which is all that was asked.
        made.iter().for_each(|folder| drop(std::fs::remove_dir(folder)));
    }
    let (mut setup, inputs, folder) = begun?;
    let watch = Watch::new(&config, &mut setup.trainer);
    Ok(Begun { setup, folder, config, inputs, watch })
}

/// Trains a network in a new folder, as the command does.
pub fn train(config: Config, path: &Path) -> Result<(), Failure> {
    let Begun { mut setup, mut folder, config, inputs, mut watch } = fresh(config, path)?;
    run(&mut setup, &mut folder, &config, &inputs, &mut watch, false).map_err(Failure::mid_run)
}

impl Begun {
    /// Trains, and tells where.
    fn trained(self, live: bool) -> Result<(), Failure> {
        let Begun { mut setup, mut folder, config, inputs, mut watch } = self;
        run(&mut setup, &mut folder, &config, &inputs, &mut watch, live).map_err(Failure::mid_run)?;
        output::line(&folder.path().display().to_string())
    }
}

/// The name of a run's folder, without its number.
fn name(config: &Config) -> String {
    let data = config.dataset.split(':').next().unwrap_or_default();
    format!("{data}-{}-{}", config.model, config.reg)
}

/// Trains, and writes all files of the folder.
fn run(
    setup: &mut Setup,
    folder: &mut RunFolder,
    config: &Config,
    inputs: &Inputs,
    watch: &mut Watch,
    live: bool,
) -> Result<(), Failure> {
    setup.dataset.notes.iter().for_each(|note| eprintln!("{}: {note}", setup.dataset.name));
    let mut manifest = description(setup, config, inputs);
    let from = setup.trainer.step_count();
    let steps_in_all = setup.steps;
    let (start, started) = (Instant::now(), system::now());
    let session = |to: u64, outcome: &str, images_per_second: f64, cost: &Cost| {
        let (ms_each, share) = cost.of(start.elapsed());
        json!({
            "command": system::command(),
            "version": env!("CARGO_PKG_VERSION"),
            "commit": system::COMMIT,
            "cpu": system::cpu(),
            "cpu_features": system::cpu_features(),
            "instructions": system::instructions(),
            "cores": setup::cores(),
            "threads": autograd::threads(),
            "started": started,
            "seconds": start.elapsed().as_secs_f64(),
            "steps": steps_in_all,
            "from_step": from,
            "to_step": to,
            "images_per_second": images_per_second,
            "energies": { "measurements": cost.measurements, "ms_each": ms_each, "share_of_time": share },
            "peak_memory_mib": system::peak_memory(),
            "outcome": outcome,
        })
    };
    folder.manifest(&manifest, &session(from, "running", 0.0, &Cost::default()), true)?;

    let mut progress = match live {
        true => {
            Progress::live(setup.steps, from, format!("{} -> {}", name(config), folder.path().display()))?
        }
        false => Progress::new(setup.steps, from),
    };
    let mut cost = Cost::default();
    let outcome = steps(setup, folder, config, watch, &mut progress, &mut cost);
    let done = setup.trainer.step_count();
    let told = match &outcome {
        Ok(Outcome::Finished) => "finished".to_string(),
        Ok(Outcome::Stopped) => "stopped".to_string(),
        Err(failure) => format!("failed: {}", failure.message().unwrap_or_default()),
    };
    let mut session = session(done, &told, progress.images_per_second(), &cost);
    let watched = watch.cost(start.elapsed());
    if let Some(watched) = &watched {
        session["watch"] = watched.clone();
    }
    if let Ok(Outcome::Finished) = outcome {
        folder.results()?.into_iter().for_each(|(key, value)| manifest[key] = value);
    }
    let written = folder.manifest(&manifest, &session, false);
    drop(progress);
    let (each, share) = cost.of(start.elapsed());
    let times = cost.measurements;
    eprintln!("energies: measured {times} times, {each:.2} ms each, {:.2} % of the time", 100.0 * share);
    if let Some(watched) = watched {
        let number = |key: &str| watched[key].as_f64().unwrap_or_default();
        let (times, each, share) =
            (number("measurements"), number("ms_each"), 100.0 * number("share_of_time"));
        eprintln!("watch: measured {times} times, {each:.2} ms each, {share:.2} % of the time");
    }
    match outcome {
        Ok(Outcome::Finished) => {
            written?;
            folder.plots()
        }
        Ok(Outcome::Stopped) => Err(Failure::unfinished(format_args!(
            "stopped after step {done} of {}; go on with: comhe train --resume {}",
            setup.steps,
            folder.path().display()
        ))),
        Err(failure) => Err(with_checkpoint(failure, folder.path())),
    }
}

/// The steps that are left, with evaluations, measurements and checkpoints between them.
fn steps(
    setup: &mut Setup,
    folder: &mut RunFolder,
    config: &Config,
    watch: &mut Watch,
    progress: &mut Progress,
    cost: &mut Cost,
) -> Result<Outcome, Failure> {
    let batches = setup.batches();
    let Setup { dataset, loader, trainer, objective, dtype, steps, epoch } = setup;
    let every = config.eval_every.unwrap_or(*epoch);
    let energy_every = config.energy_every.unwrap_or(every);
    let split = if dataset.validation.is_some() { Judged::Validation } else { Judged::Test };
    // The first and the last step have both.
    let due = |done: u64, every: u64| done.is_multiple_of(every) || done == *steps;
    let mut assess = |trainer: &Trainer, folder: &mut RunFolder, progress: &mut Progress| {
        let step = trainer.step_count();
        let test = due(step, every).then(|| evaluate(&trainer.model, data::judged(dataset, *dtype)));
        let layers = match due(step, energy_every) {
            true => Some(measured(trainer, objective, cost)?),
            false => None,
        };
        if step == 0 {
            layers.iter().for_each(|layers| told_if_too_small(&config.reg, layers, progress));
        }
        progress.seen(step, test.as_ref().map(|t| [t.loss, t.accuracy]), layers.as_deref().map(means));
        if test.is_some() || layers.is_some() {
            folder.between(step, test.as_ref().map(|test| (test, split)), layers)?;
        }
        if let Some(test) = test {
            folder.candidate(step, test.accuracy, || Archive::of(trainer.model.state_dict()));
            let (accuracy, loss) = (100.0 * test.accuracy, test.loss);
            let on = if split == Judged::Test { "test" } else { "validation" };
            progress.say(&format!("step {step}: {on} accuracy {accuracy:.2} %, loss {loss:.4}"));
        }
        Ok::<(), Failure>(())
    };
    if trainer.step_count() == 0 {
        assess(trainer, folder, progress)?;
    }
    let fitted = trainer.fit(batches, &stop::STOP, |trainer, metrics| {
        let done = metrics.step + 1;
        folder.step(metrics)?;
        if let Some((step, seen)) = watch.look(trainer, objective)? {
            folder.watched(step, &seen)?;
        }
        progress.step(metrics, loader.config().batch_size);
        assess(trainer, folder, progress)?;
        if done % config.checkpoint_every == 0 && done != *steps {
            folder.checkpoint(watch.kept(trainer.checkpoint()))?;
        }
        Ok::<(), Failure>(())
    });
    // A weight that could not be made explains a loss that is not finite.
    let outcome = fitted.map_err(|failure| low_rank::check(&trainer.model).err().unwrap_or(failure))?;
    folder.checkpoint(watch.kept(trainer.checkpoint()))?;
    if outcome == Outcome::Finished {
        folder.finish(Archive::of(trainer.model.state_dict()))?;
    }
    Ok(outcome)
}

/// The mean energies of some layers, full and half-space, and the smallest angle in any.
fn means(layers: &[LayerReport]) -> [f64; 3] {
    let mean =
        |what: fn(&LayerReport) -> f64| layers.iter().map(what).sum::<f64>() / layers.len().max(1) as f64;
    let angle = layers.iter().filter_map(|l| l.smallest_angle).fold(f64::INFINITY, f64::min);
    [mean(|l| l.full), mean(|l| l.half_space), angle]
}

/// Says so if no layer is large enough to be projected or grouped.
fn told_if_too_small(reg: &str, layers: &[LayerReport], progress: &mut Progress) {
    let fewer = ["rp", "ap", "adv", "group", "bilateral"].contains(&reg);
    if fewer && layers.iter().all(|layer| layer.regulariser != Some(reg)) {
        progress.say(&format!(
            "no hidden layer has dimensions enough for {reg}, so that all get half-space energy as it is; take a smaller {}",
            if reg == "group" { "--reg-groups" } else { "--reg-k" }
        ));
    }
}

/// The energies and angles of all layers, and what it took to measure them.
fn measured(trainer: &Trainer, objective: &Objective, cost: &mut Cost) -> Result<Vec<LayerReport>, Failure> {
    let (start, step) = (Instant::now(), trainer.step_count());
    let now = Step { index: step, lr: trainer.schedule.lr(trainer.lr, step) };
    let layers = penalty::energies(objective, &trainer.model.weights(), now)?;
    cost.measurements += 1;
    cost.time += start.elapsed();
    Ok(layers)
}

/// What the manifest says about the run as a whole.
fn description(setup: &Setup, config: &Config, inputs: &Inputs) -> Value {
    let Setup { dataset, trainer, steps, epoch, .. } = setup;
    let standard = dataset.standardisation();
    json!({
        "format": manifest::FORMAT,
        "directory": std::env::current_dir().ok(),
        "seeds": { "run": config.seed, "data": config.data_seed },
        "data_dir": data::options(config).folder().ok().flatten(),
        "inputs": inputs,
        "data": {
            "name": dataset.name,
            "notes": dataset.notes,
            "training_images": dataset.train.len(),
            "test_images": dataset.test.len(),
            "shape": dataset.shape(),
            "classes": dataset.classes,
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
    })
}

/// A failure of a run, with where it can go on from.
fn with_checkpoint(failure: Failure, folder: &Path) -> Failure {
    let Some(message) = failure.message() else { return failure };
    Failure::unfinished(match run_folder::last_good(folder) {
        Some((step, name)) => {
            format!("{message}; the last good checkpoint is {} (step {step})", folder.join(name).display())
        }
        None => format!("{message}; no checkpoint had been written (see --checkpoint-every)"),
    })
}
