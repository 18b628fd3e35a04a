//! The rounds of a sweep: which runs are missing, and which points are in the next round.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use nn::write_atomic;

use super::emit::{self, Engine};
use super::plan::{self, Job};
use super::pool::{self, Status, Task};
use super::state::{self, State};
use super::table::{self, PointScores};
use super::{LastRound, Runner};
use crate::failure::Failure;
use crate::run_folder;
use crate::statistics::count;

impl Runner<'_> {
    /// Executes all rounds and writes the result.
    pub fn run(&mut self) -> Result<(), Failure> {
        let rounds = self.rounds.clone();
        let mut which: Vec<usize> = (0..self.points.len()).collect();
        let mut last = None;
        for (i, &length) in rounds.iter().enumerate() {
            let jobs = plan::jobs(&self.file, &self.points, &which, length)?;
            if rounds.len() > 1 {
                let length = length.map_or("the whole length".into(), |n| format!("length {n}"));
                let settings = count(which.len(), "setting");
                eprintln!("round {} of {}: {settings}, {length}", i + 1, rounds.len());
            }
            if let Some(engine) = self.options.emit
                && self.emit(engine, &jobs)?
            {
                return Ok(());
            }
            self.unfinished.clear();
            let stopped = !self.execute(&jobs)?;
            let scores = self.scores(&jobs)?;
            if stopped {
                return Err(Failure::unfinished(format_args!(
                    "stopped: {} of {} runs are finished; the same command resumes",
                    scores.iter().map(BTreeMap::len).sum::<usize>(),
                    jobs.len()
                )));
            }
            let waits = self.options.collect && !self.unfinished.is_empty();
            let all = i + 1 == rounds.len();
            if !all && !waits {
                which = self.survivors(&which, &scores)?;
            }
            last = Some(LastRound { scores, jobs, complete: all && !waits });
            if waits {
                break;
            }
        }
        self.write_results(last.expect("a sweep has a round"))
    }

    /// The numbers of finished runs and of all runs of the whole length.
    pub fn finished(&self) -> Result<(usize, usize), Failure> {
        let which: Vec<usize> = (0..self.points.len()).collect();
        let jobs = plan::jobs(&self.file, &self.points, &which, None)?;
        let mut done = 0;
        for job in &jobs {
            done += usize::from(state::state(&self.place, job)? == State::Finished);
        }
        Ok((done, jobs.len()))
    }

    /// Writes the missing runs for another program; false if none is missing.
    fn emit(&self, engine: Engine, jobs: &[Job]) -> Result<bool, Failure> {
        let mut left = Vec::new();
        for job in jobs {
            match state::state(&self.place, job)? {
                State::Finished => {}
                state => {
                    self.prepare(job, &state)?;
                    left.push(job);
                }
            }
        }
        if left.is_empty() {
            return Ok(false);
        }
        let threads = self.shares.iter().copied().min().unwrap_or(1);
        emit::emit(engine, &self.place, &left, &self.options.arguments(), self.shares.len(), threads)?;
        Ok(true)
    }

    /// Writes the frozen settings of a run, and removes the folder of a run that has no checkpoint.
    fn prepare(&self, job: &Job, state: &State) -> Result<(), Failure> {
        write_atomic(&self.place.config(job), job.text.as_bytes())?;
        let folder = self.place.run(job);
        if *state == State::New && folder.exists() {
            // A job of another program may be starting there.
            let _lock = run_folder::lock(&folder)?;
            fs::remove_dir_all(&folder)
                .map_err(|e| Failure::place(&folder, format_args!("cannot be removed: {e}")))?;
        }
        Ok(())
    }

    /// Executes the runs that are not finished; false if the user stopped them. With `--collect` and `--emit` it only
    /// lists them.
    fn execute(&mut self, jobs: &[Job]) -> Result<bool, Failure> {
        let mut left = Vec::new();
        for job in jobs {
            let state = state::state(&self.place, job)?;
            if state != State::Finished {
                left.push((job, state));
            }
        }
        if self.options.collect || self.options.emit.is_some() {
            self.unfinished =
                left.iter().map(|(job, _)| format!("{}: {}", job.name, self.reason(job))).collect();
            return Ok(true);
        }
        let mut tasks = Vec::new();
        for (job, state) in &left {
            self.prepare(job, state)?;
            let path = |path: PathBuf| path.display().to_string();
            let mut arguments: Vec<String> = vec!["train".into()];
            arguments.extend(match state {
                State::Resumable => vec!["--resume".into(), path(self.place.run(job))],
                _ => vec![
                    "--config".into(),
                    path(self.place.config(job)),
                    "--out".into(),
                    path(self.place.run(job)),
                ],
            });
            arguments.extend(self.options.arguments());
            tasks.push(Task { name: job.name.clone(), arguments, output: None, log: self.place.log(job) });
        }
        if left.len() < jobs.len() {
            eprintln!("{} of {} runs are finished already", jobs.len() - left.len(), jobs.len());
        }
        let mut ended = 0;
        let statuses = pool::run(&tasks, &self.shares, |i, status| {
            ended += 1;
            let result = match status {
                Status::Done => state::scores(&self.place.run(left[i].0), self.file.hold_out())
                    .map_or_else(|reason| format!("failed: {reason}"), |scores| scores.text()),
                Status::Failed(reason) => format!("failed: {reason}"),
                Status::Stopped => "stopped".into(),
            };
            eprintln!("run {ended}/{}: {}: {result}", tasks.len(), tasks[i].name);
        });
        for (task, status) in tasks.iter().zip(&statuses) {
            if let Status::Failed(reason) = status {
                self.unfinished.push(format!("{}: {reason}", task.name));
            }
        }
        Ok(!statuses.contains(&Status::Stopped))
    }

    /// Why a run is not finished: the error message in its log.
    fn reason(&self, job: &Job) -> String {
        let text = fs::read_to_string(self.place.log(job)).unwrap_or_default();
        let message = text.lines().rev().find_map(|line| line.strip_prefix("comhe: "));
        message.unwrap_or("not finished").to_string()
    }

    /// The scores of the finished runs. A run that has none counts as unfinished.
    fn scores(&mut self, jobs: &[Job]) -> Result<PointScores, Failure> {
        let mut all: PointScores = vec![BTreeMap::new(); self.points.len()];
        for job in jobs {
            if state::state(&self.place, job)? == State::Finished {
                match state::scores(&self.place.run(job), self.file.hold_out()) {
                    Ok(scores) => drop(all[job.point].insert(job.seed, scores)),
                    Err(reason) => self.unfinished.push(format!("{}: {reason}", job.name)),
                }
            }
        }
        Ok(all)
    }

    /// The points of the next round: the better ones, and all baselines, in the order of the file.
    fn survivors(&self, which: &[usize], scores: &PointScores) -> Result<Vec<usize>, Failure> {
        let eta = self.file.halving.as_ref().map_or(1, |halving| halving.eta) as usize;
        table::measure(&self.points, scores)?;
        let score = |i: usize| table::score(&self.file, &scores[i]);
        let mut ranked: Vec<(usize, f64)> = which.iter().filter_map(|&i| Some((i, score(i)?))).collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        ranked.truncate(which.len().div_ceil(eta));
        let partners = table::partners(&self.file, &self.points)?;
        // With a baseline, a point without a partner is one.
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
}
