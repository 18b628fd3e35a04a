//! The table of a sweep: rows, statistics, and the choice of the best points.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;
use toml::Table as Settings;

use super::file::{Select, SweepFile};
use super::plan::Point;
use super::state::Scores;
use crate::config;
use crate::failure::Failure;
use crate::output::Table;
use crate::statistics::{Interval, Measure, Paired, Summary, holm, summary};

/// The scores of the finished runs of each point, by seed.
pub type PointScores = Vec<BTreeMap<u64, Scores>>;

/// A chosen point with its test score by seed.
pub type TestScores = (usize, BTreeMap<u64, f64>);

/// A row: the scores of a point over its seeds, and their differences to the baseline.
#[derive(Serialize)]
pub struct Row {
    pub label: String,
    pub best: Option<Summary>,
    pub last: Summary,
    /// Mean difference with a 95 % bootstrap interval.
    pub difference: Option<Interval>,
    /// Student's paired t test, if the differences vary.
    pub p: Option<f64>,
    pub p_holm: Option<f64>,
}

/// The partner of each point, with which it is compared: the point that has the baseline's settings and is otherwise the
/// same, or the only one that has them. A baseline has none.
pub fn partners(file: &SweepFile, points: &[Point]) -> Result<Vec<Option<usize>>, Failure> {
    let Some(baseline) = &file.baseline else { return Ok(vec![None; points.len()]) };
    let mut all = Vec::new();
    for (i, point) in points.iter().enumerate() {
        if has(file, point, baseline)? {
            all.push(i);
        }
    }
    if all.is_empty() {
        return Err(Failure::usage("baseline: no point of the sweep has these settings"));
    }
    let partner = |point: &Point| {
        let with = point.with(file, baseline).ok();
        let same = with.and_then(|with| all.iter().find(|&&i| points[i].is(&with)).copied());
        same.or(if all.len() == 1 { Some(all[0]) } else { None })
    };
    Ok((0..points.len()).map(|i| if all.contains(&i) { None } else { partner(&points[i]) }).collect())
}

/// Whether a point has these settings: setting them does not change it.
fn has(file: &SweepFile, point: &Point, settings: &Settings) -> Result<bool, Failure> {
    Ok(point.with(file, settings)?.is(point))
}

/// The measure of all finished runs. Settings that do not suit each other are found before the first run; the folder of
/// an older sweep may have such runs all the same.
pub fn measure(points: &[Point], scores: &PointScores) -> Result<Measure, Failure> {
    let first = |measure: Measure| {
        let has = |scores: &BTreeMap<u64, Scores>| scores.values().any(|scores| scores.measure == measure);
        scores.iter().position(has).map(|i| &points[i])
    };
    match (first(Measure::Accuracy), first(Measure::Loss)) {
        (Some(classes), Some(real)) => Err(incomparable(classes, real)),
        (None, Some(_)) => Ok(Measure::Loss),
        _ => Ok(Measure::Accuracy),
    }
}

/// The error for a sweep over classes and real targets. A sweep compares all its points and chooses the best, for which
/// accuracies and losses have no common scale.
pub fn incomparable(classes: &Point, real: &Point) -> Failure {
    Failure::usage(format_args!(
        "the points {} and {} cannot be compared: the targets of the first are classes, with an accuracy, those of the \
         second real values, with a loss; write a sweep for each",
        classes.label(),
        real.label()
    ))
}

/// The row of each point that has a finished run.
pub fn rows(file: &SweepFile, points: &[Point], scores: &PointScores) -> Result<Vec<Row>, Failure> {
    let partners = partners(file, points)?;
    let by = |i: usize| -> BTreeMap<u64, f64> {
        scores[i].iter().map(|(&seed, scores)| (seed, scores.selected(file.select))).collect()
    };
    let row = |i: usize| {
        let of = |what: fn(&Scores) -> f64| summary(&scores[i].values().map(what).collect::<Vec<_>>());
        let (difference, p) = compared(&by(i), partners[i].map(by).as_ref());
        let (best, last) = (Some(of(|s| s.best)), of(|s| s.last));
        Row { label: points[i].label(), best, last, difference, p, p_holm: None }
    };
    let rows = (0..points.len()).filter(|&i| !scores[i].is_empty()).map(row).collect();
    Ok(corrected(rows))
}

/// The rows of chosen points on the test images, the baseline first.
pub fn test_rows(chosen: &[TestScores], points: &[Point], has_baseline: bool) -> Vec<Row> {
    let first = chosen.first().filter(|_| has_baseline).map(|(_, values)| values);
    let row = |(rank, (i, values)): (usize, &TestScores)| {
        let (difference, p) = compared(values, first.filter(|_| rank > 0));
        let last = summary(&values.values().copied().collect::<Vec<_>>());
        Row { label: points[*i].label(), best: None, last, difference, p, p_holm: None }
    };
    corrected(chosen.iter().enumerate().map(row).collect())
}

fn compared(own: &BTreeMap<u64, f64>, other: Option<&BTreeMap<u64, f64>>) -> (Option<Interval>, Option<f64>) {
    let Some(other) = other else { return (None, None) };
    let (a, b): (Vec<f64>, Vec<f64>) =
        own.iter().filter_map(|(seed, value)| Some((*value, *other.get(seed)?))).unzip();
    let pairs = Paired::new(&a, &b);
    (pairs.as_ref().map(Paired::bootstrap), pairs.and_then(|pairs| pairs.p()))
}

fn corrected(mut rows: Vec<Row>) -> Vec<Row> {
    let all = holm(&rows.iter().map(|row| row.p).collect::<Vec<_>>());
    rows.iter_mut().zip(all).for_each(|(row, p)| row.p_holm = p);
    rows
}

/// The mean score by which points are chosen, larger is better; None unless every seed has a finished run.
pub fn score(file: &SweepFile, scores: &BTreeMap<u64, Scores>) -> Option<f64> {
    let seeds = file.seed_list().len();
    let sum = |select: Select| scores.values().map(|scores| scores.rank(select)).sum::<f64>();
    (scores.len() == seeds).then(|| sum(file.select) / seeds as f64)
}

/// The points that are evaluated on the test images: the best one for each value of the baseline's settings, the baseline
/// first; without a baseline the best of all. Of equal ones the first.
pub fn chosen(file: &SweepFile, points: &[Point], scores: &PointScores) -> Result<Vec<usize>, Failure> {
    let none = Settings::new();
    let baseline = file.baseline.as_ref().unwrap_or(&none);
    let group = |point: &Point| -> Result<Vec<Option<toml::Value>>, Failure> {
        let all = config::table(&point.config)?;
        Ok(baseline.keys().map(|key| all.get(key).cloned()).collect())
    };
    let mut best: Vec<(Vec<Option<toml::Value>>, usize, f64)> = Vec::new();
    for (i, point) in points.iter().enumerate() {
        let Some(score) = score(file, &scores[i]) else { continue };
        let own = group(point)?;
        match best.iter_mut().find(|(g, ..)| *g == own) {
            Some((_, at, known)) if score > *known => (*at, *known) = (i, score),
            Some(_) => {}
            None => best.push((own, i, score)),
        }
    }
    let partners = partners(file, points)?;
    best.sort_by_key(|(_, i, _)| file.baseline.is_some() && partners[*i].is_some());
    Ok(best.into_iter().map(|(_, i, _)| i).collect())
}

/// Rows as a table; `on` is the split that the scores are of.
pub fn table(rows: &[Row], on: &str, select: Select, measure: Measure) -> Table {
    let best = rows.iter().any(|row| row.best.is_some());
    let unit = if measure == Measure::Loss { "loss" } else { "%" };
    let last = format!("{on} {unit}, {}", if best { "last epoch" } else { "last weights" });
    let counts = if select == Select::Best && best { "best" } else { "last" };
    let difference = format!("difference of {counts} [95 %]");
    let mut head = vec!["setting", "n", &last, "sd"];
    if best {
        head.extend(["best epoch", "sd"]);
    }
    head.extend([difference.as_str(), "p", "p (Holm)"]);
    let mut table = Table::new(head);
    let sd = |s: &Summary| if s.n > 1 { measure.text(s.sd) } else { "-".into() };
    for row in rows {
        let mut cells =
            vec![row.label.clone(), row.last.n.to_string(), measure.text(row.last.mean), sd(&row.last)];
        cells.extend(row.best.iter().flat_map(|best| [measure.text(best.mean), sd(best)]));
        cells.push(row.difference.map_or("-".into(), |difference| difference.text(measure)));
        cells.extend([row.p, row.p_holm].map(|p| p.map_or("-".into(), probability)));
        table.row(cells);
    }
    table
}

/// A probability with four decimals.
fn probability(p: f64) -> String {
    if p < 5e-5 { "< 0.0001".into() } else { format!("{p:.4}") }
}

/// Rows as comma-separated values, without the header.
pub fn csv(rows: &[Row], on: &str) -> String {
    let number = |v: Option<f64>| v.map_or(String::new(), |v| v.to_string());
    let line = |row: &Row| {
        let Row { label, best, last, difference, p, p_holm } = row;
        let values = [
            Some(last.mean),
            Some(last.sd),
            best.map(|b| b.mean),
            best.map(|b| b.sd),
            difference.map(|d| d.mean),
            difference.and_then(|d| d.low),
            difference.and_then(|d| d.high),
            *p,
            *p_holm,
        ];
        format!("{on},\"{}\",{},{}\n", label.replace('"', "\"\""), last.n, values.map(number).join(","))
    };
    rows.iter().map(line).collect()
}

/// The header of [`csv`].
pub const CSV: &str = "split,setting,n,last,last_sd,best,best_sd,difference,low,high,p,p_holm\n";

/// The result as JSON.
pub fn json(
    on: &str,
    rows: &[Row],
    test: &[Row],
    unfinished: &[String],
    select: Select,
    measure: Measure,
) -> serde_json::Value {
    let select = if select == Select::Best { "best" } else { "last" };
    let measure = if measure == Measure::Loss { "loss" } else { "accuracy" };
    json!({ "judged_on": on, "measure": measure, "select": select, "rows": rows, "test": test, "unfinished": unfinished })
}
