//! `comhe gradcheck`: gradients of everything against finite differences.

use std::collections::BTreeMap;

use autograd::{DType, OrderReport, Sample};
use clap::Args;
use serde::Serialize;

use crate::config::Precision;
use crate::failure::{Failure, unknown};
use crate::output::{self, Table};

/// Check the gradients of every op, loss, layer, regulariser and model against finite differences
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  comhe gradcheck                     everything, first and second order, f64 and f32
  comhe gradcheck --only conv         what has conv in its name
  comhe gradcheck --dtype f64 --json

Every gradient is compared with central differences, and with the gradient that is recorded to be differentiated
again. The table has the largest relative error of all cases. Exit code 1 if one exceeds its tolerance.")]
pub struct Gradcheck {
    /// Only samples whose name or group contains this
    #[arg(long, value_name = "PATTERN")]
    only: Option<String>,
    /// Only this arithmetic
    #[arg(long, value_enum)]
    dtype: Option<Precision>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// First and second derivatives.
const ORDERS: usize = 2;

/// A line of the result: the worst of all cases of a sample at an order in a dtype.
#[derive(Serialize)]
struct Row {
    name: String,
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
    pub fn run(self) -> Result<(), Failure> {
        let all: Vec<Sample> =
            [autograd::samples(), nn::samples(), comhe::samples()].into_iter().flatten().collect();
        let mut names: BTreeMap<(String, String), Vec<&Sample>> = BTreeMap::new();
        for sample in &all {
            names.entry((sample.group.to_string(), sample.name.clone())).or_default().push(sample);
        }
        if let Some(pattern) = &self.only {
            let known: Vec<String> = names.keys().map(|(_, name)| name.clone()).collect();
            names.retain(|(group, name), _| {
                name.contains(pattern.as_str()) || group.contains(pattern.as_str())
            });
            if names.is_empty() {
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                return Err(Failure::usage(unknown("sample", pattern, &known)));
            }
        }
        let dtypes: Vec<DType> = match self.dtype {
            None => vec![DType::F64, DType::F32],
            Some(Precision::F64) => vec![DType::F64],
            Some(Precision::F32) => vec![DType::F32],
        };
        let mut table = Table::new([
            "name",
            "group",
            "order",
            "dtype",
            "cases",
            "max_rel_err",
            "tolerance",
            "blind",
            "pass",
        ]);
        let (mut checks, mut failed) = (0, Vec::new());
        for ((group, name), samples) in &names {
            for &dtype in &dtypes {
                for row in check(group, name, samples, dtype) {
                    checks += 1;
                    if !row.pass {
                        failed.push(format!("{name} (order {}, {dtype})", row.order));
                    }
                    if self.json {
                        output::json(&row)?;
                    }
                    let Row { order, cases, max_rel_err, tolerance, blind, pass, .. } = &row;
                    let pass = if *pass { "yes" } else { "NO" };
                    let numbers = [
                        format!("{max_rel_err:.1e}"),
                        format!("{tolerance:.0e}"),
                        format!("{blind:.1e}"),
                        pass.into(),
                    ];
                    let counts = [order.to_string(), dtype.to_string(), cases.to_string()];
                    table.row([name.clone(), group.clone()].into_iter().chain(counts).chain(numbers));
                }
            }
        }
        if !self.json {
            output::line(&table.text())?;
            output::line(&format!("{checks} checks, {} failed", failed.len()))?;
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

/// A row an order. Cases that fail are reported on standard error, with where.
fn check(group: &str, name: &str, samples: &[&Sample], dtype: DType) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for sample in samples {
        let report = sample.check(dtype, ORDERS);
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
