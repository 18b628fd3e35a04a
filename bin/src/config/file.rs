//! Settings from a TOML file, and what is said about one that cannot be used: the line, and the key that was probably
//! meant.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::{Config, keys, preset};
use crate::failure::{Failure, unknown};

impl Config {
    /// The settings of a file, with the defaults for what it does not set.
    pub fn load(path: &Path) -> Result<Config, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| Failure::place(path, format_args!("cannot be read: {e}")))?;
        Config::parse(&text, path)
    }

    pub(super) fn parse(text: &str, path: &Path) -> Result<Config, Failure> {
        let table: toml::Table = toml::from_str(text).map_err(|e| wrong(text, path, &e))?;
        known(table.keys(), &keys(), text, path, Depth::Top)?;
        let wrong = |key: &str, what: &str| {
            Failure::place(path, format_args!("{}{what}", place(text, key, Depth::Top)))
        };
        let dotted = |(key, value): (&String, &toml::Value)| {
            Some((key.clone(), format!("{key}-{}", value.as_table()?.keys().next()?)))
        };
        if let Some((key, meant)) = table.iter().find_map(dotted) {
            return Err(wrong(&key, &format!("{key} is no table; a key has hyphens: {meant}")));
        }
        if let Some((key, _, what)) = wrong_value(&table) {
            return Err(wrong(key, &what));
        }
        // What is wrong with none of them is the name of a preset.
        Config::from_table(table).map_err(|what| wrong("preset", &what))
    }

    /// The settings of a table, whose preset, if it names one, is below what it says itself.
    pub fn from_table(table: toml::Table) -> Result<Config, String> {
        let mut settings = match table.get("preset").and_then(|name| name.as_str()) {
            Some(name) => preset(name)?,
            None => toml::Table::new(),
        };
        settings.extend(table);
        let named = |(key, value, what)| format!("{key} = {value}: {what}");
        let read = settings.clone().try_into();
        read.map_err(|e: toml::de::Error| wrong_value(&settings).map_or_else(|| plain(e.message()), named))
    }
}

/// The first value of a table that its key cannot have, and why.
pub fn wrong_value(table: &toml::Table) -> Option<(&String, &toml::Value, String)> {
    table.iter().find_map(|(key, value)| {
        let alone: toml::Table = [(key.clone(), value.clone())].into_iter().collect();
        let error = alone.try_into::<Config>().err()?;
        Some((key, value, plain(error.message())))
    })
}

/// A mistake that the reader of a file found, with its line.
pub fn wrong(text: &str, path: &Path, error: &toml::de::Error) -> Failure {
    let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
    let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
    let mut said = plain(error.message());
    if said == "duplicate key" {
        said += &error.span().and_then(|span| text.get(span)).map_or(String::new(), |key| format!(" {key}"));
    }
    Failure::place(path, format_args!("{place}{said}"))
}

/// What a reader of TOML says, without the types of Rust, and with the word that was probably meant.
pub fn plain(message: &str) -> String {
    if message.starts_with("unknown variant") {
        let words: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
        return unknown("word", words[0], &words[1..]);
    }
    let words = [
        (" as i128, expected any valid TOML value", " is too large"),
        ("expected usize", "a natural number is needed"),
        ("expected u64", "a natural number is needed"),
        ("expected f64", "a number is needed"),
        ("expected a boolean", "true or false is needed"),
        ("expected path string", "a path in quotation marks is needed"),
        ("expected a string", "a text in quotation marks is needed"),
        ("expected a sequence", "a list is needed"),
        ("expected a map", "a table is needed"),
        ("invalid type: unit variant, expected string only", "a text in quotation marks is needed"),
        ("invalid type: map", "invalid type: table"),
        ("invalid type: sequence", "invalid type: list"),
    ];
    words.iter().fold(message.to_string(), |text, (from, to)| text.replace(from, to))
}

/// Refuses keys that are not among the known ones.
pub fn known<'a>(
    mut keys: impl Iterator<Item = &'a String>,
    known: &[String],
    text: &str,
    path: &Path,
    depth: Depth,
) -> Result<(), Failure> {
    let Some(key) = keys.find(|key| !known.contains(key)) else { return Ok(()) };
    let names: Vec<&str> = known.iter().map(String::as_str).collect();
    let hint = datasets::suggest(key, &names).map(|name| format!("; did you mean {name}?"));
    let place = place(text, key, depth);
    let hint = hint.unwrap_or_else(|| match known.len() {
        ..=12 => format!("; the keys here are {}", names.join(", ")),
        _ => "; the keys are the flags of comhe train".into(),
    });
    Err(Failure::place(path, format_args!("{place}unknown key {key:?}{hint}")))
}

/// Where a key is looked for: among those of the file itself, or those of its tables.
#[derive(Clone, Copy, PartialEq)]
pub enum Depth {
    Top,
    Within,
}

/// The line that sets a key, as a message begins with it.
fn place(text: &str, key: &str, depth: Depth) -> String {
    line_of(text, key, depth).map(|n| format!("line {n}: ")).unwrap_or_default()
}

/// The line that sets a key, from 1 on.
pub fn line_of(text: &str, key: &str, depth: Depth) -> Option<usize> {
    let file = DeTable::parse(text).ok()?;
    let within = file.get_ref().iter().filter_map(|(name, value)| match depth {
        Depth::Top => (name.get_ref() == key).then_some(name.span().start),
        Depth::Within => place_of(value.get_ref(), key),
    });
    Some(text[..within.min()?].matches('\n').count() + 1)
}

/// Where a key begins, in a table or one within it.
fn place_of(value: &DeValue, key: &str) -> Option<usize> {
    let named = |(name, value): (&Spanned<DeString>, &Spanned<DeValue>)| match name.get_ref() == key {
        true => Some(name.span().start),
        false => place_of(value.get_ref(), key),
    };
    match value {
        DeValue::Table(table) => table.iter().filter_map(named).min(),
        DeValue::Array(values) => values.iter().filter_map(|value| place_of(value.get_ref(), key)).min(),
        _ => None,
    }
}
