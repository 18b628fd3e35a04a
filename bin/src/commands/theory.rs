//! `comhe theory`: what theory says of the energy, measured.

use std::path::{Path, PathBuf};

use clap::Args;
use comhe::theory::t10_descent::Experiment;
use comhe::theory::{Check, Relation, STATEMENTS, Setting, Statement};
use serde::Serialize;
use serde_json::json;

use crate::failure::Failure;
use crate::output::{self, Table};
use crate::picture::chart;
use crate::plot::Curve;
use crate::run_folder;

/// Check what theory says of hyperspherical energy and random projections, statements T1 to T10
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  comhe theory                    everything, in some seconds
  comhe theory --only T3,T5       two statements
  comhe theory --full --seed 7    more cases and samples, other random numbers
  comhe theory --only T10 --out curves

  T1 energy of the uniform distribution      T6  Johnson and Lindenstrauss' lemma
  T2 least energies                          T7  projections determine the distribution
  T3 random projections keep mean angles     T8  training dynamics
  T4 angles under sub-Gaussian projections   T9  invariances of the energy
  T5 angles under Gaussian projections       T10 descent by projections, number of minima

A random measurement may be off by five standard errors, within a cap. Exit code 1 if a check fails.")]
pub struct Theory {
    /// Only these statements
    #[arg(long, value_name = "T1,T2,...", value_delimiter = ',')]
    only: Vec<String>,
    /// More cases and samples: minutes instead of seconds
    #[arg(long)]
    full: bool,
    /// For all random numbers
    #[arg(long, default_value_t = 0, value_name = "SEED")]
    seed: u64,
    /// Write the curves of T10 here, as CSV, JSON and pictures
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// A check as JSON.
#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    case: &'a str,
    measured: f64,
    expected: f64,
    stderr: f64,
    tolerance: f64,
    pass: bool,
}

impl Theory {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        let statements = self.chosen()?;
        if let Some(folder) = &self.out {
            if !statements.iter().any(|s| s.id == "T10") {
                return Err(Failure::usage("--out writes the curves of T10, which --only leaves out"));
            }
            std::fs::create_dir_all(folder)
                .map_err(|e| Failure::place(folder, format_args!("cannot be made: {e}")))?;
            run_folder::writable(folder)?;
        }
        let setting = Setting { seed: self.seed, full: self.full };
        let mut table =
            Table::new(["id", "case", "measured", "", "expected", "std. error", "tolerance", "pass"]);
        let (mut count, mut failed, mut experiment) = (0, Vec::new(), None);
        for statement in statements {
            let checks = if statement.id == "T10" {
                experiment.insert(Experiment::run(setting)).checks()
            } else {
                (statement.run)(setting)
            };
            for check in checks {
                count += 1;
                if !check.pass {
                    failed.push(format!("{} ({})", check.id, check.case));
                }
                if self.json {
                    let Check { id, case, measured, expected, stderr, tolerance, pass, .. } = &check;
                    let [measured, expected, stderr, tolerance] = [*measured, *expected, *stderr, *tolerance];
                    output::json(&Line { id, case, measured, expected, stderr, tolerance, pass: *pass })?;
                }
                table.row(row(&check));
            }
        }
        if !self.json {
            output::line(&table.text())?;
            if let Some(experiment) = &experiment {
                output::line(&format!("\n{}", summary(experiment)))?;
            }
            output::line(&format!("\n{count} checks, {} failed", failed.len()))?;
        }
        if let (Some(folder), Some(experiment)) = (&self.out, &experiment) {
            write(folder, experiment)?;
        }
        if failed.is_empty() {
            return Ok(());
        }
        Err(Failure::unfinished(format_args!(
            "{} of {count} checks failed: {}",
            failed.len(),
            failed.join("; ")
        )))
    }

    /// The statements of `--only`, or all, in order.
    fn chosen(&self) -> Result<Vec<Statement>, Failure> {
        let known = STATEMENTS.map(|s| s.id);
        let wanted = |s: &Statement| self.only.iter().any(|id| id.trim().eq_ignore_ascii_case(s.id));
        for id in &self.only {
            if !known.iter().any(|k| id.trim().eq_ignore_ascii_case(k)) {
                return Err(Failure::usage(registry::unknown("statement", id, &known)));
            }
        }
        Ok(STATEMENTS.into_iter().filter(|s| self.only.is_empty() || wanted(s)).collect())
    }
}

/// A row of the table.
fn row(check: &Check) -> [String; 8] {
    let relation = match check.relation {
        Relation::Equal => "=",
        Relation::AtLeast => ">=",
        Relation::AtMost => "<=",
    };
    let stderr = if check.stderr == 0.0 { String::new() } else { format!("{:.1e}", check.stderr) };
    let tolerance = if check.tolerance == 0.0 { "0".into() } else { format!("{:.1e}", check.tolerance) };
    [
        check.id.into(),
        check.case.clone(),
        number(check.measured),
        relation.into(),
        number(check.expected),
        stderr,
        tolerance,
        if check.pass { "yes".into() } else { "NO".into() },
    ]
}

/// Six decimals, or an exponent where they would show nothing.
fn number(v: f64) -> String {
    match v {
        0.0 => "0".into(),
        v if v.abs() < 1e-3 => format!("{v:.1e}"),
        v if v.fract() == 0.0 => format!("{v:.0}"),
        v => format!("{v:.6}"),
    }
}

/// What T10 gave, without a verdict.
fn summary(experiment: &Experiment) -> String {
    let mut table = Table::new(["N", "d", "steps", "by", "step / N", "start", "end", "least"]);
    for (descent, courses) in &experiment.descents {
        for course in courses {
            let least = descent.least().map(|e| format!("{e:.6}")).unwrap_or_default();
            let sizes = [descent.n, descent.d, descent.steps].map(|v| v.to_string());
            let [start, end] = [course.energies[0], course.last()].map(|e| format!("{e:.6}"));
            table.row(sizes.into_iter().chain([
                course.name.into(),
                course.rate.to_string(),
                start,
                end,
                least,
            ]));
        }
    }
    let mut minima = Table::new(["N", "starts", "distinct minima", "lowest energy"]);
    for m in &experiment.minima {
        let sizes = [m.points, m.restarts, m.distinct].map(|v| v.to_string());
        minima.row(sizes.into_iter().chain([format!("{:.9}", m.energy)]));
    }
    format!(
        "T10, as measured: mean full-space energy (s = 2) by descent, each at its best step size\n{}\n\n\
         T10, as measured: local minima on the sphere of R^3 (s = 1)\n{}",
        table.text(),
        minima.text()
    )
}

/// T10's data and pictures.
fn write(folder: &Path, experiment: &Experiment) -> Result<(), Failure> {
    let save = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text)
            .map_err(|e| Failure::unfinished(format_args!("{}: cannot be written: {e}", path.display())))
    };
    let mut data = Vec::new();
    for (descent, courses) in &experiment.descents {
        let name = format!("energy-{}x{}", descent.n, descent.d);
        let head: Vec<&str> = ["step"].into_iter().chain(courses.iter().map(|c| c.name)).collect();
        let mut csv = head.join(",") + "\n";
        for step in 0..=descent.steps {
            let cells = courses.iter().map(|c| c.energies[step].to_string());
            csv += &[step.to_string()].into_iter().chain(cells).collect::<Vec<_>>().join(",");
            csv.push('\n');
        }
        save(&format!("{name}.csv"), csv)?;
        let title = format!("Mean energy of {} neurons in R^{}", descent.n, descent.d);
        chart(
            folder,
            &name,
            &title,
            "step",
            courses
                .iter()
                .map(|c| {
                    let points = c.energies.iter().enumerate().map(|(i, e)| (i as f64, *e)).collect();
                    Curve { name: c.name.into(), points, spread: Vec::new() }
                })
                .collect(),
        )?;
        let courses: Vec<_> =
            courses.iter().map(|c| json!({"name": c.name, "rate": c.rate, "energies": c.energies})).collect();
        let d = descent;
        data.push(json!({"n": d.n, "d": d.d, "steps": d.steps, "least": d.least(), "courses": courses}));
    }
    let minima: Vec<_> = experiment
        .minima
        .iter()
        .map(|m| json!({"points": m.points, "restarts": m.restarts, "distinct": m.distinct, "energy": m.energy}))
        .collect();
    let points = experiment.minima.iter().map(|m| (m.points as f64, m.distinct as f64)).collect();
    let curve = Curve { name: "minima".into(), points, spread: Vec::new() };
    chart(folder, "minima", "Distinct local minima on the sphere", "points", vec![curve])?;
    save("t10.json", output::to_json(&json!({"descents": data, "minima": minima})) + "\n")
}

/// A chart as SVG and PNG.
fn chart(folder: &Path, name: &str, title: &str, x_label: &str, curves: Vec<Curve>) -> Result<(), Failure> {
    chart::of_curves(title, x_label, &curves).map_or(Ok(()), |picture| picture.write(folder, name))
}
