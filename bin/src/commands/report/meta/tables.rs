//! The tables of meta-learning runs.

use super::runs::MetaGroup;
use crate::commands::report::collect::state;
use crate::commands::report::groups::{Named, text};
use crate::commands::report::results::{differences, shared};
use crate::output::Table;
use crate::statistics::{Interval, Measure, Paired};

/// The tables: results for each measure, "meta" with accuracies and "meta-real" with losses, runs, and settings.
pub fn tables(groups: &[MetaGroup]) -> Vec<(&'static str, Table)> {
    let of = |measure: Measure| {
        let own: Vec<&MetaGroup> = groups.iter().filter(|group| group.measure() == measure).collect();
        (!own.is_empty()).then(|| results(&own, measure))
    };
    let mut tables: Vec<(&str, Table)> = Vec::new();
    tables.extend(of(Measure::Accuracy).map(|table| ("meta", table)));
    tables.extend(of(Measure::Loss).map(|table| ("meta-real", table)));
    if !groups.is_empty() {
        let named: Vec<Named> = groups.iter().map(|group| (&group.name[..], &group.settings)).collect();
        tables.push(("meta-runs", runs(groups)));
        tables.extend(differences(&named).map(|table| ("meta-differences", table)));
        tables.push(("meta-settings", shared(&named)));
    }
    tables
}

/// The results of the groups of a measure, and their differences to the group without noise over the same seeds.
fn results(groups: &[&MetaGroup], measure: Measure) -> Table {
    let score = if measure == Measure::Loss { "test loss" } else { "test accuracy %" };
    let mut table = Table::new([
        "group".into(),
        "task".into(),
        "learner".into(),
        "noise".into(),
        "n".into(),
        format!("{score} [95 % over seeds]"),
        "before adaptation".into(),
        "difference to no noise [95 %]".to_string(),
    ]);
    for group in groups {
        let scores = group.scores();
        let before: Vec<f64> = group.runs.iter().filter_map(|run| run.result["before"].as_f64()).collect();
        let values: Vec<f64> = scores.values().copied().collect();
        let mean = |values: &[f64], text: &dyn Fn(Interval) -> String| match values {
            [] => "-".to_string(),
            _ => text(Interval::of(values)),
        };
        let baseline = groups.iter().find(|other| {
            other.is_plain() && !group.is_plain() && other.other_settings() == group.other_settings()
        });
        let difference = baseline.and_then(|baseline| {
            let others = baseline.scores();
            let pair = |(seed, score): (&u64, &f64)| Some((*score, *others.get(seed)?));
            let (with, without): (Vec<f64>, Vec<f64>) = scores.iter().filter_map(pair).unzip();
            let interval = Paired::new(&with, &without)?.student();
            Some(format!("{}, {} pairs", interval.text(measure), with.len()))
        });
        table.row([
            group.name.clone(),
            text(&group.settings, "task"),
            text(&group.settings, "learner"),
            text(&group.settings, "noise"),
            values.len().to_string(),
            mean(&values, &|i| i.unsigned(measure)),
            mean(&before, &|i| measure.text(i.mean)),
            difference.unwrap_or("-".into()),
        ]);
    }
    table
}

/// The runs, one row each.
fn runs(groups: &[MetaGroup]) -> Table {
    let mut table = Table::new([
        "run",
        "group",
        "seed",
        "meta-steps",
        "state",
        "test",
        "95 % over tasks",
        "tasks",
        "seconds",
        "peak MiB",
        "threads",
        "commit",
    ]);
    for (group, run) in groups.iter().flat_map(|group| group.runs.iter().map(move |run| (group, run))) {
        let sessions = run.manifest["sessions"].as_array().cloned().unwrap_or_default();
        let numbers = |key: &str| sessions.iter().filter_map(|s| s[key].as_f64()).collect::<Vec<f64>>();
        let shown = |value: f64, digits: usize| {
            if value >= 0.05 { format!("{value:.digits$}") } else { "-".to_string() }
        };
        let steps = run.config.sizes().meta_steps;
        let of = |key: &str| run.result[key].as_f64();
        let score = |key: &str| of(key).map_or("-".to_string(), |value| run.measure().text(value));
        let commit = sessions.last().and_then(|s| s["commit"].as_str()).unwrap_or("-");
        table.row([
            run.name.clone(),
            group.name.clone(),
            run.config.seed.to_string(),
            if run.done() == steps { steps.to_string() } else { format!("{} of {steps}", run.done()) },
            state(run.finished, &run.manifest).split(';').next().unwrap_or_default().to_string(),
            score("mean"),
            score("ci95"),
            of("tasks").map_or("-".into(), |n| n.to_string()),
            shown(numbers("seconds").iter().sum(), 1),
            shown(numbers("peak_memory_mib").into_iter().fold(0.0, f64::max), 0),
            shown(numbers("threads").last().copied().unwrap_or(0.0), 0),
            commit.chars().take(12).collect(),
        ]);
    }
    table
}
