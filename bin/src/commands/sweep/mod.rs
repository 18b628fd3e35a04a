//! `comhe sweep`: many runs from one file, and the statistics of their results.

mod emit;
mod file;
mod outcome;
mod plan;
mod pool;
mod rounds;
mod state;
mod table;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use nn::write_atomic;

use crate::config::{Config, MOST_THREADS};
use crate::failure::Failure;
use crate::setup::{self, Setup};
use crate::{data, run_folder, stop};
use emit::Engine;
use file::SweepFile;
use plan::{Job, Length, Place, Point};
use table::PointScores;

/// Many runs from one file: grid, random, halving; seeds; statistics against a baseline
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  comhe sweep lr.toml                                two cores: two runs at a time, a thread each
  comhe sweep lr.toml --jobs 4 --threads 16          four at a time, four threads each
  comhe sweep lr.toml --emit slurm                   write an array job instead; also gnu-parallel, mpi
  comhe sweep lr.toml --collect                      the table of the finished runs

lr.toml:
  seeds = 3                          # 0, 1, 2; or a list
  baseline = { reg.name = \"none\" }   # the settings that others are compared with
  [base]                             # settings of comhe train
  dataset = \"fashion14\"
  epochs = 5
  [grid]                             # every combination of these
  reg.name = [\"none\", \"mhe\", \"rp\"]
  lr = [0.02, 0.05]

Runs are compared by their accuracy (for real targets: their loss) on a tenth of the training
examples, which is held out (hold-out in [base]). When all runs are finished, the best setting of each
value of the baseline's keys, and no other, is evaluated on the test images. Differences are paired by
seed, with a 95 % bootstrap interval (10,000 draws; too narrow for fewer than about ten seeds) and the
p value of Student's paired t test, also corrected for the number of rows (Holm). A setting that has no
effect in a point is dropped, and points that become equal are merged. All points must have the same
kind of targets, classes or real values.

The same command resumes an interrupted sweep; finished runs are not repeated. The folder has configs/,
runs/, logs/, test/, sweep.md, sweep.csv, sweep.json. docs/sweeps.md has every key.")]
pub struct Sweep {
    /// File of the sweep
    #[arg(value_name = "FILE.toml")]
    file: PathBuf,
    /// Folder of the sweep [default: runs/sweep-FILE]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Runs at a time [default: one per thread]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Threads of all runs together [default: one per core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Folder of the data sets, for all runs [default: the environment variable COMHE_DATA]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Write the runs as commands for another program and execute none
    #[arg(long, value_name = "ENGINE", value_enum, conflicts_with = "collect")]
    emit: Option<Engine>,
    /// Execute no run and write the table of the finished ones
    #[arg(long)]
    collect: bool,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

/// Executes the runs of a sweep.
struct Runner<'a> {
    options: &'a Sweep,
    file: SweepFile,
    place: Place,
    points: Vec<Point>,
    rounds: Vec<Length>,
    /// Threads of each of the runs that are executed at the same time.
    shares: Vec<usize>,
    /// Unfinished runs with the reason.
    unfinished: Vec<String>,
}

/// The last round that was executed.
struct LastRound {
    scores: PointScores,
    jobs: Vec<Job>,
    /// Whether it is the last round of the sweep.
    complete: bool,
}

impl Sweep {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        let text = fs::read_to_string(&self.file)
            .map_err(|e| Failure::place(&self.file, format_args!("cannot be read: {e}")))?;
        let file = SweepFile::parse(&text, &self.file)?;
        let in_file = |failure: Failure| match failure.message() {
            Some(message) => Failure::place(&self.file, message),
            None => failure,
        };
        let points = plan::points(&file).map_err(in_file)?;
        table::partners(&file, &points).map_err(in_file)?;
        let rounds = plan::rounds(&file, &points).map_err(in_file)?;
        let shares = self.shares()?;
        if !self.collect {
            self.check_points(&points).map_err(in_file)?;
        }
        stop::on_signals()?;
        let stem = self.file.file_stem().unwrap_or_default().to_string_lossy();
        let place =
            Place(self.out.clone().unwrap_or_else(|| Path::new("runs").join(format!("sweep-{stem}"))));
        // These paths become arguments of commands, some of them in scripts.
        let absolute = std::path::absolute(place.root()).unwrap_or_default();
        if let Some(path) = self.data_dir.iter().chain([&absolute]).find(|path| path.to_str().is_none()) {
            return Err(Failure::place(path, "is not UTF-8, which the commands of the runs need; rename it"));
        }
        for folder in ["runs", "configs", "logs", "test"] {
            let path = place.root().join(folder);
            fs::create_dir_all(&path)
                .map_err(|e| Failure::place(&path, format_args!("cannot be created: {e}")))?;
        }
        // One process at a time executes the runs of a sweep. Emitted runs lock their own folders.
        let _lock = if self.collect { None } else { run_folder::lock(place.root())? };
        let changed = changes(&place, &text)?;
        let unfinished = Vec::new();
        let mut runner = Runner { options: &self, file, place, points, rounds, shares, unfinished };
        if !changed.is_empty() {
            let (done, all) = runner.finished()?;
            eprintln!(
                "{} has changed since this sweep began ({}): {done} of its {all} runs are finished; runs that it no longer \
                 has stay in runs/ and are not in the table",
                self.file.display(),
                changed.join(", ")
            );
        }
        write_atomic(&runner.place.root().join("sweep.toml"), text.as_bytes())?;
        runner.run()
    }

    /// Threads of each of the runs that are executed at the same time.
    fn shares(&self) -> Result<Vec<usize>, Failure> {
        let threads = self.threads.unwrap_or_else(setup::cores);
        let jobs = self.jobs.unwrap_or(threads);
        if threads == 0 || jobs == 0 {
            let flag = if threads == 0 { "threads" } else { "jobs" };
            return Err(Failure::usage(format_args!("--{flag} is 0; it must be at least 1")));
        }
        if threads > MOST_THREADS {
            return Err(Failure::usage(format_args!(
                "--threads is {threads}; it can be at most {MOST_THREADS}"
            )));
        }
        if jobs > threads {
            return Err(Failure::usage(format_args!(
                "--jobs is {jobs} and --threads is {threads}; each run needs a thread of its own"
            )));
        }
        Ok(pool::shares(threads, jobs))
    }

    /// Loads the data of all points and builds their networks, so that settings that do not suit the data are reported
    /// before the first run. Emitted runs may be executed on another machine: then data that are missing here are no
    /// error, and no networks are built.
    fn check_points(&self, points: &[Point]) -> Result<(), Failure> {
        let mut checked = vec![false; points.len()];
        let mut kinds: [Option<&Point>; 2] = [None, None];
        for first in 0..points.len() {
            if checked[first] {
                continue;
            }
            let config = self.with_data_dir(&points[first]);
            let data = |config: &Config| (config.dataset.clone(), data::options(config), config.hold_out);
            let mut sources = datasets::sources(&config.dataset, &data::options(&config))?.into_iter();
            let missing = sources.find(|file| !file.exists());
            if let (Some(missing), None) = (&missing, self.emit) {
                return Err(Failure::place(missing, "does not exist; [base] dataset needs it"));
            }
            let dataset = if missing.is_none() { Some(data::load(&config)?) } else { None };
            // The same data serve all points that have them.
            for (point, checked) in points.iter().zip(&mut checked).skip(first) {
                let own = self.with_data_dir(point);
                if data(&own) != data(&config) {
                    continue;
                }
                *checked = true;
                let Some(dataset) = &dataset else { continue };
                let suits = match self.emit {
                    None => Setup::on(dataset.clone(), &own).map(drop),
                    Some(_) => data::with_loss(&own, dataset).map(drop),
                };
                suits.map_err(|failure| point.named(failure))?;
                kinds[usize::from(dataset.is_regression())].get_or_insert(point);
            }
        }
        match kinds {
            [Some(classes), Some(real)] => Err(table::incomparable(classes, real)),
            _ => Ok(()),
        }
    }

    /// The settings of a point with the data folder of this machine.
    fn with_data_dir(&self, point: &Point) -> Config {
        let data_dir = self.data_dir.clone().or_else(|| point.config.data_dir.clone());
        Config { data_dir, ..point.config.clone() }
    }

    /// Arguments of every run besides its settings.
    fn arguments(&self) -> Vec<String> {
        self.data_dir.iter().flat_map(|dir| ["--data-dir".into(), dir.display().to_string()]).collect()
    }
}

/// The keys of the file that have changed since the sweep began.
fn changes(place: &Place, text: &str) -> Result<Vec<String>, Failure> {
    let Ok(before) = fs::read_to_string(place.root().join("sweep.toml")) else { return Ok(Vec::new()) };
    let flat = |text: &str| -> BTreeMap<String, String> {
        let table: toml::Table = toml::from_str(text).unwrap_or_default();
        let inner = |(key, value): (String, toml::Value)| match value {
            toml::Value::Table(table) => {
                table.into_iter().map(|(k, v)| (format!("{key}.{k}"), v.to_string())).collect::<Vec<_>>()
            }
            value => vec![(key, value.to_string())],
        };
        table.into_iter().flat_map(inner).collect()
    };
    let (old, new) = (flat(&before), flat(text));
    let mut keys: Vec<String> =
        old.keys().chain(new.keys()).filter(|k| old.get(*k) != new.get(*k)).cloned().collect();
    keys.sort();
    keys.dedup();
    Ok(keys)
}
