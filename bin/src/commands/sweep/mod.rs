//! `comhe sweep`: many runs from one file, with what can be said about them.

mod emit;
mod file;
mod plan;
mod pool;
mod state;
mod table;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use nn::write_atomic;
use serde_json::Value;

use crate::failure::Failure;
use crate::{output, setup, stop};
use emit::Engine;
use file::SweepFile;
use plan::{Job, Place, Point};
use pool::{Fate, Task};
use state::State;
use table::{Found, Tested};

/// Many runs from one file: grid, random, halving; seeds; statistics against a baseline
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  comhe sweep lr.toml                                two cores: two runs at a time, a thread each
  comhe sweep lr.toml --jobs 4 --threads 16          four at a time, four threads each
  comhe sweep lr.toml --emit slurm                   an array job instead; also gnu-parallel, mpi
  comhe sweep lr.toml --collect                      the table of what is finished

lr.toml:
  seeds = 3                          # 0, 1, 2; or a list
  baseline = { reg = \"none\" }        # what the others are compared with
  [base]                             # keys of comhe train
  dataset = \"fashion14\"
  epochs = 5
  [grid]                             # every combination
  reg = [\"none\", \"mhe\", \"rp\"]
  lr = [0.02, 0.05]

Runs are judged on a tenth of the training examples that is held out (hold-out in [base]). When all
are finished, the best setting of each value of the baseline's keys, and no other, meets the test
images. Differences are paired by seed: a 95 % bootstrap interval (10,000 draws; too narrow for fewer
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
        let shares = self.shares()?;
        stop::on_signals()?;
        let stem = self.file.file_stem().unwrap_or_default().to_string_lossy();
        let place =
            Place(self.out.clone().unwrap_or_else(|| Path::new("runs").join(format!("sweep-{stem}"))));
        for folder in ["runs", "configs", "logs", "test"] {
            let path = place.root().join(folder);
            fs::create_dir_all(&path)
                .map_err(|e| Failure::place(&path, format_args!("cannot be made: {e}")))?;
        }
        let changed = changes(&place, &text)?;
        let mut under = Under { options: &self, file, place, points, shares, unfinished: Vec::new() };
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
        if jobs > threads {
            return Err(Failure::usage(format_args!(
                "--jobs is {jobs} and --threads {threads}; each run needs a thread of its own"
            )));
        }
        Ok(pool::shares(threads, jobs))
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

impl Under<'_> {
    fn go(&mut self) -> Result<(), Failure> {
        let rounds = plan::rounds(&self.file, &self.points)?;
        let mut which: Vec<usize> = (0..self.points.len()).collect();
        let mut last = None;
        for (i, &length) in rounds.iter().enumerate() {
            let jobs = plan::jobs(&self.file, &self.points, &which, length)?;
            if rounds.len() > 1 {
                let told = length.map_or("the whole length".into(), |n| format!("length {n}"));
                eprintln!("round {} of {}: {} settings, {told}", i + 1, rounds.len(), which.len());
            }
            if let Some(engine) = self.options.emit
                && self.emitted(engine, &jobs)?
            {
                return Ok(());
            }
            self.unfinished.clear();
            let stopped = !self.made(&jobs)?;
            let found = self.found(&jobs)?;
            if stopped {
                return Err(Failure::unfinished(format_args!(
                    "stopped; the same command goes on: {} of {} runs are finished",
                    found.iter().map(BTreeMap::len).sum::<usize>(),
                    jobs.len()
                )));
            }
            let waits = self.options.collect && !self.unfinished.is_empty();
            let all = i + 1 == rounds.len();
            if !all && !waits {
                which = self.survivors(&which, &found)?;
            }
            last = Some(Last { found, jobs, all: all && !waits });
            if waits {
                break;
            }
        }
        self.told(last.expect("a sweep has a round"))
    }

    /// How many of the runs of the whole length are finished, and how many there are.
    fn finished(&self) -> Result<(usize, usize), Failure> {
        let which: Vec<usize> = (0..self.points.len()).collect();
        let jobs = plan::jobs(&self.file, &self.points, &which, None)?;
        let mut done = 0;
        for job in &jobs {
            done += usize::from(state::state(&self.place, job)? == State::Finished);
        }
        Ok((done, jobs.len()))
    }

    /// Writes what is left to do for another program; false if nothing is.
    fn emitted(&self, engine: Engine, jobs: &[Job]) -> Result<bool, Failure> {
        let mut left = Vec::new();
        for job in jobs {
            match state::state(&self.place, job)? {
                State::Finished => {}
                state => {
                    self.ready(job, &state)?;
                    left.push(job);
                }
            }
        }
        if left.is_empty() {
            return Ok(false);
        }
        let threads = self.shares.iter().copied().min().unwrap_or(1);
        emit::emit(engine, &self.place, &left, &self.options.more(), self.shares.len(), threads)?;
        Ok(true)
    }

    /// Writes a run's frozen settings, and removes what a run without a checkpoint has left.
    fn ready(&self, job: &Job, state: &State) -> Result<(), Failure> {
        write_atomic(&self.place.config(job), job.text.as_bytes())?;
        let folder = self.place.run(job);
        if *state == State::New && folder.exists() {
            fs::remove_dir_all(&folder)
                .map_err(|e| Failure::place(&folder, format_args!("cannot be removed: {e}")))?;
        }
        Ok(())
    }

    /// Makes the runs that are not finished, unless none are to be made; whether it came to the end.
    fn made(&mut self, jobs: &[Job]) -> Result<bool, Failure> {
        let mut left = Vec::new();
        for job in jobs {
            let state = state::state(&self.place, job)?;
            if state != State::Finished {
                left.push((job, state));
            }
        }
        if self.options.collect || self.options.emit.is_some() {
            self.unfinished =
                left.iter().map(|(job, _)| format!("{}: {}", job.name, self.known(job))).collect();
            return Ok(true);
        }
        let mut tasks = Vec::new();
        for (job, state) in &left {
            self.ready(job, state)?;
            let path = |path: PathBuf| path.display().to_string();
            let mut arguments: Vec<String> = vec!["train".into()];
            arguments.extend(match state {
                State::Begun => vec!["--resume".into(), path(self.place.run(job))],
                _ => vec![
                    "--config".into(),
                    path(self.place.config(job)),
                    "--out".into(),
                    path(self.place.run(job)),
                ],
            });
            arguments.extend(self.options.more());
            tasks.push(Task { name: job.name.clone(), arguments, output: None, log: self.place.log(job) });
        }
        if left.len() < jobs.len() {
            eprintln!("{} of {} runs are finished already", jobs.len() - left.len(), jobs.len());
        }
        let mut ended = 0;
        let fates = pool::run(&tasks, &self.shares, |i, fate| {
            ended += 1;
            let told = match fate {
                Fate::Done => state::judged(&self.place.run(left[i].0), self.file.hold_out())
                    .map_or("finished".into(), |judged| format!("accuracy {:.2} %", 100.0 * judged.last)),
                Fate::Failed(reason) => format!("failed: {reason}"),
                Fate::Stopped => "stopped".into(),
            };
            eprintln!("run {ended}/{}: {}: {told}", tasks.len(), tasks[i].name);
        })?;
        for (task, fate) in tasks.iter().zip(&fates) {
            if let Fate::Failed(reason) = fate {
                self.unfinished.push(format!("{}: {reason}", task.name));
            }
        }
        Ok(!fates.contains(&Fate::Stopped))
    }

    /// What a run's log says about why it is not finished.
    fn known(&self, job: &Job) -> String {
        let text = fs::read_to_string(self.place.log(job)).unwrap_or_default();
        let said = text.lines().rev().find_map(|line| line.strip_prefix("comhe: "));
        said.unwrap_or("not finished").to_string()
    }

    /// The accuracies of the finished runs.
    fn found(&self, jobs: &[Job]) -> Result<Found, Failure> {
        let mut found: Found = vec![BTreeMap::new(); self.points.len()];
        for job in jobs {
            if state::state(&self.place, job)? == State::Finished {
                let judged = state::judged(&self.place.run(job), self.file.hold_out())?;
                found[job.point].insert(job.seed, judged);
            }
        }
        Ok(found)
    }

    /// The better ones of a round, and all baselines, in the order of the file.
    fn survivors(&self, which: &[usize], found: &Found) -> Result<Vec<usize>, Failure> {
        let eta = self.file.halving.as_ref().map_or(1, |halving| halving.eta) as usize;
        let score = |i: usize| table::score(&self.file, &found[i]);
        let mut ranked: Vec<(usize, f64)> = which.iter().filter_map(|&i| Some((i, score(i)?))).collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        ranked.truncate(which.len().div_ceil(eta));
        let partners = table::partners(&self.file, &self.points)?;
        // A setting without a partner is a baseline, if there are any.
        let kept = |i: &usize| {
            let baseline = self.file.baseline.is_some() && partners[*i].is_none() && score(*i).is_some();
            baseline || ranked.iter().any(|(r, _)| r == i)
        };
        let kept: Vec<usize> = which.iter().copied().filter(kept).collect();
        match kept.is_empty() {
            true => Err(Failure::unfinished(format_args!(
                "no setting has a finished run for every seed: {}",
                self.unfinished.join("; ")
            ))),
            false => Ok(kept),
        }
    }

    /// Writes and prints the result.
    fn told(&self, last: Last) -> Result<(), Failure> {
        let held_out = self.file.hold_out() > 0.0;
        let on = if held_out { "validation" } else { "test" };
        let select = self.file.select;
        let rows = table::rows(&self.file, &self.points, &last.found)?;
        let mut tables = vec![table::table(&rows, on, select)];
        let mut test = Vec::new();
        if held_out && last.all {
            let chosen = table::chosen(&self.file, &self.points, &last.found);
            test = table::test_rows(
                &self.tested(&chosen, &last.jobs)?,
                &self.points,
                self.file.baseline.is_some(),
            );
            tables.push(table::table(&test, "test", select));
        }
        let unfinished = self.unfinished.iter().map(|line| format!("- {line}\n")).collect::<String>();
        let unfinished =
            if unfinished.is_empty() { unfinished } else { format!("\nNot finished:\n\n{unfinished}") };
        let markdown: Vec<String> = tables.iter().map(output::Table::markdown).collect();
        let markdown = format!("# Sweep\n\n{}\n{unfinished}", markdown.join("\n\n"));
        let csv = table::CSV.to_string() + &table::csv(&rows, on) + &table::csv(&test, "test");
        let json = table::json(on, &rows, &test, &self.unfinished, select);
        for (name, text) in
            [("sweep.md", markdown), ("sweep.csv", csv), ("sweep.json", output::to_json(&json) + "\n")]
        {
            write_atomic(&self.place.root().join(name), text.as_bytes())?;
        }
        if self.options.json {
            output::json(&json)?;
        } else {
            let text: Vec<String> = tables.iter().map(output::Table::text).collect();
            output::line(&text.join("\n\n"))?;
            output::line(&self.place.root().display().to_string())?;
        }
        match &self.unfinished[..] {
            [] => Ok(()),
            all => {
                all.iter().for_each(|line| eprintln!("not finished: {line}"));
                Err(Failure::unfinished(format_args!(
                    "{} of {} runs are not finished",
                    all.len(),
                    last.jobs.len()
                )))
            }
        }
    }

    /// The test accuracies of the chosen points by seed. A run's weights meet the test images once.
    fn tested(&self, chosen: &[usize], jobs: &[Job]) -> Result<Vec<Tested>, Failure> {
        let of = |point: usize| jobs.iter().filter(move |job| job.point == point);
        let known = |job: &Job| -> Option<f64> {
            let text = fs::read_to_string(self.place.test(job)).ok()?;
            serde_json::from_str::<Value>(&text).ok()?["accuracy"].as_f64()
        };
        let left: Vec<&Job> = chosen.iter().flat_map(|&p| of(p)).filter(|job| known(job).is_none()).collect();
        let task = |job: &&Job| {
            let mut arguments =
                vec!["eval".to_string(), self.place.run(job).display().to_string(), "--json".into()];
            arguments.extend(self.options.more());
            let log = self.place.test(job).with_extension("log");
            Task { name: job.name.clone(), arguments, output: Some(self.place.test(job)), log }
        };
        let tasks: Vec<Task> = left.iter().map(task).collect();
        for (task, fate) in tasks.iter().zip(pool::run(&tasks, &self.shares, |_, _| {})?) {
            match fate {
                Fate::Done => drop(fs::remove_file(&task.log)),
                Fate::Failed(reason) => {
                    return Err(Failure::unfinished(format_args!(
                        "{}: no test accuracy: {reason}",
                        task.name
                    )));
                }
                Fate::Stopped => return Err(Failure::unfinished("stopped; the same command goes on")),
            }
        }
        let values = |point: usize| {
            let value = |job: &Job| {
                let missing = || Failure::place(&self.place.test(job), "has no accuracy");
                Ok((job.seed, known(job).ok_or_else(missing)?))
            };
            Ok((point, of(point).map(value).collect::<Result<_, Failure>>()?))
        };
        chosen.iter().map(|&point| values(point)).collect()
    }
}
