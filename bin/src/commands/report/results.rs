//! What the groups came to, in tables.

use super::collect::{Run, Spread, Tested};
use super::groups::{Group, differing, judge, text};
use crate::output::Table;
use crate::statistics::{Interval, Paired, summary};

/// Whether no run has an accuracy: the targets are real values, and runs are compared by their loss.
fn real(groups: &[Group]) -> bool {
    let mut tested = groups.iter().flat_map(|g| &g.runs).flat_map(|run| &run.tested).peekable();
    tested.peek().is_some() && tested.all(|t| t.acc.is_none())
}

/// What runs are compared by, as tables have it: an accuracy in percent, or the loss of real targets.
fn score(t: &Tested, real: bool) -> Option<f64> {
    if real { Some(t.loss) } else { t.acc.map(|acc| 100.0 * acc) }
}

/// Mean and standard deviation of each group's last evaluations, and differences to the baseline over the same seeds.
pub fn results(groups: &[Group]) -> Table {
    let (on, real) = (judge(groups), real(groups));
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
        let last = |what: &dyn Fn(&Tested) -> Option<f64>| -> Vec<f64> {
            runs.iter().filter_map(|run| run.tested.last().and_then(what)).collect()
        };
        let acc = last(&|t| score(t, real));
        let digits = if real { 4 } else { 2 };
        let ends = |of: &dyn Fn(&Run) -> Vec<f64>, digits: usize| {
            let all: Vec<Vec<f64>> = runs.iter().map(|run| of(run)).collect();
            let mean = |values: Vec<f64>| summary(&values).mean;
            let first: Vec<f64> = all.iter().filter_map(|v| v.first().copied()).collect();
            let last: Vec<f64> = all.iter().filter_map(|v| v.last().copied()).collect();
            match (first.is_empty(), all.iter().all(|v| v.len() == 1)) {
                (true, _) => "-".to_string(),
                (false, true) => format!("{:.digits$}", mean(last)),
                (false, false) => format!("{:.digits$} -> {:.digits$}", mean(first), mean(last)),
            }
        };
        let spread =
            |what: fn(&Spread) -> f64| move |run: &Run| run.spread.iter().map(what).collect::<Vec<f64>>();
        let angle = |run: &Run| -> Vec<f64> {
            let least = run.layers.iter().map(|(_, layers)| {
                layers.iter().filter_map(|l| l.smallest_angle).fold(f64::INFINITY, f64::min).to_degrees()
            });
            least.filter(|v| v.is_finite()).collect()
        };
        let mean = |values: &[f64], digits: usize| match values {
            [] => "-".to_string(),
            _ => format!("{:.digits$}", summary(values).mean),
        };
        let unfinished = if runs.iter().any(|run| run.finished) { "" } else { " (unfinished)" };
        table.row([
            format!("{}{unfinished}", group.name),
            acc.len().to_string(),
            mean(&acc, digits),
            if acc.len() > 1 { format!("{:.digits$}", summary(&acc).sd) } else { "-".into() },
            difference(group, groups, real)
                .map_or("-".into(), |(i, n)| format!("{}, {n} pairs", i.text(1.0, digits))),
            mean(&last(&|t| if real { t.r2 } else { Some(t.loss) }), 4),
            ends(&spread(|s| s.full), 4),
            ends(&spread(|s| s.half_space), 4),
            ends(&angle, 1),
        ]);
    }
    table
}

/// The difference of accuracies, in points, or of losses to the baseline over the seeds that both have, and how many
/// those are.
fn difference(group: &Group, groups: &[Group], real: bool) -> Option<(Interval, usize)> {
    let baseline = baseline(group, groups)?;
    let acc = |run: &Run| run.tested.last().and_then(|t| score(t, real));
    let others = baseline.counted();
    let pair = |run: &&Run| {
        let other = others.iter().find(|other| other.seed() == run.seed())?;
        Some((acc(run)?, acc(other)?))
    };
    let (with, without): (Vec<f64>, Vec<f64>) = group.counted().iter().filter_map(pair).unzip();
    // Unfinished runs are compared with nothing.
    let whole = |g: &Group| g.runs.iter().any(|run| run.finished);
    let pairs = Paired::new(&with, &without).filter(|_| whole(group) && whole(baseline))?;
    Some((pairs.student(), with.len()))
}

/// The group without a regulariser that has the same settings otherwise.
pub fn baseline<'a>(group: &Group, groups: &'a [Group]) -> Option<&'a Group> {
    groups.iter().find(|other| other.plain() && !group.plain() && other.beside() == group.beside())
}

/// The settings in which the groups differ, a row a group; None if there are none.
pub fn differences(groups: &[Group]) -> Option<Table> {
    let keys = differing(groups);
    let mut table = Table::new(["group".to_string()].into_iter().chain(keys.iter().cloned()));
    for group in groups {
        let values = keys.iter().map(|key| text(&group.settings, key));
        table.row([group.name.clone()].into_iter().chain(values));
    }
    (!keys.is_empty()).then_some(table)
}

/// The settings that all groups share, a row a setting.
pub fn shared(groups: &[Group]) -> Table {
    let differing = differing(groups);
    let mut table = Table::new(["setting", "value"]);
    let first = groups.iter().take(1).flat_map(|group| &group.settings);
    for (key, _) in first.filter(|(key, _)| !differing.contains(key)) {
        table.row([key.clone(), text(&groups[0].settings, key)]);
    }
    table
}

/// Every run with what became of it.
pub fn runs(groups: &[Group]) -> Table {
    let (on, real) = (judge(groups), real(groups));
    let [accuracy, loss, r2] = ["accuracy %", "loss", "R2"].map(|what| format!("{on} {what}"));
    let first = if real { &r2 } else { &accuracy };
    let mut table = Table::new([
        "run", "group", "seed", "steps", "state", first, &loss, "seconds", "images/s", "peak MiB", "threads",
        "version", "commit",
    ]);
    for (group, run) in groups.iter().flat_map(|group| group.runs.iter().map(move |run| (group, run))) {
        let sessions = run.manifest["sessions"].as_array().cloned().unwrap_or_default();
        let last = sessions.last().cloned().unwrap_or_default();
        // A session that only looked at a finished run has no number of its own.
        let number = |key: &str, digits: usize| {
            let found = sessions.iter().rev().find_map(|s| s[key].as_f64().filter(|v| *v > 0.0));
            found.map_or("-".into(), |v| format!("{v:.digits$}"))
        };
        let peak = sessions.iter().filter_map(|s| s["peak_memory_mib"].as_f64()).fold(0.0, f64::max);
        let seconds: f64 = sessions.iter().filter_map(|s| s["seconds"].as_f64()).sum();
        let word = |key: &str| last[key].as_str().unwrap_or("-").chars().take(12).collect::<String>();
        table.row([
            run.name.clone(),
            group.name.clone(),
            run.seed().to_string(),
            match run.steps.filter(|steps| *steps != run.done()) {
                Some(steps) => format!("{} of {steps}", run.done()),
                None => run.done().to_string(),
            },
            // All of a failure is said beside the results.
            run.state().split(';').next().unwrap_or_default().to_string(),
            match run.tested.last() {
                Some(Tested { r2: Some(r2), .. }) if real => format!("{r2:.4}"),
                Some(Tested { acc: Some(acc), .. }) => format!("{:.2}", 100.0 * acc),
                _ => "-".into(),
            },
            run.tested.last().map_or("-".into(), |t| format!("{:.4}", t.loss)),
            if seconds > 0.0 { format!("{seconds:.1}") } else { "-".into() },
            number("images_per_second", 0),
            if peak > 0.0 { format!("{peak:.0}") } else { "-".into() },
            number("threads", 0),
            word("version"),
            word("commit"),
        ]);
    }
    table
}
