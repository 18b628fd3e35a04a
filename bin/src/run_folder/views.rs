//! The log once more, as tables for pandas or a spreadsheet, and as TensorBoard's events: functions of its lines alone,
//! which are made again from it when a run resumes.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::lines::Line;
use super::unwritten;
use crate::failure::Failure;
use crate::tensorboard::Events;

/// A row a step and a row an evaluation.
pub const METRICS_CSV: &str = "metrics.csv";
/// A row a layer and measurement.
pub const LAYERS_CSV: &str = "layers.csv";

/// Columns that are there in any case, in this order; a regulariser's own numbers follow.
const METRICS: [&str; 11] =
    ["step", "epoch", "loss", "fit", "reg", "lr", "acc", "val_loss", "val_acc", "test_loss", "test_acc"];
/// Those of them that real targets do not have; these have `test_mae` and `test_r2`.
const ACCURACIES: [&str; 3] = ["acc", "val_acc", "test_acc"];
const LAYERS: [&str; 10] =
    ["step", "name", "n", "d", "regulariser", "weight", "penalty", "full", "half_space", "smallest_angle"];

/// The files that follow the log.
pub struct Views {
    metrics: Csv,
    layers: Csv,
    events: Option<Events>,
}

impl Views {
    /// Those of a log whose lines so far are `log`; the tables are written anew, events are added.
    pub fn new(folder: &Path, log: &[Line], events: bool) -> Result<Views, Failure> {
        let csv = |name, columns| Csv::create(&folder.join(name), columns);
        let mut views =
            Views { metrics: csv(METRICS_CSV, &METRICS)?, layers: csv(LAYERS_CSV, &LAYERS)?, events: None };
        log.iter().try_for_each(|line| views.line(line))?;
        let begun = Events::exist(folder);
        if events || begun {
            // Of what earlier files have from this step on, some is made again and the rest, an evaluation, repeated.
            let step = |line: &&Line| line.get("step").and_then(Value::as_u64);
            let done = log.iter().rev().find(|line| line.contains_key("loss"));
            let next = done.as_ref().and_then(step).map_or(0, |step| step + 1);
            let mut events = Events::create(folder, begun.then_some(next))?;
            let missing = log.iter().filter(|line| !begun || step(line) >= Some(next));
            missing.into_iter().try_for_each(|line| events.line(line))?;
            views.events = Some(events);
        }
        views.flush()?;
        Ok(views)
    }

    /// Follows a new line of the log.
    pub fn line(&mut self, line: &Line) -> Result<(), Failure> {
        if line.keys().any(|key| key != "step" && METRICS.contains(&key.as_str())) {
            self.metrics.row(line)?;
        }
        let step = line.get("step").unwrap_or(&Value::Null);
        for layer in line.get("layers").and_then(Value::as_array).into_iter().flatten() {
            let mut layer = layer.as_object().cloned().unwrap_or_default();
            layer.insert("step".into(), step.clone());
            self.layers.row(&layer)?;
        }
        self.events.as_mut().map_or(Ok(()), |events| events.line(line))
    }

    /// Gives all to the system.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.metrics.flush()?;
        self.layers.flush()?;
        self.events.as_mut().map_or(Ok(()), Events::flush)
    }
}

/// A table whose columns are fixed by the first row that has all of `columns[..3]`.
struct Csv {
    path: PathBuf,
    file: BufWriter<File>,
    columns: Vec<String>,
    /// Rows that came before the columns were known.
    waiting: Vec<Line>,
    known: bool,
}

impl Csv {
    fn create(path: &Path, columns: &[&str]) -> Result<Csv, Failure> {
        let file = BufWriter::new(File::create(path).map_err(|e| unwritten(path, &e))?);
        let columns = columns.iter().map(|name| name.to_string()).collect();
        Ok(Csv { path: path.to_path_buf(), file, columns, waiting: Vec::new(), known: false })
    }

    fn row(&mut self, row: &Line) -> Result<(), Failure> {
        if !self.known {
            // The evaluation before the first step knows nothing of what a step will log.
            if !self.columns[..3].iter().all(|column| row.contains_key(column)) {
                self.waiting.push(row.clone());
                return Ok(());
            }
            let scalar = |(_, value): &(&String, &Value)| !value.is_array() && !value.is_object();
            let new = |(key, _): &(&String, &Value)| !self.columns.contains(key);
            let rows = || [row].into_iter().chain(&self.waiting);
            let mut more: Vec<String> = Vec::new();
            for (key, _) in rows().flat_map(|row| row.iter().filter(scalar).filter(new)) {
                if !more.contains(key) {
                    more.push(key.clone());
                }
            }
            let classes = rows().any(|row| ACCURACIES.iter().any(|key| row.contains_key(*key)));
            self.columns.extend(more);
            if !classes {
                self.columns.retain(|column| !ACCURACIES.contains(&column.as_str()));
            }
            self.known = true;
            let head = self.columns.join(",") + "\n";
            self.write(&head)?;
            for row in std::mem::take(&mut self.waiting) {
                let text = self.text(&row);
                self.write(&text)?;
            }
        }
        let text = self.text(row);
        self.write(&text)
    }

    fn text(&self, row: &Line) -> String {
        let mut text = String::with_capacity(128);
        for (i, column) in self.columns.iter().enumerate() {
            if i > 0 {
                text.push(',');
            }
            match row.get(column) {
                Some(Value::Number(number)) => text += &number.to_string(),
                Some(Value::Bool(yes)) => text += &yes.to_string(),
                Some(Value::String(s)) if s.contains(['"', ',', '\n', '\r']) => {
                    text += &format!("\"{}\"", s.replace('"', "\"\""));
                }
                Some(Value::String(s)) => text += s,
                _ => {}
            }
        }
        text.push('\n');
        text
    }

    fn write(&mut self, text: &str) -> Result<(), Failure> {
        self.file.write_all(text.as_bytes()).map_err(|e| self.failed(&e))
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.file.flush().map_err(|e| self.failed(&e))
    }

    fn failed(&self, e: &io::Error) -> Failure {
        unwritten(&self.path, e)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn line(text: &str) -> Line {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn real_targets_have_errors_instead_of_accuracies() {
        let here = tempfile::tempdir().unwrap();
        let log = [
            line(r#"{"step":0,"test_loss":2.5,"test_mae":1.5,"test_r2":0.25}"#),
            line(r#"{"step":0,"epoch":0,"loss":2.25,"fit":2.0,"reg":0.25,"lr":0.1}"#),
        ];
        Views::new(here.path(), &log, false).unwrap();
        let expected = "step,epoch,loss,fit,reg,lr,val_loss,test_loss,test_mae,test_r2\n0,,,,,,,2.5,1.5,0.25\n\
                        0,0,2.25,2.0,0.25,0.1,,,,\n";
        assert_eq!(fs::read_to_string(here.path().join(METRICS_CSV)).unwrap(), expected);
    }

    #[test]
    fn rows_have_the_columns_of_the_first_step() {
        let here = tempfile::tempdir().unwrap();
        let log = [
            line(
                r#"{"step":0,"test_loss":2.5,"test_acc":0.1,"layers":[{"name":"a,b","n":3,"d":2,"full":0.1,"new":7}]}"#,
            ),
            line(r#"{"step":0,"epoch":0,"loss":2.25,"fit":2.0,"reg":0.25,"lr":1e-8,"acc":0.5,"inner":3.5}"#),
            line(r#"{"step":1,"epoch":0,"loss":null,"fit":2.0,"reg":0.25,"lr":0.1,"acc":0.5,"later":1}"#),
            line(r#"{"step":2,"layers":[{"name":"a","n":3,"d":2,"full":null}]}"#),
        ];
        let read = |name: &str| fs::read_to_string(here.path().join(name)).unwrap();
        let mut views = Views::new(here.path(), &log[..1], false).unwrap();
        log[1..].iter().for_each(|line| views.line(line).unwrap());
        views.flush().unwrap();
        let expected = "step,epoch,loss,fit,reg,lr,acc,val_loss,val_acc,test_loss,test_acc,inner\n0,,,,,,,,,2.5,0.1,\n\
                        0,0,2.25,2.0,0.25,1e-8,0.5,,,,,3.5\n1,0,,2.0,0.25,0.1,0.5,,,,,\n";
        assert_eq!(read(METRICS_CSV), expected);
        let layers = "step,name,n,d,regulariser,weight,penalty,full,half_space,smallest_angle,new\n\
                      0,\"a,b\",3,2,,,,0.1,,,7\n2,a,3,2,,,,,,,\n";
        assert_eq!(read(LAYERS_CSV), layers);
        // Made again from the whole log, they are the same.
        Views::new(here.path(), &log, false).unwrap();
        assert_eq!((read(METRICS_CSV).as_str(), read(LAYERS_CSV).as_str()), (expected, layers));
    }
}
