//! Settings that are a name in a table of rows: a loss, a method, an optimiser.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::error::ErrorKind;
use nn::{AttackSpec, LossSpec, MethodSpec, OptimizerSpec, PenaltySpec, SpectralSpec};
use registry::Row;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What has a table.
pub trait Table: Copy + Send + Sync + 'static {
    /// What a row is, in messages.
    const WHAT: &'static str;

    /// The rows, the default first.
    fn rows() -> &'static [Row<Self>];
}

impl Table for LossSpec {
    const WHAT: &'static str = "loss";
    fn rows() -> &'static [Row<LossSpec>] {
        nn::LOSSES
    }
}

impl Table for MethodSpec {
    const WHAT: &'static str = "method";
    fn rows() -> &'static [Row<MethodSpec>] {
        nn::METHODS
    }
}

impl Table for AttackSpec {
    const WHAT: &'static str = "attack";
    fn rows() -> &'static [Row<AttackSpec>] {
        nn::ATTACKS
    }
}

impl Table for PenaltySpec {
    const WHAT: &'static str = "input penalty";
    fn rows() -> &'static [Row<PenaltySpec>] {
        nn::PENALTIES
    }
}

impl Table for SpectralSpec {
    const WHAT: &'static str = "spectral control";
    fn rows() -> &'static [Row<SpectralSpec>] {
        nn::SPECTRAL
    }
}

impl Table for OptimizerSpec {
    const WHAT: &'static str = "optimizer";
    fn rows() -> &'static [Row<OptimizerSpec>] {
        nn::OPTIMIZERS
    }
}

/// A row of a table, chosen by its name.
#[derive(Clone, Copy)]
pub struct Choice<T: 'static>(&'static Row<T>);

impl<T: Table> Choice<T> {
    /// The row of a name that the table has.
    pub fn named(name: &str) -> Choice<T> {
        name.parse().expect("a name of the table")
    }
}

impl<T> Deref for Choice<T> {
    type Target = Row<T>;
    fn deref(&self) -> &Row<T> {
        self.0
    }
}

impl<T: Table> Default for Choice<T> {
    fn default() -> Choice<T> {
        Choice(&T::rows()[0])
    }
}

impl<T> fmt::Debug for Choice<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl<T> fmt::Display for Choice<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl<T> PartialEq for Choice<T> {
    fn eq(&self, other: &Choice<T>) -> bool {
        self.name == other.name
    }
}

impl<T: Table> FromStr for Choice<T> {
    type Err = String;
    fn from_str(name: &str) -> Result<Choice<T>, String> {
        registry::find(T::rows(), T::WHAT, name).map(Choice)
    }
}

impl<T> Serialize for Choice<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

impl<'de, T: Table> Deserialize<'de> for Choice<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Choice<T>, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Reads a name, and lists all of them in help texts and completions.
#[derive(Clone)]
pub struct Names<V> {
    read: fn(&str) -> Result<V, String>,
    rows: Vec<Row<()>>,
}

/// The rows of a table without what they make.
pub fn rows<T>(rows: &[Row<T>]) -> Vec<Row<()>> {
    rows.iter().map(Row::about).collect()
}

/// The names of a table, read as its rows.
pub fn chosen<T: Table>() -> Names<Choice<T>> {
    Names { read: |name| name.parse(), rows: rows(T::rows()) }
}

/// The names of a table, for a list of them.
pub fn listed<T: Table>() -> Names<String> {
    let read = |name: &str| registry::find(T::rows(), T::WHAT, name).map(|row| row.name.to_string());
    Names { read, rows: rows(T::rows()) }
}

/// Names that are looked up later, where the data and the other settings are known.
pub fn names(rows: Vec<Row<()>>) -> Names<String> {
    Names { read: |name| Ok(name.to_string()), rows }
}

impl<V: Clone + Send + Sync + 'static> TypedValueParser for Names<V> {
    type Value = V;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<V, clap::Error> {
        let text = value.to_string_lossy();
        (self.read)(&text).map_err(|what| {
            let arg = arg.map(|arg| format!(" for '{arg}'")).unwrap_or_default();
            let said = format!("invalid value '{text}'{arg}: {what}\n");
            clap::Error::raw(ErrorKind::ValueValidation, said).with_cmd(command)
        })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.rows.iter().map(|row| PossibleValue::new(row.name).help(row.help))))
    }
}
