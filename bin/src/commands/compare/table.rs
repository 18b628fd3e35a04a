//! The result of a comparison: description, tables and curves.

use comhe::short;
use datasets::Dataset;
use serde::Serialize;

use super::arm::Arm;
use super::log::Log;
use super::plan::{EPOCHS, Plan};
use super::run::{Energies, Job, Point, Run};
use crate::commands::report::settings::method_eps;
use crate::config::kinds::{self, Class};
use crate::config::{self, Choice, Config};
use crate::failure::Failure;
use crate::figures::Group;
use crate::output::Table;
use crate::run_folder::Score;
use crate::setup;
use crate::statistics::{Interval, Measure, Paired, Summary, count, median, summary};

/// The row of an arm.
#[derive(Serialize)]
pub struct Row {
    /// The parts in which it differs from others.
    name: String,
    #[serde(flatten)]
    arm: Arm,
    reg_weight: f64,
    reg_head_weight: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    test_acc: Option<Summary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    test_loss: Option<Summary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    test_r2: Option<Summary>,
    /// The paired difference of scores to the baseline.
    difference: Option<Interval>,
    energy_before: Energies,
    energy_after: Energies,
    step_ms: f64,
}

impl Row {
    /// The row of an arm, which must have a finished run.
    pub fn new(arm: &Arm, plan: &Plan, runs: &[&Run]) -> Result<Row, Failure> {
        let own: Vec<&Run> = runs.iter().copied().filter(|run| run.job.arm == *arm).collect();
        let value = |run: &Run| run.test.score().value();
        let real = own.iter().any(|run| run.test.test_acc.is_none());
        let r2: Vec<f64> = own.iter().filter_map(|run| run.test.test_r2).collect();
        let of = |what: fn(&Run) -> f64| -> Vec<f64> { own.iter().map(|run| what(run)).collect() };
        let mean = |what| summary(&of(what)).mean;
        let baseline = &plan.arms()[0];
        let partner =
            |run: &Run| runs.iter().find(|r| r.job.arm == *baseline && r.job.seed == run.job.seed).copied();
        let (with, without): (Vec<f64>, Vec<f64>) =
            own.iter().filter_map(|run| Some((value(run), value(partner(run)?)))).unzip();
        let pairs = Paired::new(&with, &without);
        let factor = own.first().map_or(1.0, |run| run.job.factor);
        let job = Job { arm: arm.clone(), seed: 0, factor, tuning: false };
        let config = job.config(&plan.settings)?;
        let weighted = |weight: f64| if arm.reg == "none" { 0.0 } else { weight };
        Ok(Row {
            name: arm.name(plan),
            arm: arm.clone(),
            reg_weight: weighted(config.reg_weight),
            reg_head_weight: weighted(config.reg_head_weight.unwrap_or(0.0)),
            test_acc: (!real).then(|| summary(&of(value))),
            test_loss: real.then(|| summary(&of(value))),
            test_r2: real.then(|| summary(&r2)),
            difference: pairs.filter(|_| arm != baseline).map(|pairs| pairs.student()),
            energy_before: Energies {
                full: mean(|run| run.energy_before.full),
                half_space: mean(|run| run.energy_before.half_space),
            },
            energy_after: Energies {
                full: mean(|run| run.energy_after.full),
                half_space: mean(|run| run.energy_after.half_space),
            },
            step_ms: median(&of(|run| run.step_ms)),
        })
    }
}

/// The curves of the runs of an arm, under its name.
pub fn group<'a>(arm: &Arm, name: &'a str, runs: &[&Run]) -> Group<'a> {
    let curves = |what: fn(&Point) -> f64| {
        let readings = |run: &&Run| run.curve.iter().map(|p| (p.step as f64, what(p))).collect();
        runs.iter().filter(|run| run.job.arm == *arm).map(readings).collect()
    };
    Group {
        name,
        full: curves(|p| p.energy.full),
        half_space: curves(|p| p.energy.half_space),
        test: curves(|p| p.test.score().value()),
    }
}

/// The description of a comparison, one sentence or two per line.
pub fn about(plan: &Plan, dataset: &Dataset) -> Result<Vec<String>, Failure> {
    let config = &plan.settings;
    let options = setup::options(config)?;
    let noise = match config.label_noise {
        0.0 => "no label noise".to_string(),
        share => format!("{} % label noise in training (test labels are clean)", rounded(100.0 * share)),
    };
    let length = match (config.steps, config.epochs) {
        (Some(steps), _) => count(steps as usize, "step"),
        (_, epochs) => count(epochs.unwrap_or(EPOCHS) as usize, "epoch"),
    };
    let (train, test) = (dataset.train.len(), count(dataset.test.len(), "test example"));
    let mut lines = vec![
        format!(
            "{} of width {} on {}: {train} training and {test}, {noise}.",
            config.model, config.width, dataset.name
        ),
        format!(
            "{length} of batches of {}, {}{} at {} ({}), weight decay {}, {} from {} on.",
            config.batch_size,
            config.optimizer,
            method(config),
            short(config.rate()),
            format!("{:?}", config.schedule).to_lowercase(),
            short(config.weight_decay),
            count(plan.seeds as usize, "seed"),
            config.seed
        ),
    ];
    let (peers, energies): (Vec<&str>, Vec<&str>) = plan
        .regs
        .iter()
        .map(String::as_str)
        .filter(|reg| *reg != "none")
        .partition(|reg| comhe::peers::knows(reg));
    let tuned = if plan.tune.is_empty() { "" } else { ", times a factor" };
    if !energies.is_empty() {
        let rp = match energies.contains(&"rp") {
            true => format!("; rp has k = {}, C = {}", options.projections.k, config.reg_c),
            false => String::new(),
        };
        lines.push(format!(
            "Energies (s = {}) are weighted {} in hidden layers and {} in the classifier{tuned}{rp}.",
            short(config.reg_s),
            short(config.reg_weight),
            short(options.classifier_weight(energies[0]))
        ));
    }
    if !peers.is_empty() {
        lines.push(format!(
            "Other penalties ({}) are weighted {} in hidden layers and {} in the classifier{tuned}.",
            peers.join(", "),
            short(config.reg_weight),
            short(options.classifier_weight(peers[0]))
        ));
    }
    if !plan.tune.is_empty() {
        lines.push(format!(
            "The factor is the one with the best mean {} on held-out examples over {}, each with another {} % of the \
             training examples held out and another seed than the result.",
            if dataset.is_regression() { "loss" } else { "accuracy" },
            count(plan.tune_seeds as usize, "run"),
            rounded(100.0 * plan.validation)
        ));
    }
    let others = others(config, &plan.regs)?;
    if !others.is_empty() {
        lines.push(format!("Other settings: {}.", others.join(", ")));
    }
    lines.extend(dataset.notes.iter().map(|note| format!("Data: {note}.")));
    Ok(lines)
}

/// The settings that [`about`] names in sentences of their own.
const NAMED: [&str; 15] = [
    "dataset",
    "model",
    "width",
    "label-noise",
    "steps",
    "epochs",
    "batch-size",
    "optimizer",
    "lr",
    "schedule",
    "weight-decay",
    "seed",
    "reg",
    "reg-weight",
    "reg-head-weight",
];

/// All other settings that are not the default, and not only of the machine or the log: "attack pgd-l2".
fn others(config: &Config, regs: &[String]) -> Result<Vec<String>, Failure> {
    let (settings, default) = (config::table(config)?, config::table(&Config::default())?);
    let energies = regs.iter().any(|reg| reg != "none" && !comhe::peers::knows(reg));
    let named = |key: &str| {
        let with_method = config.method != Choice::default() && ["method", "method-eps"].contains(&key);
        NAMED.contains(&key) || with_method || energies && key == "reg-s"
    };
    let counts = |key: &str| {
        kinds::part(key).is_some_and(|part| matches!(part.class(), Class::Weights | Class::Length))
    };
    let changed = settings.iter().filter(|(key, value)| default.get(*key) != Some(value));
    let told = changed.filter(|(key, _)| counts(key) && !named(key));
    Ok(told.map(|(key, value)| format!("{key} {}", shown(value))).collect())
}

/// A value as a user gives it.
fn shown(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Float(number) => short(*number),
        toml::Value::Array(values) => values.iter().map(shown).collect::<Vec<_>>().join(","),
        value => value.to_string(),
    }
}

/// The method and its radius, where it is not the default: " with sam (eps 0.05)".
fn method(config: &Config) -> String {
    if config.method == Choice::default() {
        return String::new();
    }
    let eps = method_eps(config).map(|eps| format!(" (eps {})", short(eps)));
    format!(" with {}{}", config.method, eps.unwrap_or_default())
}

/// The mean scores on held-out examples, one column per factor; the chosen factor has a star.
pub fn tuning(plan: &Plan, log: &Log) -> Table {
    let real = log.runs.iter().any(|run| run.test.test_acc.is_none());
    let head = [if real { "validation loss" } else { "validation %" }.to_string()]
        .into_iter()
        .chain(plan.tune.iter().map(|f| format!("x {}", short(*f))));
    let mut table = Table::new(head);
    for arm in plan.tuned() {
        let chosen = log.chosen(&arm, plan);
        let cell = |(factor, mean): (f64, Option<Score>)| {
            let star = if chosen == Some(factor) { "*" } else { "" };
            match mean {
                Some(Score::Accuracy(mean)) => Measure::Accuracy.text(mean) + star,
                Some(Score::Loss(mean)) => Measure::Loss.text(mean) + star,
                None => "-".into(),
            }
        };
        table.row([arm.name(plan)].into_iter().chain(log.validation(&arm, plan).into_iter().map(cell)));
    }
    table
}

/// The table of the result.
pub fn result(rows: &[Row], plan: &Plan) -> Table {
    let baseline = plan.arms()[0].name(plan);
    let what = if plan.methods.is_empty() && plan.losses.is_empty() { "regulariser" } else { "arm" };
    let real = rows.iter().any(|row| row.test_loss.is_some());
    let of = if real { "loss difference" } else { "difference" };
    let difference = format!("{of} to {baseline} [95 %]");
    let head = [
        what,
        "weights",
        if real { "loss (lower is better)" } else { "accuracy %" },
        "sd",
        "n",
        &difference,
        "full energy",
        "half-space",
        "ms/step",
    ];
    let mut table = Table::new(head);
    for row in rows {
        let Some(Summary { n, mean, sd }) = row.test_acc.or(row.test_loss) else { continue };
        let measure = if real { Measure::Loss } else { Measure::Accuracy };
        let change = |what: fn(&Energies) -> f64| {
            format!("{:.3} -> {:.3}", what(&row.energy_before), what(&row.energy_after))
        };
        table.row([
            row.name.clone(),
            format!("{}, {}", rounded(row.reg_weight), rounded(row.reg_head_weight)),
            measure.text(mean),
            if n > 1 { measure.text(sd) } else { "-".into() },
            n.to_string(),
            row.difference.map_or("-".into(), |difference| difference.text(measure)),
            change(|e| e.full),
            change(|e| e.half_space),
            format!("{:.1}", row.step_ms),
        ]);
    }
    table
}

/// A product of two decimal numbers, without the digits that come from rounding.
fn rounded(product: f64) -> String {
    short(format!("{product:.12e}").parse().unwrap_or(product))
}
