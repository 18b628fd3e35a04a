//! The result of a sweep: its tables, and the test accuracies, or losses of real targets, of what was chosen.

use std::fs;

use nn::write_atomic;
use serde_json::Value;

use super::plan::Job;
use super::pool::{self, Fate, Task};
use super::table::{self, Tested};
use super::{Last, Under};
use crate::failure::Failure;
use crate::output;

impl Under<'_> {
    /// Writes and prints the result.
    pub fn told(&mut self, last: Last) -> Result<(), Failure> {
        let held_out = self.file.hold_out() > 0.0;
        let on = if held_out { "validation" } else { "test" };
        let select = self.file.select;
        let rows = table::rows(&self.file, &self.points, &last.found)?;
        let real = last.found.iter().flat_map(|found| found.values()).any(|judged| judged.real);
        let mut tables = vec![table::table(&rows, on, select, real)];
        let mut test = Vec::new();
        if held_out && last.all {
            let chosen = table::chosen(&self.file, &self.points, &last.found)?;
            match self.tested(&chosen, &last.jobs) {
                Ok(tested) => {
                    test = table::test_rows(&tested, &self.points, self.file.baseline.is_some());
                    tables.push(table::table(&test, "test", select, real));
                }
                // What is known of the rest is told all the same.
                Err(failure) => self.unfinished.extend(failure.message().map(String::from)),
            }
        }
        let unfinished = self.unfinished.iter().map(|line| format!("- {line}\n")).collect::<String>();
        let unfinished =
            if unfinished.is_empty() { unfinished } else { format!("\nNot finished:\n\n{unfinished}") };
        let markdown: Vec<String> = tables.iter().map(output::Table::markdown).collect();
        let markdown = format!("# Sweep\n\n{}\n{unfinished}", markdown.join("\n\n"));
        let csv = table::CSV.to_string() + &table::csv(&rows, on) + &table::csv(&test, "test");
        let json = table::json(on, &rows, &test, &self.unfinished, select, real);
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
                    match last.all && last.found.iter().map(|f| f.len()).sum::<usize>() == runs {
                        true => "the test images are left to evaluate; the same command goes on".to_string(),
                        false => format!("{n} of {runs} runs are not finished"),
                    },
                ))
            }
        }
    }

    /// The test accuracies, or losses of real targets, of the chosen points by seed. A run's weights meet the test images once.
    fn tested(&self, chosen: &[usize], jobs: &[Job]) -> Result<Vec<Tested>, Failure> {
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
            arguments.extend(self.options.more());
            let log = self.place.test(job).with_extension("log");
            Task { name: job.name.clone(), arguments, output: Some(self.place.test(job)), log }
        };
        let tasks: Vec<Task> = left.iter().map(task).collect();
        for (task, fate) in tasks.iter().zip(pool::run(&tasks, &self.shares, |_, _| {})) {
            match fate {
                Fate::Done => drop(fs::remove_file(&task.log)),
                Fate::Failed(reason) => {
                    return Err(Failure::unfinished(format_args!("{}: no test result: {reason}", task.name)));
                }
                Fate::Stopped => return Err(Failure::unfinished("stopped; the same command goes on")),
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
