//! `comhe compare`: one network on one data set under several regularisers and seeds.

use std::path::{Path, PathBuf};

use clap::{ArgMatches, Args};
use comhe::{LayerReport, Options, Step};
use datasets::Dataset;
use nn::{Outcome, evaluate, write_atomic};
use serde::Serialize;
use serde_json::json;

use crate::config::{Config, Optimizer, given};
use crate::failure::Failure;
use crate::figures::{self, Group};
use crate::output::{self, Table};
use crate::run_folder::{self, LayerLine};
use crate::setup::{self, Setup};
use crate::statistics::{Interval, Summary, median, paired_difference, summary};
use crate::{data, penalty, stop, system};

/// The main experiment: the same network on the same data under several regularisers and seeds
#[derive(Args, Debug)]
#[group(skip)]
#[command(
    mut_arg("label_noise", |arg| arg.default_value("0.2")),
    mut_arg("lr", |arg| arg.help("Learning rate [default: sgd 0.02, adam and adamw 0.001]")),
    mut_arg("schedule", |arg| arg.default_value("cosine")),
    mut_arg("epochs", |arg| arg.help("Length of each run in passes over the data [default: 20]")),
    mut_arg("seed", |arg| arg.help("The first seed: initial weights, order and projections follow from it")),
    mut_arg("reg", |arg| arg.hide(true)),
    mut_arg("eval_every", |arg| arg.help(
        "Steps between two points of the curves: test accuracy and energies [default: a tenth of a run]"
    )),
    mut_arg("energy_every", |arg| arg.hide(true)),
    mut_arg("checkpoint_every", |arg| arg.hide(true)),
    after_help = "Examples:
  comhe compare                                     two minutes on two cores
  comhe compare --regs none,rp --seeds 10 --reg-weight 0.1
  comhe compare --regs none,mhe,mma,so,decay --reg-weight 0.1
  comhe compare --dataset cifar10 --data-dir data --model cnn6 --train-size 2000 --out cmp

By default a fifth of the training labels are wrong: on clean, easy data no regulariser has
anything to do. Test labels are never changed. All runs of a seed start from the same weights
and see the same batches, so that differences to the first regulariser are paired; their
intervals are 95 % intervals of the mean by Student's t. The default learning rate suits the
net without a regulariser.

The folder, whose path is printed last, gets compare.json, compare.md, and the curves over the
steps: energy.svg, accuracy.svg."
)]
pub struct Compare {
    /// The regularisers, the baseline first
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "none,mhe,hs-mhe,rp")]
    regs: Vec<String>,
    /// How many seeds each is run with
    #[arg(long, value_name = "N", default_value_t = 5)]
    seeds: u64,
    /// The folder of the results [default: a new one in runs/]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The result as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Config,
}

/// Passes over the data of a run, unless told: twenty runs of lenet in two minutes on two cores.
const EPOCHS: u64 = 20;
/// Points of a curve after its start, unless told.
const POINTS: u64 = 10;
/// What is written.
const FILES: [&str; 2] = ["compare.json", "compare.md"];
/// The learning rate of SGD, unless told: of 0.01, 0.02, 0.05 and 0.1 the best without a regulariser.
const RATE: f64 = 0.02;

/// One trained network.
#[derive(Serialize)]
struct Run {
    reg: String,
    seed: u64,
    test_acc: f64,
    test_loss: f64,
    train_loss: f64,
    step_ms: f64,
    energy_before: Energies,
    energy_after: Energies,
    curve: Vec<Point>,
    layers: Vec<LayerLine>,
}

/// A network between two steps.
#[derive(Serialize)]
struct Point {
    step: u64,
    test_acc: f64,
    test_loss: f64,
    #[serde(flatten)]
    energy: Energies,
}

/// Mean energies, averaged over the layers.
#[derive(Clone, Copy, Serialize)]
struct Energies {
    full: f64,
    half_space: f64,
}

/// What is said about a regulariser.
#[derive(Serialize)]
struct Row {
    reg: String,
    reg_weight: f64,
    reg_head_weight: f64,
    test_acc: Summary,
    difference: Option<Interval>,
    energy_before: Energies,
    energy_after: Energies,
    step_ms: f64,
}

impl Compare {
    /// Runs the command.
    pub fn run(self, matches: &ArgMatches) -> Result<(), Failure> {
        let config = self.checked(matches)?;
        let path = self.out.clone().unwrap_or_else(|| run_folder::fresh("compare"));
        let made: Vec<&Path> = path.ancestors().take_while(|folder| !folder.exists()).collect();
        prepare(&path)?;
        let result = self.compared(&config, &path);
        if result.is_err() {
            // Only succeeds on empty folders, which is all that was asked.
            made.iter().for_each(|folder| drop(std::fs::remove_dir(folder)));
        }
        result
    }

    fn compared(&self, config: &Config, path: &Path) -> Result<(), Failure> {
        let dataset = data::load(config)?;
        // Whatever is wrong with the settings shows before the first run.
        Setup::on(dataset.clone(), setup::objective(config)?, config)?;
        stop::on_signals()?;

        // What was finished is kept, whatever became of the rest.
        let (runs, unfinished) = self.runs(config, &dataset);
        if let (true, Some(failure)) = (runs.is_empty(), &unfinished) {
            return Err(Failure::unfinished(failure));
        }
        let finished = |reg: &&String| runs.iter().any(|run| run.reg == **reg);
        let rows: Vec<Row> = self
            .regs
            .iter()
            .filter(finished)
            .map(|reg| self.row(reg, config, &runs))
            .collect::<Result<_, _>>()?;
        let about = about(config, &setup::options(config)?, &dataset, &self.regs, self.seeds);
        let result = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "commit": system::COMMIT,
            "cpu": system::cpu(),
            "threads": autograd::threads(),
            "dataset": dataset.name,
            "notes": dataset.notes,
            "settings": config,
            "seeds": self.seeds,
            "baseline": self.regs[0],
            "unfinished": unfinished,
            "rows": rows,
            "runs": runs,
        });
        let table = table(&rows, &self.regs[0]);
        let markdown = format!("# Comparison\n\n{}\n\n{}\n", about.join("\n\n"), table.markdown());
        for (name, text) in FILES.iter().zip([output::to_json(&result) + "\n", markdown]) {
            write_atomic(&path.join(name), text.as_bytes()).map_err(|e| Failure::from(e).mid_run())?;
        }
        let groups: Vec<Group> = self.regs.iter().filter(finished).map(|reg| group(reg, &runs)).collect();
        run_folder::pictures(path, figures::of_comparison(&groups)).map_err(Failure::mid_run)?;
        if self.json {
            eprintln!("written to {}", path.display());
            output::json(&result)?;
        } else {
            output::line(&about.join("\n"))?;
            output::line(&format!("\n{}", table.text()))?;
            output::line(&path.display().to_string())?;
        }
        unfinished.map_or(Ok(()), |failure| Err(Failure::unfinished(failure)))
    }

    /// The settings that all runs share.
    fn checked(&self, matches: &ArgMatches) -> Result<Config, Failure> {
        let given = given(matches);
        if let Some(key) =
            ["reg", "energy-every", "checkpoint-every"].iter().find(|key| given.contains(&key.to_string()))
        {
            let instead = match *key {
                "reg" => "--regs names the regularisers",
                "energy-every" => "energies are measured with each evaluation (--eval-every)",
                _ => "it does not go on where it stopped",
            };
            return Err(Failure::usage(format_args!("--{key} is not for compare; {instead}")));
        }
        if self.seeds == 0 {
            return Err(Failure::usage(
                "--seeds is 0; it must be at least 1: 2 for a standard deviation, 5 to believe it",
            ));
        }
        let mut config = self.settings.clone();
        if config.steps.is_none() && config.epochs.is_none() {
            config.epochs = Some(EPOCHS);
        }
        if config.lr.is_none() && config.optimizer == Optimizer::Sgd {
            config.lr = Some(RATE);
        }
        config.check()?;
        let config = config.settled();
        for (i, reg) in self.regs.iter().enumerate() {
            if self.regs[..i].contains(reg) {
                return Err(Failure::usage(format_args!("--regs names {reg} twice")));
            }
            setup::objective(&Config { reg: reg.clone(), ..config.clone() })?;
        }
        Ok(config)
    }

    /// Every regulariser with every seed; seed by seed, so that the table could be had early.
    /// The runs that were finished and, if some were not, what happened.
    fn runs(&self, config: &Config, dataset: &Dataset) -> (Vec<Run>, Option<String>) {
        let total = self.seeds as usize * self.regs.len();
        let (mut runs, mut failed) = (Vec::new(), Vec::new());
        let each = (0..self.seeds).flat_map(|i| self.regs.iter().map(move |reg| (i, reg)));
        for (number, (i, reg)) in each.enumerate() {
            let config = Config { reg: reg.clone(), seed: config.seed.wrapping_add(i), ..config.clone() };
            let begin = format!("run {}/{total}: seed {}, {reg}", number + 1, config.seed);
            match one(&config, dataset) {
                Ok(Some(run)) => {
                    eprintln!("{begin}: test accuracy {:.2} %", 100.0 * run.test_acc);
                    runs.push(run);
                }
                Ok(None) => return (runs, Some(format!("stopped after {number} of {total} runs"))),
                Err(failure) => {
                    let text = failure.message().unwrap_or("standard output was closed");
                    eprintln!("{begin}: failed: {text}");
                    failed.push(format!("{reg}, seed {}: {text}", config.seed));
                }
            }
        }
        let unfinished = failed.first().map(|first| match failed.len() {
            1 => format!("1 of {total} runs failed: {first}"),
            n => format!("{n} of {total} runs failed, the first: {first}"),
        });
        (runs, unfinished)
    }

    fn row(&self, reg: &str, config: &Config, runs: &[Run]) -> Result<Row, Failure> {
        let head_weight = setup::options(config)?.classifier_weight(reg);
        let of = |reg: &str, what: &dyn Fn(&Run) -> f64| -> Vec<f64> {
            runs.iter().filter(|run| run.reg == reg).map(what).collect()
        };
        let mean = |what: &dyn Fn(&Run) -> f64| summary(&of(reg, what)).mean;
        let accuracy: &dyn Fn(&Run) -> f64 = &|run| run.test_acc;
        // Differences are of runs with the same seed.
        let partner = |run: &&Run| runs.iter().find(|r| r.reg == self.regs[0] && r.seed == run.seed);
        let pairs = runs.iter().filter(|run| run.reg == reg).filter_map(|run| Some((run, partner(&run)?)));
        let (own, baseline): (Vec<f64>, Vec<f64>) =
            pairs.map(|(run, base)| (run.test_acc, base.test_acc)).unzip();
        let weighted = |weight: f64| if reg == "none" { 0.0 } else { weight };
        Ok(Row {
            reg: reg.to_string(),
            reg_weight: weighted(config.reg_weight),
            reg_head_weight: weighted(head_weight),
            test_acc: summary(&of(reg, accuracy)),
            difference: (reg != self.regs[0]).then(|| paired_difference(&own, &baseline)).flatten(),
            energy_before: Energies {
                full: mean(&|run| run.energy_before.full),
                half_space: mean(&|run| run.energy_before.half_space),
            },
            energy_after: Energies {
                full: mean(&|run| run.energy_after.full),
                half_space: mean(&|run| run.energy_after.half_space),
            },
            step_ms: median(&of(reg, &|run| run.step_ms)),
        })
    }
}

/// Trains one network; None if the user stopped it.
fn one(config: &Config, dataset: &Dataset) -> Result<Option<Run>, Failure> {
    let mut setup = Setup::on(dataset.clone(), setup::objective(config)?, config)?;
    let batches = setup.batches();
    let Setup { trainer, objective, dtype, steps, .. } = &mut setup;
    let every = config.eval_every.unwrap_or(steps.div_ceil(POINTS)).max(1);
    let mut layers = Vec::new();
    let mut look = |trainer: &nn::Trainer| {
        let step = trainer.step_count();
        let now = Step { index: step, lr: trainer.schedule.lr(trainer.lr, step) };
        layers = penalty::energies(objective, &trainer.model.weights(), now)?;
        let test = evaluate(&trainer.model, data::test(dataset, *dtype));
        let energy = mean_energies(&layers);
        Ok::<Point, Failure>(Point { step, test_acc: test.accuracy, test_loss: test.loss, energy })
    };
    let mut curve = vec![look(trainer)?];
    let (mut times, mut train_loss) = (Vec::new(), f64::NAN);
    let outcome = trainer.fit(batches, &stop::STOP, |trainer, m| {
        times.push(m.time.as_secs_f64() * 1e3);
        train_loss = m.fit;
        let done = m.step + 1;
        if done % every == 0 || done == *steps {
            curve.push(look(trainer)?);
        }
        Ok::<(), Failure>(())
    })?;
    let [Some(first), Some(last)] = [curve.first(), curve.last()] else { return Ok(None) };
    if outcome == Outcome::Stopped || stop::wanted() {
        return Ok(None);
    }
    Ok(Some(Run {
        reg: config.reg.clone(),
        seed: config.seed,
        test_acc: last.test_acc,
        test_loss: last.test_loss,
        train_loss,
        step_ms: median(&times),
        energy_before: first.energy,
        energy_after: last.energy,
        layers: layers.into_iter().map(LayerLine::from).collect(),
        curve,
    }))
}

/// The curves of a regulariser's runs.
fn group<'a>(reg: &'a str, runs: &[Run]) -> Group<'a> {
    let curves = |what: fn(&Point) -> f64| {
        let readings = |run: &Run| run.curve.iter().map(|p| (p.step as f64, what(p))).collect();
        runs.iter().filter(|run| run.reg == reg).map(readings).collect()
    };
    Group {
        name: reg,
        full: curves(|p| p.energy.full),
        half_space: curves(|p| p.energy.half_space),
        test_acc: curves(|p| p.test_acc),
    }
}

/// Makes a folder for a comparison, before any work, if it holds none yet.
fn prepare(path: &Path) -> Result<(), Failure> {
    if let Some(name) = FILES.iter().find(|name| path.join(name).exists()) {
        return Err(Failure::place(
            path,
            format_args!("holds a comparison already ({name}); choose another --out"),
        ));
    }
    std::fs::create_dir_all(path).map_err(|e| Failure::place(path, format_args!("cannot be made: {e}")))?;
    run_folder::writable(path)
}

fn mean_energies(layers: &[LayerReport]) -> Energies {
    let mean =
        |what: fn(&LayerReport) -> f64| layers.iter().map(what).sum::<f64>() / layers.len().max(1) as f64;
    Energies { full: mean(|l| l.full), half_space: mean(|l| l.half_space) }
}

/// What was compared, in words.
fn about(config: &Config, options: &Options, dataset: &Dataset, regs: &[String], seeds: u64) -> Vec<String> {
    let noise = match config.label_noise {
        0.0 => "no label noise".to_string(),
        share => format!("{} % label noise in training (test labels are clean)", 100.0 * share),
    };
    let length = match (config.steps, config.epochs) {
        (Some(steps), _) => format!("{steps} steps"),
        (_, epochs) => format!("{} epochs", epochs.unwrap_or(EPOCHS)),
    };
    let (train, test) = (dataset.train.len(), dataset.test.len());
    let optimizer = format!("{:?}", config.optimizer).to_lowercase();
    let mut lines = vec![
        format!(
            "{} of width {} on {}: {train} training and {test} test images, {noise}.",
            config.model, config.width, dataset.name
        ),
        format!(
            "{length} of batches of {}, {optimizer} at {} ({}), weight decay {}, {} seeds from {} on.",
            config.batch_size,
            config.rate(),
            format!("{:?}", config.schedule).to_lowercase(),
            config.weight_decay,
            seeds,
            config.seed
        ),
    ];
    let (peers, energies): (Vec<&str>, Vec<&str>) = regs
        .iter()
        .map(String::as_str)
        .filter(|reg| *reg != "none")
        .partition(|reg| comhe::peers::knows(reg));
    if !energies.is_empty() {
        lines.push(format!(
            "Energies (s = {}) are weighted {} in hidden layers and {} in the classifier; rp has k = {}, C = {}.",
            config.reg_s,
            config.reg_weight,
            options.classifier_weight(energies[0]),
            config.k(),
            config.reg_c
        ));
    }
    if !peers.is_empty() {
        lines.push(format!(
            "Other penalties ({}) are weighted {} in hidden layers and {} in the classifier.",
            peers.join(", "),
            config.reg_weight,
            options.classifier_weight(peers[0])
        ));
    }
    lines.extend(dataset.notes.iter().map(|note| format!("Data: {note}.")));
    lines
}

fn table(rows: &[Row], baseline: &str) -> Table {
    let difference = format!("difference to {baseline} [95 %]");
    let head = [
        "regulariser",
        "weights",
        "accuracy %",
        "sd",
        "n",
        &difference,
        "full energy",
        "half-space",
        "ms/step",
    ];
    let mut table = Table::new(head);
    for row in rows {
        let Summary { n, mean, sd } = row.test_acc;
        let percent = |v: f64| format!("{:.2}", 100.0 * v);
        let signed = |v: f64| format!("{:+.2}", 100.0 * v);
        let interval = |i: Interval| format!("{} [{}, {}]", signed(i.mean), signed(i.low), signed(i.high));
        let change = |what: fn(&Energies) -> f64| {
            format!("{:.3} -> {:.3}", what(&row.energy_before), what(&row.energy_after))
        };
        table.row([
            row.reg.clone(),
            format!("{}, {}", row.reg_weight, row.reg_head_weight),
            percent(mean),
            if n > 1 { percent(sd) } else { "-".into() },
            n.to_string(),
            row.difference.map_or("-".into(), interval),
            change(|e| e.full),
            change(|e| e.half_space),
            format!("{:.1}", row.step_ms),
        ]);
    }
    table
}
