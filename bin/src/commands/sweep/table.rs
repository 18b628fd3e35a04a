//! What a sweep found: rows, statistics, and what is chosen.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;
use toml::Table as Settings;

use super::file::{Select, SweepFile};
use super::plan::Point;
use super::state::Judged;
use crate::config;
use crate::failure::Failure;
use crate::output::Table;
use crate::statistics::{Interval, Paired, Summary, holm, summary};

/// Accuracies of the runs that are finished: of a point, by seed.
pub type Found = Vec<BTreeMap<u64, Judged>>;

/// A chosen point with its accuracy, or loss of real targets, by seed.
pub type Tested = (usize, BTreeMap<u64, f64>);

/// A row: accuracies, or losses of real targets, over seeds, and how they compare with the baseline of the same seeds.
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

/// What each point is compared with: the one with the baseline's settings that is otherwise the same, or else the only
/// one with those settings. None for a baseline.
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
        let same = with.and_then(|with| all.iter().find(|&&i| points[i].config == with.config).copied());
        same.or(if all.len() == 1 { Some(all[0]) } else { None })
    };
    Ok((0..points.len()).map(|i| if all.contains(&i) { None } else { partner(&points[i]) }).collect())
}

/// Whether a point has these settings: they change nothing about it.
fn has(file: &SweepFile, point: &Point, settings: &Settings) -> Result<bool, Failure> {
    Ok(point.with(file, settings)?.config == point.config)
}

/// The row of each point that has a finished run.
pub fn rows(file: &SweepFile, points: &[Point], found: &Found) -> Result<Vec<Row>, Failure> {
    let partners = partners(file, points)?;
    let by = |i: usize| -> BTreeMap<u64, f64> {
        found[i].iter().map(|(&seed, judged)| (seed, judged.by(file.select))).collect()
    };
    let row = |i: usize| {
        let of = |what: fn(&Judged) -> f64| summary(&found[i].values().map(what).collect::<Vec<_>>());
        let (difference, p) = compared(&by(i), partners[i].map(by).as_ref());
        let (best, last) = (Some(of(|j| j.best)), of(|j| j.last));
        Row { label: points[i].label(), best, last, difference, p, p_holm: None }
    };
    let rows = (0..points.len()).filter(|&i| !found[i].is_empty()).map(row).collect();
    Ok(corrected(rows))
}

/// The rows of chosen points on the test images, the baseline first.
pub fn test_rows(chosen: &[Tested], points: &[Point], has_baseline: bool) -> Vec<Row> {
    let first = chosen.first().filter(|_| has_baseline).map(|(_, values)| values);
    let row = |(rank, (i, values)): (usize, &Tested)| {
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

/// The mean by which points are chosen, larger being better, of those with a run for every seed.
pub fn score(file: &SweepFile, found: &BTreeMap<u64, Judged>) -> Option<f64> {
    let seeds = file.seed_list().len();
    let sum = |select: Select| found.values().map(|judged| judged.rank(select)).sum::<f64>();
    (found.len() == seeds).then(|| sum(file.select) / seeds as f64)
}

/// The points that meet the test images: the best of each value of the baseline's settings, the baseline's own first;
/// without a baseline the best of all. The first among equals.
pub fn chosen(file: &SweepFile, points: &[Point], found: &Found) -> Result<Vec<usize>, Failure> {
    let none = Settings::new();
    let baseline = file.baseline.as_ref().unwrap_or(&none);
    let group = |point: &Point| -> Result<Vec<Option<toml::Value>>, Failure> {
        let all = config::table(&point.config)?;
        Ok(baseline.keys().map(|key| all.get(key).cloned()).collect())
    };
    let mut best: Vec<(Vec<Option<toml::Value>>, usize, f64)> = Vec::new();
    for (i, point) in points.iter().enumerate() {
        let Some(score) = score(file, &found[i]) else { continue };
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

/// Rows as a table; `on` is the split that they are about.
/// `real` targets have losses.
pub fn table(rows: &[Row], on: &str, select: Select, real: bool) -> Table {
    let best = rows.iter().any(|row| row.best.is_some());
    let unit = if real { "loss" } else { "%" };
    let last = format!("{on} {unit}, {}", if best { "last epoch" } else { "last weights" });
    let counts = if select == Select::Best && best { "best" } else { "last" };
    let difference = format!("difference of {counts} [95 %]");
    let mut head = vec!["setting", "n", &last, "sd"];
    if best {
        head.extend(["best epoch", "sd"]);
    }
    head.extend([difference.as_str(), "p", "p (Holm)"]);
    let mut table = Table::new(head);
    let (scale, digits) = if real { (1.0, 6) } else { (100.0, 2) };
    let percent = |v: f64| format!("{:.digits$}", scale * v);
    let sd = |s: &Summary| if s.n > 1 { percent(s.sd) } else { "-".into() };
    for row in rows {
        let mut cells =
            vec![row.label.clone(), row.last.n.to_string(), percent(row.last.mean), sd(&row.last)];
        cells.extend(row.best.iter().flat_map(|best| [percent(best.mean), sd(best)]));
        cells.push(row.difference.map_or("-".into(), |difference| difference.text(scale, digits)));
        cells.extend([row.p, row.p_holm].map(|p| p.map_or("-".into(), |p| format!("{p:.4}"))));
        table.row(cells);
    }
    table
}

/// Rows as comma-separated values, a line each.
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

/// The head of [`csv`].
pub const CSV: &str = "split,setting,n,last,last_sd,best,best_sd,difference,low,high,p,p_holm\n";

/// The result as JSON, the rows of both splits apart.
pub fn json(
    on: &str,
    rows: &[Row],
    test: &[Row],
    unfinished: &[String],
    select: Select,
    real: bool,
) -> serde_json::Value {
    let select = if select == Select::Best { "best" } else { "last" };
    let measure = if real { "loss" } else { "accuracy" };
    json!({ "judged_on": on, "measure": measure, "select": select, "rows": rows, "test": test, "unfinished": unfinished })
}
