//! The rounds of a sweep: which runs there are, which are left to be made, and which settings go on.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use nn::write_atomic;

use super::emit::{self, Engine};
use super::plan::{self, Job};
use super::pool::{self, Fate, Task};
use super::state::{self, State};
use super::table::{self, Found};
use super::{Last, Under};
use crate::failure::Failure;
use crate::run_folder;

impl Under<'_> {
    /// All rounds, and the result.
    pub fn go(&mut self) -> Result<(), Failure> {
        let rounds = self.rounds.clone();
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
    pub fn finished(&self) -> Result<(usize, usize), Failure> {
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
            // Not one that a job of another program is just beginning.
            let _lock = run_folder::lock(&folder)?;
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
                    .map_or("finished".into(), |judged| judged.words()),
                Fate::Failed(reason) => format!("failed: {reason}"),
                Fate::Stopped => "stopped".into(),
            };
            eprintln!("run {ended}/{}: {}: {told}", tasks.len(), tasks[i].name);
        });
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
}
