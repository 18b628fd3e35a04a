//! `comhe gradcheck`: gradients of everything against finite differences.

mod derivatives;
mod own;

use std::collections::BTreeMap;

use autograd::{DType, OrderReport, Report, Sample, parallel_map};
use clap::{ArgMatches, Args};
use serde::Serialize;

use crate::config::layers::Layers;
use crate::config::{Config, Precision, given, kinds};
use crate::failure::Failure;
use crate::output::{self, Table};
use crate::setup;
pub use own::READS;

/// Check the gradients of every op, loss, layer, regulariser and model, or of your own run, against finite differences
#[derive(Args, Debug)]
#[group(skip)]
#[command(
    mut_arg("dtype", |arg| arg.help("Only this arithmetic [default: both; of a run f64]").hide_default_value(true)),
    mut_arg("batch_size", |arg| arg.help("Examples in the batch of a run [default: 8]").hide_default_value(true)),
    after_help = "Examples:
  comhe gradcheck                     everything, first and second order, f64 and f32 (networks: f64)
  comhe gradcheck --only conv         what has conv in its name
  comhe gradcheck --dtype f64 --json
  comhe gradcheck --only regulariser --cases    each variant with each of its options
  comhe gradcheck --config run.toml   the loss of your own settings
  comhe gradcheck --model cnn6 --reg rp --input-penalty gradient --seed 3

Every gradient is compared with central differences, and with the gradient that is recorded to be differentiated
again. The table has the largest relative error of all cases, with --cases that of each. Exit code 1 if one exceeds its tolerance.

Projections learned by alternating steps are constants for the gradient: what is checked of them are rp's cases.

With --config or flags of comhe train it checks the loss of these settings on a batch, in f64: each of its terms by all
weights, and their sum by each tensor. Order 1 is the derivative along a direction of each tensor, half random, half
uphill; order 2 is the product of the Hessian with a random direction, entry by entry, against differences of the gradient.
Directions and the batch follow from --seed. The weights are the initial ones (--init), moved by 0.1 %, since those may
lie at kinks. Of several steps of a difference the best one counts: kinks of ReLUs and maxima spoil larger ones.")]
pub struct Gradcheck {
    /// Only samples whose name or group contains this
    #[arg(long, value_name = "PATTERN")]
    only: Option<String>,
    /// A line a case, named by its options, instead of a line for all of a name
    #[arg(long)]
    cases: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    layers: Layers,
    #[command(flatten)]
    settings: Config,
}

/// First and second derivatives.
const ORDERS: usize = 2;
/// Rows of the table that are made in parallel before the next ones are printed.
const BATCH: usize = 64;

/// What has gradients that are not derivatives, and where it is compared instead.
const HELD: &str =
    "its gradient holds a part of the value constant, and is no derivative; it is compared with PyTorch's";
const NO_DERIVATIVES: [(&str, &str); 4] = [
    ("adversarial", HELD),
    ("consistency", HELD),
    ("one-bit, binary, sign", "the gradients of signs are estimates (straight-through), and no derivatives"),
    (
        "sam, asam, amp, awp, rmp",
        "the gradient of a method is that of no function; with --method NAME the loss that it evaluates is checked",
    ),
];

/// The name and the samples of a row of the table.
type Group<'a> = (&'a (String, String), &'a [&'a Sample]);

/// A line of the result: a case, or the worst of all cases of a name, at an order in a dtype.
#[derive(Serialize)]
struct Row {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    case: Option<String>,
    group: String,
    order: usize,
    dtype: String,
    cases: usize,
    max_rel_err: f64,
    max_fast_vs_recorded: f64,
    tolerance: f64,
    /// What rounding in the difference quotient could hide, relative to the largest gradient.
    blind: f64,
    pass: bool,
}

impl Gradcheck {
    /// Runs the command.
    pub fn run(self, matches: &ArgMatches) -> Result<(), Failure> {
        let given = given(matches);
        let has = |key: &str| given.iter().any(|name| name == key);
        let of_run =
            |key: &String| kinds::part(key).is_some() && !["dtype", "threads"].contains(&key.as_str());
        if has("file") || has("set") || given.iter().any(of_run) {
            if let Some(key) = ["only", "cases"].into_iter().find(|key| has(key)) {
                return Err(Failure::usage(format_args!(
                    "--{key} is for the table of all samples, and has no effect beside settings of a run"
                )));
            }
            return own::run(&self.layers, &self.settings, matches, self.json);
        }
        self.settings.check()?;
        setup::apply(&self.settings);
        let all: Vec<Sample> =
            [autograd::samples(), nn::samples(), comhe::samples()].into_iter().flatten().collect();
        let mut names: BTreeMap<(String, String), Vec<&Sample>> = BTreeMap::new();
        for sample in &all {
            names.entry((sample.group.to_string(), sample.name.clone())).or_default().push(sample);
        }
        if let Some(pattern) = &self.only {
            if pattern.is_empty() {
                return Err(Failure::usage("--only is empty; it takes a part of a name, or is left out"));
            }
            let known: Vec<String> = names.keys().map(|(_, name)| name.clone()).collect();
            let named = |(group, name): &(String, String)| name.contains(pattern) || group.contains(pattern);
            match names.keys().any(named) {
                true => names.retain(|key, _| named(key)),
                // A word that only cases have, as the learners of comhe meta.
                false => names.retain(|_, samples| {
                    samples.retain(|sample| sample.case.contains(pattern));
                    !samples.is_empty()
                }),
            }
            if names.is_empty() {
                if let Some((_, why)) = NO_DERIVATIVES.iter().find(|(name, _)| name.contains(pattern)) {
                    return Err(Failure::usage(format_args!("--only {pattern}: {why}")));
                }
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                return Err(Failure::usage(registry::unknown("sample", pattern, &known)));
            }
        }
        let dtypes = match self.settings.dtype {
            _ if !has("dtype") => vec![DType::F64, DType::F32],
            Precision::F64 => vec![DType::F64],
            Precision::F32 => vec![DType::F32],
        };
        let (first, last) = if self.cases { ("case", None) } else { ("group", Some("cases")) };
        let head = ["name", first, "order", "dtype"].into_iter().chain(last);
        let mut table = Table::new(head.chain(["max_rel_err", "tolerance", "blind", "pass"]));
        let (mut checks, mut failed) = (0, Vec::new());
        // Names together, so that no thread waits at the end of each.
        let groups: Vec<_> = names
            .iter()
            .flat_map(|(key, samples)| {
                let together = if self.cases { 1 } else { samples.len() };
                samples.chunks(together).map(move |samples| (key, samples))
            })
            .collect();
        for groups in groups.chunks(BATCH) {
            let reports = reports(groups, &dtypes);
            for ((key, samples), reports) in groups.iter().zip(reports) {
                for row in reports
                    .into_iter()
                    .flat_map(|(dtype, reports)| rows(key, samples, dtype, reports, self.cases))
                {
                    checks += 1;
                    if !row.pass {
                        failed.push(row.title());
                    }
                    if self.json {
                        output::json(&row)?;
                    }
                    table.row(row.cells());
                }
            }
        }
        if !self.json {
            output::line(&table.text())?;
            output::line(&format!("{checks} checks, {} failed", failed.len()))?;
        }
        if checks == 0 {
            return Err(Failure::usage(
                "--dtype f32 has no effect on networks: between their kinks there is no room for a difference quotient in f32",
            ));
        }
        if failed.is_empty() {
            return Ok(());
        }
        Err(Failure::unfinished(format_args!(
            "{} of {checks} checks failed: {}",
            failed.len(),
            failed.join(", ")
        )))
    }
}

impl Row {
    /// What failed, in a message.
    fn title(&self) -> String {
        let Row { name, order, dtype, .. } = self;
        let case = self.case.as_ref().map_or(String::new(), |case| format!("{case:?}, "));
        format!("{name} ({case}order {order}, {dtype})")
    }

    /// The cells of the table.
    fn cells(&self) -> Vec<String> {
        let Row { name, group, order, dtype, cases, max_rel_err, tolerance, blind, pass, .. } = self;
        let mut cells = vec![name.clone(), self.case.as_ref().unwrap_or(group).clone()];
        cells.extend([order.to_string(), dtype.clone()]);
        cells.extend(self.case.is_none().then(|| cases.to_string()));
        cells.extend([format!("{max_rel_err:.1e}"), format!("{tolerance:.0e}"), format!("{blind:.1e}")]);
        cells.push(if *pass { "yes" } else { "NO" }.into());
        cells
    }
}

/// The reports of the cases of each row, by dtype, networks in f64 alone; cases are checked in parallel.
fn reports(groups: &[Group<'_>], dtypes: &[DType]) -> Vec<Vec<(DType, Vec<Report>)>> {
    let of = |group: &Group<'_>| -> Vec<DType> {
        let networks = group.0.0 == autograd::Group::Model.to_string();
        dtypes.iter().copied().filter(|&dtype| dtype == DType::F64 || !networks).collect()
    };
    let cases: Vec<(&Sample, DType)> = groups
        .iter()
        .flat_map(|group| of(group).into_iter().flat_map(|dtype| group.1.iter().map(move |s| (*s, dtype))))
        .collect();
    let mut done = parallel_map(cases.len(), |i| cases[i].0.check(cases[i].1, ORDERS)).into_iter();
    groups
        .iter()
        .map(|group| {
            of(group).into_iter().map(|dtype| (dtype, done.by_ref().take(group.1.len()).collect())).collect()
        })
        .collect()
}

/// A row per order, with the name of its case if `cases`. Cases that failed are reported on standard error, with
/// where.
fn rows(
    (group, name): &(String, String),
    samples: &[&Sample],
    dtype: DType,
    reports: Vec<Report>,
    cases: bool,
) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (sample, report) in samples.iter().zip(reports) {
        if !report.pass() {
            eprintln!("{name}, case {:?}, {dtype}:\n{report}", sample.case);
        }
        for found in report.orders {
            let OrderReport { order, max_rel_err, max_fast_vs_recorded, tolerance, blind, pass, .. } = found;
            match rows.iter_mut().find(|row| row.order == order) {
                Some(row) => {
                    row.cases += 1;
                    row.max_rel_err = worse(row.max_rel_err, max_rel_err);
                    row.max_fast_vs_recorded = worse(row.max_fast_vs_recorded, max_fast_vs_recorded);
                    row.blind = worse(row.blind, blind);
                    row.pass &= pass;
                }
                None => rows.push(Row {
                    name: name.to_string(),
                    case: cases.then(|| sample.case.clone()),
                    group: group.to_string(),
                    order,
                    dtype: dtype.to_string(),
                    cases: 1,
                    max_rel_err,
                    max_fast_vs_recorded,
                    tolerance,
                    blind,
                    pass,
                }),
            }
        }
    }
    rows
}

/// The larger; NaN once it has appeared.
fn worse(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}
