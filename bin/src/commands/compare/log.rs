//! What a comparison's folder keeps while it is made: the plan, and every finished run.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use datasets::Dataset;
use nn::write_atomic;

use super::plan::{PLAN, Plan};
use super::run::{Job, Run};
use crate::config::Config;
use crate::failure::Failure;
use crate::output::to_json;
use crate::run_folder::Score;

/// A finished run a line.
pub const RUNS: &str = "runs.jsonl";

/// The finished runs of a comparison, in memory and on disk.
pub struct Log {
    path: PathBuf,
    /// In the order in which they were finished.
    pub runs: Vec<Run>,
    /// How many runs there will be.
    pub total: usize,
    /// What became of runs that could not be finished.
    pub failed: Vec<String>,
    started: usize,
}

/// What became of a run.
pub enum Fate {
    Finished,
    Failed,
    /// The user wants to end.
    Stopped,
}

impl Log {
    /// Begins in a folder, or goes on there.
    pub fn open(folder: &Path, plan: &Plan, total: usize) -> Result<Log, Failure> {
        let path = folder.join(RUNS);
        let plan_path = folder.join(PLAN);
        if !plan_path.exists() {
            write_atomic(&plan_path, (to_json(plan) + "\n").as_bytes())?;
        }
        let text = if path.exists() {
            fs::read_to_string(&path)
                .map_err(|e| Failure::place(&path, format_args!("cannot be read: {e}")))?
        } else {
            String::new()
        };
        // A line that was cut off is a run that is made again.
        let runs = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        Ok(Log { path, runs, total, failed: Vec::new(), started: 0 })
    }

    /// Makes a run, unless it is there.
    pub fn run(&mut self, job: Job, settings: &Config, dataset: &Dataset) -> Result<Fate, Failure> {
        self.started += 1;
        if self.runs.iter().any(|run| run.job == job) {
            return Ok(Fate::Finished);
        }
        let Job { reg, seed, factor, .. } = &job;
        let weight = if job.tuning { format!(" at {factor}") } else { String::new() };
        let begin = format!("run {}/{}: seed {seed}, {reg}{weight}", self.started, self.total);
        match job.run(settings, dataset) {
            Ok(Some(run)) => {
                let on = if job.tuning { "validation" } else { "test" };
                match run.test.score() {
                    Score::Accuracy(accuracy) => {
                        eprintln!("{begin}: {on} accuracy {:.2} %", 100.0 * accuracy)
                    }
                    Score::Loss(loss) => eprintln!("{begin}: {on} loss {loss:.6}"),
                }
                self.append(&run).map_err(Failure::mid_run)?;
                self.runs.push(run);
                Ok(Fate::Finished)
            }
            Ok(None) => Ok(Fate::Stopped),
            Err(failure) => {
                let text = failure.message().unwrap_or("standard output was closed");
                eprintln!("{begin}: failed: {text}");
                if !job.tuning {
                    self.failed.push(format!("{reg}, seed {seed}: {text}"));
                }
                Ok(Fate::Failed)
            }
        }
    }

    /// The runs that the result is about.
    pub fn last(&self) -> Vec<&Run> {
        self.runs.iter().filter(|run| !run.job.tuning).collect()
    }

    /// The mean accuracy, or loss of real targets, on held-out examples of each factor with which all runs could be
    /// finished.
    pub fn validation(&self, reg: &str, plan: &Plan) -> Vec<(f64, Option<Score>)> {
        let mean = |factor: f64| {
            let of = |run: &&Run| run.job.tuning && run.job.reg == reg && run.job.factor == factor;
            let found: Vec<Score> = self.runs.iter().filter(of).map(|run| run.test.score()).collect();
            let mean = found.iter().map(|score| score.value()).sum::<f64>() / plan.tune_seeds as f64;
            let first = found.first().filter(|_| found.len() as u64 == plan.tune_seeds)?;
            Some(first.with(mean))
        };
        plan.tune.iter().map(|&factor| (factor, mean(factor))).collect()
    }

    /// The factor of a regulariser's weights: 1, or the best on held-out examples, the first among equals.
    pub fn chosen(&self, reg: &str, plan: &Plan) -> Option<f64> {
        if plan.tune.is_empty() || reg == "none" {
            return Some(1.0);
        }
        let known = self.validation(reg, plan).into_iter().filter_map(|(factor, mean)| Some((factor, mean?)));
        known.reduce(|best, next| if next.1.beats(best.1) { next } else { best }).map(|best| best.0)
    }

    fn append(&self, run: &Run) -> Result<(), Failure> {
        let cannot = |e: std::io::Error| Failure::place(&self.path, format_args!("cannot be written: {e}"));
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path).map_err(cannot)?;
        // A line that was cut off ends here.
        let cut = file.metadata().map_err(cannot)?.len() > 0 && !ends_line(&self.path);
        let line = format!("{}{}\n", if cut { "\n" } else { "" }, to_json(run));
        file.write_all(line.as_bytes()).and_then(|()| file.sync_data()).map_err(cannot)
    }
}

fn ends_line(path: &Path) -> bool {
    fs::read(path).is_ok_and(|bytes| bytes.ends_with(b"\n"))
}
