//! Results on standard output: lines, JSON lines, tables.

use std::io::{self, ErrorKind, Write};

use serde::Serialize;

use crate::failure::Failure;

/// Writes a text and a line break to standard output, at once.
pub fn line(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|e| match e.kind() {
        ErrorKind::BrokenPipe => Failure::Closed,
        _ => Failure::unfinished(format_args!("standard output cannot be written: {e}")),
    })
}

/// Writes one JSON object on a line.
pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    line(&to_json(value))
}

/// A value as JSON text. Infinities and NaN become null, as JSON has no words for them.
pub fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("the values here have string keys")
}

/// A table of text; columns whose cells are empty or start as numbers do are flush right.
#[derive(Clone, Debug)]
pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table with these columns.
    pub fn new(head: impl IntoIterator<Item = impl Into<String>>) -> Table {
        Table { head: head.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row, a cell a column.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        let cells: Vec<String> = cells.into_iter().map(Into::into).collect();
        assert_eq!(cells.len(), self.head.len(), "a cell a column");
        self.rows.push(cells);
    }

    /// The names of the columns.
    pub fn head(&self) -> &[String] {
        &self.head
    }

    /// The cells, row by row.
    pub fn rows(&self) -> &[Vec<String>] {
        &self.rows
    }

    /// The table for a terminal.
    pub fn text(&self) -> String {
        let columns = self.columns();
        let line = |cells: &[String]| {
            let padded: Vec<String> = cells.iter().zip(&columns).map(|(cell, c)| c.pad(cell)).collect();
            padded.join("  ").trim_end().to_string()
        };
        let rule = columns.iter().map(|c| "-".repeat(c.width)).collect::<Vec<_>>().join("  ");
        let lines = [line(&self.head), rule].into_iter().chain(self.rows.iter().map(|row| line(row)));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The table in Markdown.
    pub fn markdown(&self) -> String {
        let columns = self.columns();
        let line = |cells: &[String]| {
            let padded: Vec<String> = cells.iter().zip(&columns).map(|(cell, c)| c.pad(cell)).collect();
            format!("| {} |", padded.join(" | "))
        };
        let rule: Vec<String> = columns
            .iter()
            .map(|c| if c.right { format!("{}:", "-".repeat(c.width - 1)) } else { "-".repeat(c.width) })
            .collect();
        let rule = format!("| {} |", rule.join(" | "));
        let lines = [line(&self.head), rule].into_iter().chain(self.rows.iter().map(|row| line(row)));
        lines.collect::<Vec<_>>().join("\n")
    }

    fn columns(&self) -> Vec<Column> {
        let numeric = |cell: &String| {
            cell.is_empty() || cell.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
        };
        let column = |i: usize| {
            let cells = || self.rows.iter().map(|row| &row[i]);
            let width = cells().chain([&self.head[i]]).map(|cell| cell.chars().count()).max().unwrap_or(0);
            Column { width: width.max(3), right: !self.rows.is_empty() && cells().all(numeric) }
        };
        (0..self.head.len()).map(column).collect()
    }
}

struct Column {
    width: usize,
    right: bool,
}

impl Column {
    fn pad(&self, cell: &str) -> String {
        let width = self.width;
        if self.right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Table {
        let mut table = Table::new(["name", "value"]);
        table.row(["a", "1.5"]);
        table.row(["a long name", "-20"]);
        table
    }

    #[test]
    fn numbers_are_flush_right_and_words_flush_left() {
        assert_eq!(
            example().text(),
            "name         value\n-----------  -----\na              1.5\na long name    -20"
        );
    }

    #[test]
    fn markdown() {
        assert_eq!(
            example().markdown().lines().skip(1).collect::<Vec<_>>(),
            ["| ----------- | ----: |", "| a           |   1.5 |", "| a long name |   -20 |"]
        );
    }

    #[test]
    fn json_has_no_infinities() {
        assert_eq!(to_json(&[1.0, f64::NAN, f64::INFINITY]), "[1.0,null,null]");
    }
}
