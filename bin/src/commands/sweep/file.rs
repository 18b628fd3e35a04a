//! The file of a sweep.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use toml::{Table, Value};

use crate::config::file::{self, Depth};
use crate::config::{self, tables};
use crate::failure::Failure;

/// The contents of a sweep's file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SweepFile {
    /// Settings that all runs share.
    #[serde(default)]
    pub base: Table,
    /// Settings that are varied together, one table per point.
    #[serde(default)]
    pub point: Vec<Table>,
    /// Lists of values; every combination is a point.
    #[serde(default)]
    pub grid: BTreeMap<String, Vec<Value>>,
    /// Values that are sampled.
    pub random: Option<Random>,
    /// Successive halving.
    pub halving: Option<Halving>,
    /// Seeds: their number, or a list.
    #[serde(default)]
    pub seeds: Seeds,
    /// Settings of the baseline.
    pub baseline: Option<Table>,
    /// The evaluation by which runs are compared.
    #[serde(default)]
    pub select: Select,
}

/// Random search. Sample i of a key is a function of (seed, key, i) alone.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Random {
    pub samples: u64,
    #[serde(default)]
    pub seed: u64,
    pub of: BTreeMap<String, Distribution>,
}

/// The distribution of a value.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Distribution {
    Uniform([f64; 2]),
    LogUniform([f64; 2]),
    Int([i64; 2]),
    LogInt([i64; 2]),
    Choice(Vec<Value>),
}

/// Successive halving (Jamieson and Talwalkar 2016): the best 1/eta of the points of a round are in the next one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Halving {
    /// The length of the first round, in steps or epochs as in `base`.
    pub start: u64,
    #[serde(default = "three")]
    pub eta: u64,
}

fn three() -> u64 {
    3
}

/// Seeds: a number of them, from 0 on, or a list.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "seeds must be a number of seeds, from 0 on, or a list of them")]
pub enum Seeds {
    Count(u64),
    List(Vec<u64>),
}

impl Default for Seeds {
    fn default() -> Seeds {
        Seeds::Count(3)
    }
}

/// The evaluation by which runs are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Select {
    /// The last one.
    #[default]
    Last,
    /// The best one.
    Best,
}

/// The tables and keys of the file.
const KEYS: [&str; 8] = ["base", "point", "grid", "random", "halving", "seeds", "baseline", "select"];
/// Settings that a sweep sets itself, with the reason.
const OWN: [(&str, &str); 2] =
    [("seed", "seeds lists them"), ("threads", "--threads is for all runs together")];
/// The largest number of runs of a sweep.
const MOST: u64 = 100_000;
/// The share of the training examples that is held out by default.
const HOLD_OUT: f64 = 0.1;

impl SweepFile {
    /// Reads a file's text.
    pub fn parse(text: &str, path: &Path) -> Result<SweepFile, Failure> {
        let table: Table = toml::from_str(text).map_err(|e| file::wrong(text, path, &e))?;
        file::known(table.keys(), &KEYS, "train", text, path, Depth::Top)?;
        let flat = flat(table.clone()).map_err(|key| file::twice(text, path, &key))?;
        // Errors of the text have line numbers; those of a changed table have not.
        let read = if flat == table { toml::from_str(text) } else { flat.try_into() };
        let mut read: SweepFile = read.map_err(|e| file::wrong(text, path, &e))?;
        let random = read.random.iter().flat_map(|r| r.of.keys());
        let axes = || read.grid.keys().chain(read.point.iter().flat_map(Table::keys));
        let known = config::keys();
        let all = || {
            read.base
                .keys()
                .chain(axes())
                .chain(random.clone())
                .chain(read.baseline.iter().flatten().map(|(k, _)| k))
        };
        file::known(all(), &known, "train", text, path, Depth::Within)?;
        let wrong = |what: String| Failure::place(path, what);
        for (key, instead) in OWN {
            if all().any(|k| k == key) {
                return Err(wrong(format!("{key} cannot be set in a table of a sweep; {instead}")));
            }
        }
        if axes().chain(random.clone()).any(|key| key == "hold-out") {
            return Err(wrong("hold-out must be the same for all runs: it belongs to [base]".into()));
        }
        if let Some(key) = random.clone().find(|key| read.grid.contains_key(*key)) {
            return Err(wrong(format!("{key} is both in [grid] and in [random.of]")));
        }
        if let Some((key, _)) = read.grid.iter().find(|(_, values)| values.is_empty()) {
            return Err(wrong(format!("[grid] has no value for {key}")));
        }
        if let Some(random) = &read.random {
            if random.samples == 0 || random.of.is_empty() {
                return Err(wrong(
                    "[random] needs samples, at least 1, and a distribution in [random.of]".into(),
                ));
            }
            for (key, distribution) in &random.of {
                distribution.check().map_err(|rule| wrong(format!("[random.of] {key}: {rule}")))?;
            }
        }
        let seeds = match &read.seeds {
            Seeds::Count(n) => *n,
            Seeds::List(seeds) => seeds.len() as u64,
        };
        let samples = read.random.as_ref().map_or(1, |random| random.samples);
        if seeds.saturating_mul(samples).saturating_mul(read.combinations()) > MOST {
            return Err(wrong(format!("has more than {MOST} runs, the most that a sweep can have")));
        }
        let seeds = read.seed_list();
        if seeds.is_empty() || (1..seeds.len()).any(|i| seeds[..i].contains(&seeds[i])) {
            return Err(wrong("seeds must have at least one seed, and none twice".into()));
        }
        if read.halving.as_ref().is_some_and(|h| h.start == 0 || h.eta < 2) {
            return Err(wrong("[halving] needs start, at least 1, and eta, at least 2".into()));
        }
        read.base.entry("hold-out").or_insert(Value::Float(HOLD_OUT));
        if read.halving.is_some() && read.hold_out() == 0.0 {
            return Err(wrong(
                "[halving] needs held-out examples to choose runs by: hold-out in [base] must be above 0"
                    .into(),
            ));
        }
        Ok(read)
    }

    /// The share of the training examples that runs are evaluated on; 0: they are evaluated on the test examples.
    pub fn hold_out(&self) -> f64 {
        let value = &self.base["hold-out"];
        value.as_float().or_else(|| value.as_integer().map(|i| i as f64)).unwrap_or(HOLD_OUT)
    }

    /// The number of combinations of points and values of the grid.
    fn combinations(&self) -> u64 {
        let lengths = self.grid.values().map(Vec::len).chain([self.point.len().max(1)]);
        lengths.fold(1, |product, n| product.saturating_mul(n as u64))
    }

    /// The seeds.
    pub fn seed_list(&self) -> Vec<u64> {
        match &self.seeds {
            Seeds::Count(n) => (0..*n).collect(),
            Seeds::List(seeds) => seeds.clone(),
        }
    }
}

/// The file with flat keys in place of the tables of parts: `[base.reg] k = 40` becomes `[base] reg-k = 40`.
fn flat(mut file: Table) -> Result<Table, String> {
    let tables = |table: &mut Value| match table.as_table_mut() {
        Some(table) => {
            *table = tables::flat(std::mem::take(table), Distribution::is_one)?.0;
            Ok::<(), String>(())
        }
        None => Ok(()),
    };
    for (key, value) in file.iter_mut() {
        match (key.as_str(), value) {
            ("base" | "grid" | "baseline", value) => tables(value)?,
            ("point", Value::Array(points)) => points.iter_mut().try_for_each(tables)?,
            ("random", value) => value.get_mut("of").map_or(Ok(()), tables)?,
            _ => {}
        }
    }
    Ok(file)
}

impl Distribution {
    /// Whether a table is a distribution, and not the settings of a part.
    fn is_one(table: &Table) -> bool {
        const KINDS: [&str; 5] = ["uniform", "log-uniform", "int", "log-int", "choice"];
        table.keys().all(|key| KINDS.contains(&key.as_str()))
    }

    fn check(&self) -> Result<(), &'static str> {
        let (good, rule) = match self {
            Distribution::Uniform([a, b]) => {
                (a.is_finite() && b.is_finite() && a < b, "uniform = [low, high], low < high")
            }
            Distribution::LogUniform([a, b]) => {
                (*a > 0.0 && b.is_finite() && a < b, "log-uniform = [low, high], 0 < low < high")
            }
            Distribution::Int([a, b]) => (a < b, "int = [low, high], low < high"),
            Distribution::LogInt([a, b]) => (*a > 0 && a < b, "log-int = [low, high], 0 < low < high"),
            Distribution::Choice(values) => (!values.is_empty(), "choice = [value, ...]"),
        };
        if good { Ok(()) } else { Err(rule) }
    }

    /// The value at u in [0, 1). Real values have four significant digits, so that the names of runs are short.
    pub fn at(&self, u: f64) -> Value {
        let between = |a: f64, b: f64| a + (b - a) * u;
        let log = |a: f64, b: f64| between(a.ln(), b.ln()).exp();
        let short = |v: f64, [a, b]: [f64; 2]| {
            let four = format!("{v:.3e}").parse::<f64>().expect("a number");
            Value::Float(if (a..=b).contains(&four) { four } else { v })
        };
        let whole = |v: f64, [a, b]: [i64; 2]| Value::Integer((v.floor() as i64).clamp(a, b));
        match self {
            Distribution::Uniform([a, b]) => short(between(*a, *b), [*a, *b]),
            Distribution::LogUniform([a, b]) => short(log(*a, *b), [*a, *b]),
            Distribution::Int([a, b]) => whole(between(*a as f64, *b as f64 + 1.0), [*a, *b]),
            Distribution::LogInt([a, b]) => whole(log(*a as f64, *b as f64 + 1.0), [*a, *b]),
            Distribution::Choice(values) => values[(u * values.len() as f64) as usize].clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_may_be_in_tables() {
        let read = |text: &str| SweepFile::parse(text, Path::new("x.toml")).unwrap();
        let flat = read(
            "[base]\nreg = 'rp'\nreg-k = 3\n[[point]]\nmomentum = 0.5\n[grid]\nreg-c = [1, 2]\n[random]\nsamples = 2\n\
             [random.of]\nreg-weight = { uniform = [0, 1] }\n",
        );
        let tables = read(
            "[base.reg]\nname = 'rp'\nk = 3\n[[point]]\noptimizer.momentum = 0.5\n[grid.reg]\nc = [1, 2]\n[random]\n\
             samples = 2\n[random.of.reg]\nweight = { uniform = [0, 1] }\n",
        );
        assert_eq!(format!("{tables:?}"), format!("{flat:?}"));
        let names = read("[random]\nsamples = 2\n[random.of]\nreg = { choice = ['mhe', 'rp'] }\n");
        assert!(names.random.unwrap().of.contains_key("reg"));
    }
}
