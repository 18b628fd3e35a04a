//! The plan and the finished runs of a comparison in its folder, from which it resumes.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use comhe::short;
use datasets::Dataset;
use nn::write_atomic;

use super::arm::Arm;
use super::plan::{PLAN, Plan};
use super::run::{Job, Run};
use crate::failure::Failure;
use crate::output::to_json;
use crate::run_folder::Score;
use crate::statistics::Measure;

/// The file of finished runs, one JSON object per line.
pub const RUNS: &str = "runs.jsonl";

/// The finished runs of a comparison, in memory and on disk.
pub struct Log {
    path: PathBuf,
    /// Finished runs in the order in which they ended.
    pub runs: Vec<Run>,
    /// The number of runs of the comparison.
    pub total: usize,
    /// Failed runs with the reason.
    pub failed: Vec<String>,
    started: usize,
}

/// How a run ended.
pub enum Status {
    Finished,
    Failed,
    /// Interrupted by the user.
    Stopped,
}

impl Log {
    /// Starts a comparison in a folder, or resumes it.
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
        // A run whose line is damaged is repeated.
        let (runs, _) = finished(&text);
        Ok(Log { path, runs, total, failed: Vec::new(), started: 0 })
    }

    /// Executes a run that is not finished yet.
    pub fn run(&mut self, job: Job, plan: &Plan, dataset: &Dataset) -> Result<Status, Failure> {
        self.started += 1;
        if self.runs.iter().any(|run| run.job == job) {
            return Ok(Status::Finished);
        }
        let Job { arm, seed, factor, .. } = &job;
        let arm = arm.name(plan);
        let factor = if job.tuning { format!(" at {}", short(*factor)) } else { String::new() };
        let name = format!("run {}/{}: seed {seed}, {arm}{factor}", self.started, self.total);
        match job.run(&plan.settings, dataset) {
            Ok(Some(run)) => {
                let on = if job.tuning { "validation" } else { "test" };
                match run.test.score() {
                    Score::Accuracy(v) => eprintln!("{name}: {on} accuracy {} %", Measure::Accuracy.text(v)),
                    Score::Loss(v) => eprintln!("{name}: {on} loss {}", Measure::Loss.text(v)),
                }
                self.append(&run).map_err(Failure::mid_run)?;
                self.runs.push(run);
                Ok(Status::Finished)
            }
            Ok(None) => Ok(Status::Stopped),
            Err(failure) => {
                let text = failure.message().unwrap_or("standard output was closed");
                eprintln!("{name}: failed: {text}");
                if !job.tuning {
                    self.failed.push(format!("{arm}, seed {seed}: {text}"));
                }
                Ok(Status::Failed)
            }
        }
    }

    /// The finished runs without those of `--tune`.
    pub fn result(&self) -> Vec<&Run> {
        self.runs.iter().filter(|run| !run.job.tuning).collect()
    }

    /// The mean score on held-out examples for each factor; None for a factor with unfinished runs.
    pub fn validation(&self, arm: &Arm, plan: &Plan) -> Vec<(f64, Option<Score>)> {
        let mean = |factor: f64| {
            let of = |run: &&Run| run.job.tuning && run.job.arm == *arm && run.job.factor == factor;
            let found: Vec<Score> = self.runs.iter().filter(of).map(|run| run.test.score()).collect();
            let mean = found.iter().map(|score| score.value()).sum::<f64>() / plan.tune_seeds as f64;
            let first = found.first().filter(|_| found.len() as u64 == plan.tune_seeds)?;
            Some(first.with(mean))
        };
        plan.tune.iter().map(|&factor| (factor, mean(factor))).collect()
    }

    /// The factor of the regulariser's weights of an arm: 1, or the best one on held-out examples, of equal ones the first.
    pub fn chosen(&self, arm: &Arm, plan: &Plan) -> Option<f64> {
        if plan.tune.is_empty() || arm.reg == "none" {
            return Some(1.0);
        }
        let known = self.validation(arm, plan).into_iter().filter_map(|(factor, mean)| Some((factor, mean?)));
        known.reduce(|best, next| if next.1.beats(best.1) { next } else { best }).map(|best| best.0)
    }

    fn append(&self, run: &Run) -> Result<(), Failure> {
        let cannot = |e: std::io::Error| Failure::place(&self.path, format_args!("cannot be written: {e}"));
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path).map_err(cannot)?;
        // A line that was cut off gets its line break here.
        let cut = file.metadata().map_err(cannot)?.len() > 0 && !ends_line(&self.path);
        let line = format!("{}{}\n", if cut { "\n" } else { "" }, to_json(run));
        file.write_all(line.as_bytes()).and_then(|()| file.sync_data()).map_err(cannot)
    }
}

/// The runs in the text of [`RUNS`], and the number of damaged lines.
pub fn finished(text: &str) -> (Vec<Run>, usize) {
    let lines: Vec<Option<Run>> = text.lines().map(|line| serde_json::from_str(line).ok()).collect();
    let damaged = lines.iter().filter(|line| line.is_none()).count();
    // Older versions wrote diverged runs, whose last loss is not finite; they count as unfinished.
    let runs = lines.into_iter().flatten().filter(|run| run.test.test_loss.is_finite());
    (runs.collect(), damaged)
}

fn ends_line(path: &Path) -> bool {
    fs::read(path).is_ok_and(|bytes| bytes.ends_with(b"\n"))
}
