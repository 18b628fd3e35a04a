//! The result of a sweep: its tables, and the evaluation of the chosen points on the test images.

use std::fs;

use nn::write_atomic;
use serde_json::Value;

use super::plan::Job;
use super::pool::{self, Status, Task};
use super::table::{self, TestScores};
use super::{LastRound, Runner};
use crate::failure::Failure;
use crate::output;

impl Runner<'_> {
    /// Writes and prints the result.
    pub fn write_results(&mut self, last: LastRound) -> Result<(), Failure> {
        let held_out = self.file.hold_out() > 0.0;
        let on = if held_out { "validation" } else { "test" };
        let select = self.file.select;
        let measure = table::measure(&self.points, &last.scores)?;
        let rows = table::rows(&self.file, &self.points, &last.scores)?;
        let mut tables = vec![table::table(&rows, on, select, measure)];
        let mut test = Vec::new();
        if held_out && last.complete {
            let chosen = table::chosen(&self.file, &self.points, &last.scores)?;
            match self.test(&chosen, &last.jobs) {
                Ok(scores) => {
                    test = table::test_rows(&scores, &self.points, self.file.baseline.is_some());
                    tables.push(table::table(&test, "test", select, measure));
                }
                // The other table is written all the same.
                Err(failure) => self.unfinished.extend(failure.message().map(String::from)),
            }
        }
        let unfinished = self.unfinished.iter().map(|line| format!("- {line}\n")).collect::<String>();
        let unfinished =
            if unfinished.is_empty() { unfinished } else { format!("\nNot finished:\n\n{unfinished}") };
        let markdown: Vec<String> = tables.iter().map(output::Table::markdown).collect();
        let markdown = format!("# Sweep\n\n{}\n{unfinished}", markdown.join("\n\n"));
        let csv = table::CSV.to_string() + &table::csv(&rows, on) + &table::csv(&test, "test");
        let json = table::json(on, &rows, &test, &self.unfinished, select, measure);
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
                let (n, runs) = (all.len(), last.jobs.len());
                Err(Failure::unfinished(
                    match last.complete && last.scores.iter().map(|s| s.len()).sum::<usize>() == runs {
                        true => "the evaluation on the test images is not finished; the same command resumes"
                            .into(),
                        false => format!(
                            "{n} of {} not finished",
                            if runs == 1 { "1 run is".into() } else { format!("{runs} runs are") }
                        ),
                    },
                ))
            }
        }
    }

    /// The test scores of the chosen points by seed. Each run is evaluated once, and its result is kept in a file.
    fn test(&self, chosen: &[usize], jobs: &[Job]) -> Result<Vec<TestScores>, Failure> {
        let of = |point: usize| jobs.iter().filter(move |job| job.point == point);
        let known = |job: &Job| -> Option<f64> {
            let text = fs::read_to_string(self.place.test(job)).ok()?;
            let result = serde_json::from_str::<Value>(&text).ok()?;
            result["accuracy"].as_f64().or(result["loss"].as_f64())
        };
        let left: Vec<&Job> = chosen.iter().flat_map(|&p| of(p)).filter(|job| known(job).is_none()).collect();
        let task = |job: &&Job| {
            let mut arguments =
                vec!["eval".to_string(), self.place.run(job).display().to_string(), "--json".into()];
            arguments.extend(self.options.arguments());
            let log = self.place.test(job).with_extension("log");
            Task { name: job.name.clone(), arguments, output: Some(self.place.test(job)), log }
        };
        let tasks: Vec<Task> = left.iter().map(task).collect();
        for (task, status) in tasks.iter().zip(pool::run(&tasks, &self.shares, |_, _| {})) {
            match status {
                Status::Done => drop(fs::remove_file(&task.log)),
                Status::Failed(reason) => {
                    return Err(Failure::unfinished(format_args!("{}: no test result: {reason}", task.name)));
                }
                Status::Stopped => return Err(Failure::unfinished("stopped; the same command resumes")),
            }
        }
        let values = |point: usize| {
            let value = |job: &Job| {
                let missing = || Failure::place(&self.place.test(job), "has neither accuracy nor loss");
                Ok((job.seed, known(job).ok_or_else(missing)?))
            };
            Ok((point, of(point).map(value).collect::<Result<_, Failure>>()?))
        };
        chosen.iter().map(|&point| values(point)).collect()
    }
}
