//! The tables of a report.

use std::collections::BTreeSet;

use super::collect::{EnergyPoint, EvalPoint, Run};
use super::groups::{Group, Named, by_measure, differing, evaluated_on, text};
use crate::output::Table;
use crate::statistics::{Measure, Paired, count, fixed, summary};

/// A table of results for each measure: accuracies and losses cannot be in one column. The first one is "results", that
/// of real targets beside classes "results-real".
pub fn results(groups: &[Group]) -> Vec<(&'static str, Table)> {
    let tables = by_measure(groups).into_iter().map(|(measure, own)| of_measure(&own, groups, measure));
    ["results", "results-real"].into_iter().zip(tables).collect()
}

/// Mean and standard deviation of the last scores of groups, and their differences to the baseline over the same seeds.
fn of_measure(groups: &[&Group], all: &[Group], measure: Measure) -> Table {
    let several = baselines(all).len() > 1;
    let (on, real) = (evaluated_on(groups.iter().copied()), measure == Measure::Loss);
    let [accuracy, loss, r2] = ["accuracy %", "loss", "R2"].map(|what| format!("{on} {what}"));
    let mut table = Table::new([
        "group",
        "n",
        if real { &loss } else { &accuracy },
        "sd",
        if real { "loss difference to baseline [95 %]" } else { "difference to baseline [95 %]" },
        if real { &r2 } else { &loss },
        "energy",
        "half-space energy",
        "smallest angle",
    ]);
    for group in groups {
        let runs = group.counted();
        let last = |what: &dyn Fn(&EvalPoint) -> Option<f64>| -> Vec<f64> {
            runs.iter().filter_map(|run| run.evaluations.last().and_then(what)).collect()
        };
        let scores = last(&|t| t.score(measure));
        let ends = |of: &dyn Fn(&Run) -> Vec<f64>, decimals: usize| {
            let all: Vec<Vec<f64>> = runs.iter().map(|run| of(run)).collect();
            let mean = |values: Vec<f64>| summary(&values).mean;
            let first: Vec<f64> = all.iter().filter_map(|v| v.first().copied()).collect();
            let last: Vec<f64> = all.iter().filter_map(|v| v.last().copied()).collect();
            match (first.is_empty(), all.iter().all(|v| v.len() == 1)) {
                (true, _) => "-".to_string(),
                (false, true) => fixed(mean(last), decimals),
                (false, false) => {
                    format!("{} -> {}", fixed(mean(first), decimals), fixed(mean(last), decimals))
                }
            }
        };
        let spread = |what: fn(&EnergyPoint) -> f64| {
            move |run: &Run| run.energies.iter().map(what).collect::<Vec<f64>>()
        };
        let angle = |run: &Run| -> Vec<f64> {
            let least = run.layers.iter().map(|(_, layers)| {
                layers.iter().filter_map(|l| l.smallest_angle).fold(f64::INFINITY, f64::min).to_degrees()
            });
            least.filter(|v| v.is_finite()).collect()
        };
        let other = last(&|t| if real { t.r2 } else { Some(t.loss).filter(|loss| loss.is_finite()) });
        let of = summary(&scores);
        let unfinished = if runs.iter().any(|run| run.finished) { "" } else { " (unfinished)" };
        table.row([
            format!("{}{unfinished}", group.name),
            of.n.to_string(),
            if of.n > 0 { measure.text(of.mean) } else { "-".into() },
            if of.n > 1 { measure.text(of.sd) } else { "-".into() },
            difference(group, all, measure, several),
            if other.is_empty() { "-".into() } else { fixed(summary(&other).mean, 4) },
            ends(&spread(|s| s.full), 4),
            ends(&spread(|s| s.half_space), 4),
            ends(&angle, 1),
        ]);
    }
    table
}

/// The difference of scores to the baseline over the seeds that both have, and the number of those; with the name of the
/// baseline if there are several.
fn difference(group: &Group, groups: &[Group], measure: Measure, several: bool) -> String {
    let score = |run: &Run| run.evaluations.last().and_then(|t| t.score(measure));
    let found = || {
        let baseline = group.baseline(groups)?;
        let others = baseline.counted();
        let pair = |run: &&Run| {
            let other = others.iter().find(|other| other.seed() == run.seed())?;
            Some((score(run)?, score(other)?))
        };
        let (with, without): (Vec<f64>, Vec<f64>) = group.counted().iter().filter_map(pair).unzip();
        // Groups without a finished run are not compared.
        let finished = |g: &Group| g.runs.iter().any(|run| run.finished);
        let pairs = Paired::new(&with, &without).filter(|_| finished(group) && finished(baseline))?;
        let to = if several { format!(", to {}", baseline.name) } else { String::new() };
        Some(format!("{}, {}{to}", pairs.student().text(measure), count(with.len(), "pair")))
    };
    found().unwrap_or("-".into())
}

/// The names of the baselines, each once.
pub fn baselines(groups: &[Group]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for baseline in groups.iter().filter_map(|group| group.baseline(groups)) {
        if !names.contains(&baseline.name.as_str()) {
            names.push(&baseline.name);
        }
    }
    names
}

/// The settings in which groups differ, one row per group; None if there are none.
pub fn differences(groups: &[Named]) -> Option<Table> {
    let keys = differing(groups);
    let mut table = Table::new(["group".to_string()].into_iter().chain(keys.iter().cloned()));
    for (name, settings) in groups {
        let values = keys.iter().map(|key| text(settings, key));
        table.row([name.to_string()].into_iter().chain(values));
    }
    (!keys.is_empty()).then_some(table)
}

/// The settings in which groups do not differ, one row per setting.
pub fn shared(groups: &[Named]) -> Table {
    let differing = differing(groups);
    let keys: BTreeSet<&String> = groups.iter().flat_map(|(_, settings)| settings.keys()).collect();
    let mut table = Table::new(["setting", "value"]);
    for key in keys.into_iter().filter(|key| !differing.contains(key)) {
        let of = groups.iter().find(|(_, settings)| settings.contains_key(key));
        table.row([key.clone(), of.map_or("-".into(), |(_, settings)| text(settings, key))]);
    }
    table
}

/// The runs, one row each.
pub fn runs(groups: &[Group]) -> Table {
    let on = evaluated_on(groups);
    let measures: Vec<Measure> = by_measure(groups).into_iter().map(|(measure, _)| measure).collect();
    let of =
        |measure: &Measure| format!("{on} {}", if *measure == Measure::Loss { "R2" } else { "accuracy %" });
    let head = ["run", "group", "seed", "steps", "state"].map(String::from).into_iter();
    let head = head.chain(measures.iter().map(of)).chain([format!("{on} loss")]);
    let machine = ["seconds", "images/s", "peak MiB", "threads", "version", "commit"].map(String::from);
    let mut table = Table::new(head.chain(machine));
    for (group, run) in groups.iter().flat_map(|group| group.runs.iter().map(move |run| (group, run))) {
        let sessions = run.manifest["sessions"].as_array().cloned().unwrap_or_default();
        let session = sessions.last().cloned().unwrap_or_default();
        // A session that resumed a finished run has no numbers.
        let number = |key: &str, digits: usize| {
            let found = sessions.iter().rev().find_map(|s| s[key].as_f64().filter(|v| *v > 0.0));
            found.map_or("-".into(), |v| format!("{v:.digits$}"))
        };
        let last = run.evaluations.last();
        let score = |measure: &Measure| match measure {
            Measure::Accuracy => last.and_then(|t| t.acc).map(|acc| measure.text(acc)),
            Measure::Loss => last.and_then(|t| t.r2).map(|r2| fixed(r2, 4)),
        };
        let peak = sessions.iter().filter_map(|s| s["peak_memory_mib"].as_f64()).fold(0.0, f64::max);
        let seconds: f64 = sessions.iter().filter_map(|s| s["seconds"].as_f64()).sum();
        let word = |key: &str| session[key].as_str().unwrap_or("-").chars().take(12).collect::<String>();
        let row = [
            run.name.clone(),
            group.name.clone(),
            run.seed().to_string(),
            match run.steps.filter(|steps| *steps != run.done()) {
                Some(steps) => format!("{} of {steps}", run.done()),
                None => run.done().to_string(),
            },
            // The notes below the results have the whole message.
            run.state().split(';').next().unwrap_or_default().to_string(),
        ];
        let scores = measures.iter().map(|measure| score(measure).unwrap_or("-".into()));
        let loss = last.map_or("-".into(), |t| fixed(t.loss, 4));
        let machine = [
            if seconds > 0.0 { format!("{seconds:.1}") } else { "-".into() },
            number("images_per_second", 0),
            if peak > 0.0 { format!("{peak:.0}") } else { "-".into() },
            number("threads", 0),
            word("version"),
            word("commit"),
        ];
        table.row(row.into_iter().chain(scores).chain([loss]).chain(machine));
    }
    table
}
