//! `comhe bench diff`: two saved results side by side.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::{self, Table};

/// Two saved results side by side: what became faster, what slower
#[derive(Args, Debug)]
pub struct Diff {
    /// Saved by comhe bench networks, ops, step or growth --json
    #[arg(value_name = "BEFORE.jsonl")]
    before: PathBuf,
    /// Saved by the same command, later
    #[arg(value_name = "AFTER.jsonl")]
    after: PathBuf,
    /// JSON: one object a line
    #[arg(long)]
    json: bool,
}

/// A time by name.
type Times = Vec<(String, f64)>;

impl Diff {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        let (before, after) = (times(&self.before)?, times(&self.after)?);
        let find = |times: &Times, name: &str| times.iter().find(|(n, _)| n == name).map(|(_, ms)| *ms);
        let only_after = after.iter().filter(|(name, _)| find(&before, name).is_none());
        if before.iter().all(|(name, _)| find(&after, name).is_none()) {
            let (one, other) = (&before[0].0, &after[0].0);
            let text = format_args!(
                "has nothing that {} has: {other:?} and the like, not {one:?}; save both by the same command",
                self.before.display()
            );
            return Err(Failure::place(&self.after, text));
        }
        let names: Vec<&String> = before.iter().chain(only_after).map(|(name, _)| name).collect();
        let mut table = Table::new(["what", "ms before", "ms after", "after / before"]);
        for name in names {
            let (old, new) = (find(&before, name), find(&after, name));
            let ratio = old.zip(new).map(|(old, new)| new / old);
            if self.json {
                output::json(&json!({ "op": name, "before_ms": old, "after_ms": new, "ratio": ratio }))?;
            }
            let number = |v: Option<f64>| v.map_or("-".into(), |v| format!("{v:.3}"));
            table.row([name.clone(), number(old), number(new), number(ratio)]);
        }
        if self.json { Ok(()) } else { output::line(&table.text()) }
    }
}

/// The times in a file: of operations by their name, of steps by their setting, of growth by its point.
fn times(path: &Path) -> Result<Times, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Failure::place(path, format_args!("cannot be read: {e}")))?;
    let mut times: Times = Vec::new();
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = |what: &dyn std::fmt::Display| {
            Failure::place(
                path,
                format_args!(
                    "line {}: {what}; each is an object of comhe bench networks, ops, step or growth --json",
                    i + 1
                ),
            )
        };
        let value: Value = serde_json::from_str(line).map_err(|e| {
            // The reader counts lines of what it is given: one.
            let text = e.to_string();
            wrong(&text.split(" at line ").next().unwrap_or(&text))
        })?;
        for (name, ms) in timed(&value).map_err(|e| wrong(&e))? {
            if times.iter().any(|(known, _)| *known == name) {
                return Err(wrong(&format_args!("{name} for the second time")));
            }
            times.push((name, ms));
        }
    }
    if times.is_empty() {
        return Err(Failure::place(path, "holds no results"));
    }
    Ok(times)
}

/// The threads of a result, in words.
fn threads(value: &Value) -> String {
    format!("{} thread{}", value["threads"], if value["threads"] == 1 { "" } else { "s" })
}

/// What an object says of times.
fn timed(value: &Value) -> Result<Times, String> {
    let ms = |value: &Value, key: &str| match value[key].as_f64() {
        Some(ms) if ms > 0.0 => Ok(ms),
        Some(ms) => Err(format!("{key} is {ms}, and no time")),
        None => Err(format!("no {key}")),
    };
    let text = |key: &str| value[key].as_str().unwrap_or_default();
    // What a name is made of must be there.
    let needs = |value: &Value, keys: &[&str]| match keys.iter().find(|&&key| value[key].as_u64().is_none()) {
        Some(key) => Err(format!("no {key}, a natural number")),
        None => Ok(()),
    };
    needs(value, &["threads"])?;
    if let Some(op) = value["op"].as_str() {
        return Ok(vec![(format!("{op}, {}", threads(value)), ms(value, "ms")?)]);
    }
    if let Some(model) = value["model"].as_str() {
        needs(value, &["width", "batch_size"])?;
        // Results from before it was recorded are of the default.
        let conv = value["conv"].as_str().filter(|&conv| conv != "auto");
        let conv = conv.map_or(String::new(), |conv| format!(", {conv}"));
        let [width, batch] = ["width", "batch_size"].map(|key| value[key].to_string());
        let (reg, dtype) = (text("reg"), text("dtype"));
        let name = format!("{model} x {width} step, batch {batch}, {reg}, {dtype}{conv}, {}", threads(value));
        return Ok(vec![(name, ms(value, "step_ms")?)]);
    }
    if let (Some(cost), Some(points)) = (value["cost"].as_str(), value["points"].as_array()) {
        let of = text("grows_with");
        // Of a series over threads, each point has its own number.
        let threads = if of == "threads" { String::new() } else { format!(", {}", threads(value)) };
        let timed = |point: &Value| {
            needs(point, &["at"])?;
            Ok((format!("{cost}, {of} {}{threads}", point["at"]), ms(point, "ms")?))
        };
        return points.iter().map(timed).collect();
    }
    Err("no op, no model and no cost".into())
}
