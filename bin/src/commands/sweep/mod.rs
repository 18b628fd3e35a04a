//! `comhe sweep`: many runs from one file, with what can be said about them.

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
use crate::{data, run_folder, setup, stop};
use emit::Engine;
use file::SweepFile;
use plan::{Job, Length, Place, Point};
use table::Found;

/// Many runs from one file: grid, random, halving; seeds; statistics against a baseline
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  comhe sweep lr.toml                                two cores: two runs at a time, a thread each
  comhe sweep lr.toml --jobs 4 --threads 16          four at a time, four threads each
  comhe sweep lr.toml --emit slurm                   an array job instead; also gnu-parallel, mpi
  comhe sweep lr.toml --collect                      the table of what is finished

lr.toml:
  seeds = 3                          # 0, 1, 2; or a list
  baseline = { reg.name = \"none\" }   # what the others are compared with
  [base]                             # keys of comhe train
  dataset = \"fashion14\"
  epochs = 5
  [grid]                             # every combination
  reg.name = [\"none\", \"mhe\", \"rp\"]
  lr = [0.02, 0.05]

Runs are judged by their accuracy (of real targets: their loss) on a tenth of the training examples
that is held out (hold-out in [base]). When all are finished, the best setting of each value of the
baseline's keys, and no other, meets the test images. Differences are paired by seed: a 95 % bootstrap interval (10,000 draws; too narrow for fewer
than about ten seeds) and the p of Student's paired t test, also corrected for the number of rows
(Holm). Settings that play no part in a point are dropped, and points that become equal are one.

The same command goes on where it stopped: finished runs are known by their folders and frozen
settings. The folder has configs/, runs/, logs/, test/, sweep.md, sweep.csv, sweep.json.
docs/sweeps.md has every key.")]
pub struct Sweep {
    /// What is tried
    #[arg(value_name = "FILE.toml")]
    file: PathBuf,
    /// The folder of the sweep [default: runs/sweep-FILE]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Runs at a time [default: one a thread]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Threads of all runs together [default: one a core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// The folder that holds data sets, for all runs [default: the environment variable COMHE_DATA]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Write the runs as commands for another program, and run none
    #[arg(long, value_name = "ENGINE", value_enum, conflicts_with = "collect")]
    emit: Option<Engine>,
    /// Run none, and make the table of what is finished
    #[arg(long)]
    collect: bool,
    /// The result as one JSON object
    #[arg(long)]
    json: bool,
}

/// A sweep that is under way.
struct Under<'a> {
    options: &'a Sweep,
    file: SweepFile,
    place: Place,
    points: Vec<Point>,
    rounds: Vec<Length>,
    /// Threads of the runs that go side by side.
    shares: Vec<usize>,
    /// What could not be finished.
    unfinished: Vec<String>,
}

/// Where the rounds led: the last one's runs, and whether there is no further one.
struct Last {
    found: Found,
    jobs: Vec<Job>,
    all: bool,
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
        if !self.collect && self.emit.is_none() {
            self.has_data(&points).map_err(in_file)?;
        }
        stop::on_signals()?;
        let stem = self.file.file_stem().unwrap_or_default().to_string_lossy();
        let place =
            Place(self.out.clone().unwrap_or_else(|| Path::new("runs").join(format!("sweep-{stem}"))));
        // Runs are commands with these paths, some of them in scripts.
        let whole = std::path::absolute(place.root()).unwrap_or_default();
        if let Some(path) = self.data_dir.iter().chain([&whole]).find(|path| path.to_str().is_none()) {
            return Err(Failure::place(path, "is no path in UTF-8, as the commands of runs need; rename it"));
        }
        for folder in ["runs", "configs", "logs", "test"] {
            let path = place.root().join(folder);
            fs::create_dir_all(&path)
                .map_err(|e| Failure::place(&path, format_args!("cannot be made: {e}")))?;
        }
        // Runs are made by one at a time; emitted ones have locks of their own.
        let _lock = if self.collect { None } else { run_folder::lock(place.root())? };
        let changed = changes(&place, &text)?;
        let mut under = Under { options: &self, file, place, points, rounds, shares, unfinished: Vec::new() };
        if !changed.is_empty() {
            let (done, all) = under.finished()?;
            eprintln!(
                "{} has changed since this sweep began ({}): {done} of the {all} runs that it now asks for are finished; \
                 others stay in runs/ and out of the table",
                self.file.display(),
                changed.join(", ")
            );
        }
        write_atomic(&under.place.root().join("sweep.toml"), text.as_bytes())?;
        under.go()
    }

    /// Threads of each of the runs that go side by side.
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
                "--jobs is {jobs} and --threads {threads}; each run needs a thread of its own"
            )));
        }
        Ok(pool::shares(threads, jobs))
    }

    /// Makes sure that the runs find their data, and enough of them, and says so before the first of them if not.
    fn has_data(&self, points: &[Point]) -> Result<(), Failure> {
        let mut known = Vec::new();
        for point in points {
            let data_dir = self.data_dir.clone().or_else(|| point.config.data_dir.clone());
            let config = Config { data_dir, ..point.config.clone() };
            let options = data::options(&config);
            let data = (config.dataset.clone(), options.clone(), config.hold_out);
            if known.contains(&data) {
                continue;
            }
            known.push(data);
            if let Some(missing) =
                datasets::sources(&config.dataset, &options)?.iter().find(|file| !file.exists())
            {
                return Err(Failure::place(missing, "does not exist; [base] dataset needs it"));
            }
            data::load(&config)?;
        }
        Ok(())
    }

    /// What every run is told beside its settings.
    fn more(&self) -> Vec<String> {
        self.data_dir.iter().flat_map(|dir| ["--data-dir".into(), dir.display().to_string()]).collect()
    }
}

/// Which keys of the file differ from those with which the sweep began.
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
