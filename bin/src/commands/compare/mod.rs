//! `comhe compare`: one network on one data set with several regularisers and seeds.

mod arm;
pub mod log;
pub mod plan;
pub mod run;
mod table;

use std::path::{Path, PathBuf};

use clap::{ArgMatches, Args};
use comhe::REGULARISERS;
use datasets::Dataset;
use nn::{LossSpec, MethodSpec, write_atomic};
use serde_json::json;

use super::report;
use crate::config::choice::{listed, names, rows};
use crate::config::kinds::{self, Class, Part, Reads};
use crate::config::{Config, given};
use crate::failure::Failure;
use crate::figures::{self, Group};
use crate::run_folder;
use crate::setup::{self, Setup};
use crate::statistics::count;
use crate::{data, output, stop, system};
use arm::Arm;
use log::{Log, Status};
use plan::{PLAN, Plan};
use run::Job;
use table::Row;

/// The main experiment: the same network on the same data with several regularisers, methods or losses, and seeds
#[derive(Args, Debug)]
#[group(skip)]
#[command(
    mut_arg("label_noise", |arg| arg.default_value("0.2")),
    mut_arg("lr", |arg| arg.help("Learning rate [default: sgd 0.02, adam and adamw 0.001]")),
    mut_arg("schedule", |arg| arg.default_value("cosine")),
    mut_arg("epochs", |arg| arg.help("Length of each run in passes over the data [default: 20]")),
    mut_arg("seed", |arg| arg.help("First seed, for initial weights, data order and projections")),
    mut_arg("eval_every", |arg| arg.help(
        "Steps between two evaluations and measurements of energies [default: a tenth of a run]"
    )),
    after_help = "Examples:
  comhe compare                                     two minutes on two cores
  comhe compare --regs none,rp --seeds 10 --reg-weight 0.1
  comhe compare --regs none,mhe,mma,so,decay --reg-weight 0.1
  comhe compare --regs none,mhe,so --tune 0.01,0.1,1,10   choose the weights first
  comhe compare --methods plain,sam,amp             and --losses cross-entropy,isda
  comhe compare --dataset cifar10 --data-dir data --model cnn6 --train-size 2000 --out cmp
  comhe compare --resume cmp                        resume after an interruption

By default a fifth of the training labels are wrong, because a regulariser has little effect on clean,
easy data. Test labels are never changed, and real targets have no label noise. All runs of a seed
start from the same weights and see the same batches, so that differences to the first regulariser are
paired. Their intervals are 95 % intervals of the mean by Student's t. The default learning rate is
the best one without a regulariser.

With --tune, each regulariser is first trained with both of its weights times each factor, on the
training examples without a held-out share (another one for each seed). The factor with the best mean
on held-out examples is used for the result, on all training examples.

The folder, whose path is printed last, gets compare.json, compare.md, report.html and the curves
energy.svg and accuracy.svg (for real targets: loss.svg). During the comparison, plan.json and
runs.jsonl, one line per finished run, are written there; --resume reads them."
)]
pub struct Compare {
    /// Regularisers, the baseline first
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "none,mhe,hs-mhe,rp",
        value_parser = names(rows(REGULARISERS))
    )]
    regs: Vec<String>,
    /// Methods, each with every regulariser and loss; --regs then is none by default
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = listed::<MethodSpec>())]
    methods: Vec<String>,
    /// Losses, each with every regulariser and method; --regs then is none by default
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = listed::<LossSpec>())]
    losses: Vec<String>,
    /// Number of seeds
    #[arg(long, value_name = "N", default_value_t = 5)]
    seeds: u64,
    /// Factors of both weights of a regulariser, chosen on held-out training examples
    #[arg(long, value_name = "FACTORS", value_delimiter = ',')]
    tune: Vec<f64>,
    /// --tune: number of seeds for each factor
    #[arg(long, value_name = "N", default_value_t = 2)]
    tune_seeds: u64,
    /// --tune: share of the training examples that is held out
    #[arg(long, value_name = "SHARE", default_value_t = 0.2)]
    validation: f64,
    /// Folder of the results [default: a new one in runs/]
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    out: Option<PathBuf>,
    /// Resume the comparison in this folder
    #[arg(long, value_name = "DIR")]
    resume: Option<PathBuf>,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Config,
}

/// The files of the result.
const FILES: [&str; 2] = ["compare.json", "compare.md"];
/// The settings that the runs read. `--regs` replaces `--reg`, `--validation` replaces `--hold-out`, and the settings of run
/// folders are not read, since there are none.
pub const READS: Reads = Reads {
    parts: &[
        Part::Data,
        Part::TrainingData,
        Part::Network,
        Part::Regulariser,
        Part::Loss,
        Part::Penalties,
        Part::Method,
        Part::Attack,
        Part::Optimiser,
        Part::Run,
        Part::Length,
        Part::Machine,
    ],
    and: &["eval-every"],
    without: &["reg", "preset", "hold-out"],
};

impl Compare {
    /// Runs the command.
    pub fn run(self, matches: &ArgMatches) -> Result<(), Failure> {
        if let Some(path) = &self.resume {
            return self.execute(&self.resumed(path, matches)?, path);
        }
        let plan = self.planned(matches)?;
        let path = self.out.clone().unwrap_or_else(|| run_folder::fresh("compare"));
        run_folder::unless_empty(&path, || {
            prepare(&path)?;
            self.execute(&plan, &path)
        })
    }

    /// Executes the missing runs and writes the result.
    fn execute(&self, plan: &Plan, path: &Path) -> Result<(), Failure> {
        let mut dataset = data::load(&plan.settings)?;
        // Wrong settings are reported before the first run.
        let setup = Setup::on(dataset.clone(), &plan.settings)?;
        dataset.notes = setup.dataset.notes;
        let model = setup.trainer.model;
        for arm in plan.arms() {
            let config = arm.config(&plan.settings);
            data::with_loss(&config, &dataset)?;
            setup::check_groups(&config, &model)?;
        }
        if !plan.tune.is_empty() {
            dataset.hold_out(plan.validation, 0)?;
        }
        stop::on_signals()?;

        let _lock = run_folder::lock(path)?;
        let mut log = Log::open(path, plan, plan.total())?;
        let stopped = !runs(plan, &dataset, &mut log)?;
        // The result is that of the finished runs.
        let unfinished = match (stopped, &log.failed[..]) {
            (true, _) => Some(format!(
                "stopped after {} of {} runs; resume with --resume {}",
                log.runs.len(),
                log.total,
                path.display()
            )),
            (false, []) => None,
            (false, [one]) => Some(format!("1 of {} failed: {one}", count(log.total, "run"))),
            (false, [first, ..]) => {
                Some(format!("{} of {} runs failed, the first: {first}", log.failed.len(), log.total))
            }
        };
        let runs = log.result();
        if let (true, Some(failure)) = (runs.is_empty(), &unfinished) {
            return Err(Failure::unfinished(failure));
        }
        let finished = |arm: &Arm| runs.iter().any(|run| run.job.arm == *arm);
        let arms: Vec<Arm> = plan.arms().into_iter().filter(finished).collect();
        let rows: Vec<Row> = arms.iter().map(|arm| Row::new(arm, plan, &runs)).collect::<Result<_, _>>()?;
        let about = table::about(plan, &dataset)?;
        let result = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "commit": system::COMMIT,
            "cpu": system::cpu(),
            "threads": autograd::threads(),
            "dataset": dataset.name,
            "notes": dataset.notes,
            "plan": plan,
            "baseline": plan.arms()[0].name(plan),
            "unfinished": unfinished,
            "rows": rows,
            "runs": runs,
            "tuning": log.runs.iter().filter(|run| run.job.tuning).collect::<Vec<_>>(),
        });
        let mut tables = vec![table::result(&rows, plan)];
        if !plan.tune.is_empty() {
            tables.push(table::tuning(plan, &log));
        }
        let of_all =
            |format: fn(&output::Table) -> String| tables.iter().map(format).collect::<Vec<_>>().join("\n\n");
        let markdown =
            format!("# Comparison\n\n{}\n\n{}\n", about.join("\n\n"), of_all(output::Table::markdown));
        for (name, text) in FILES.iter().zip([output::to_json(&result) + "\n", markdown]) {
            write_atomic(&path.join(name), text.as_bytes()).map_err(|e| Failure::from(e).mid_run())?;
        }
        let names: Vec<String> = arms.iter().map(|arm| arm.name(plan)).collect();
        let groups: Vec<Group> =
            arms.iter().zip(&names).map(|(arm, name)| table::group(arm, name, &runs)).collect();
        run_folder::pictures(path, figures::of_comparison(&groups, dataset.is_regression()))
            .map_err(Failure::mid_run)?;
        report::write_page(path).map_err(Failure::mid_run)?;
        if self.json {
            eprintln!("written to {}", path.display());
            output::json(&result)?;
        } else {
            output::line(&about.join("\n"))?;
            output::line(&format!("\n{}", of_all(output::Table::text)))?;
            output::line(&path.display().to_string())?;
        }
        unfinished.map_or(Ok(()), |failure| Err(Failure::unfinished(failure)))
    }

    /// The plan of the comparison in a folder.
    fn resumed(&self, path: &Path, matches: &ArgMatches) -> Result<Plan, Failure> {
        let machine = kinds::of_classes(&[Class::Machine]);
        let may = |key: &str| ["resume", "json"].contains(&key) || machine.contains(&key);
        if let Some(key) = given(matches).iter().find(|key| !may(key)) {
            let flags: Vec<String> = machine.iter().map(|key| format!("--{key}")).collect();
            return Err(Failure::usage(format_args!(
                "--{key} cannot change when a comparison resumes; only {} and --json can",
                flags.join(", ")
            )));
        }
        let plan = Plan::load(path)?;
        let settings = plan.settings.with_flags(&self.settings, matches)?;
        settings.check()?;
        Ok(Plan { settings, ..plan })
    }
}

/// Executes every run that is missing, in the order of the seeds, so that an interrupted comparison has all regularisers.
/// False if the user stopped it.
fn runs(plan: &Plan, dataset: &Dataset, log: &mut Log) -> Result<bool, Failure> {
    let settings = &plan.settings;
    if !plan.tune.is_empty() {
        for i in 0..plan.tune_seeds {
            // The seeds after those of the result.
            let seed = settings.seed.wrapping_add(plan.seeds).wrapping_add(i);
            let mut held_out = dataset.hold_out(plan.validation, seed)?;
            held_out.test = held_out.validation.take().expect("just held out");
            for arm in plan.tuned() {
                for &factor in &plan.tune {
                    let job = Job { arm: arm.clone(), seed, factor, tuning: true };
                    if let Status::Stopped = log.run(job, plan, &held_out)? {
                        return Ok(false);
                    }
                }
            }
        }
    }
    for i in 0..plan.seeds {
        for arm in plan.arms() {
            let seed = settings.seed.wrapping_add(i);
            let Some(factor) = log.chosen(&arm, plan) else {
                let name = arm.name(plan);
                log.failed.push(format!("{name}, seed {seed}: its runs failed with every factor of --tune"));
                continue;
            };
            let job = Job { arm, seed, factor, tuning: false };
            if let Status::Stopped = log.run(job, plan, dataset)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Creates the folder of a new comparison.
fn prepare(path: &Path) -> Result<(), Failure> {
    if let Some(name) = FILES.iter().chain([&PLAN]).find(|name| path.join(name).exists()) {
        return Err(Failure::place(
            path,
            format_args!(
                "holds a comparison already ({name}); resume it with --resume, or choose another --out"
            ),
        ));
    }
    run_folder::made(path)
}
