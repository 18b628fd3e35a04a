//! Settings from a TOML file, and what is said about one that cannot be used: the line, and the key that was probably
//! meant.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::{Config, Settings, settings, tables};
use crate::failure::Failure;

impl Config {
    /// The settings of a file, with the defaults for what it does not set.
    pub fn load(path: &Path) -> Result<Config, Failure> {
        load(path)
    }

    /// The settings of a table, whose preset, if it names one, is below what it says itself.
    pub fn from_table(table: toml::Table) -> Result<Config, String> {
        from_table(table)
    }
}

/// The settings of a file, with the defaults for what it does not set.
pub fn load<S: Settings>(path: &Path) -> Result<S, Failure> {
    read(path).map(|(settings, _)| settings)
}

/// The same, and the old keys that the file has.
pub fn read<S: Settings>(path: &Path) -> Result<(S, Vec<String>), Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Failure::place(path, format_args!("cannot be read: {e}")))?;
    parse(&text, path)
}

/// The settings of the text of a file, and its old keys.
pub(super) fn parse<S: Settings>(text: &str, path: &Path) -> Result<(S, Vec<String>), Failure> {
    let (table, old) = parsed(text, path)?;
    let keys = settings::keys::<S>();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    known(table.keys(), &keys, S::COMMAND, text, path, Depth::Top)?;
    let wrong =
        |key: &str, what: &str| Failure::place(path, format_args!("{}{what}", place(text, key, Depth::Top)));
    if let Some((key, _)) = table.iter().find(|(_, value)| value.is_table()) {
        return Err(wrong(key, &format!("{key} is no table")));
    }
    if let Some((key, value, what)) = wrong_value::<S>(&table) {
        return Err(wrong(key, &format!("{} = {value}: {what}", shown(text, key))));
    }
    // What is wrong with none of them is the name of a preset.
    let settings = from_table(table).map_err(|what| wrong("preset", &what))?;
    Ok((settings, old))
}

/// The settings of a table, above what a name among them stands for.
pub fn from_table<S: Settings>(table: toml::Table) -> Result<S, String> {
    let mut settings = S::below(&table)?;
    settings.extend(table);
    let named = |(key, value, what)| format!("{key} = {value}: {what}");
    let read = settings.clone().try_into();
    read.map_err(|e: toml::de::Error| wrong_value::<S>(&settings).map_or_else(|| plain(e.message()), named))
}

/// Says which keys of a user's file are old, in one line.
pub fn note_old(path: &Path, old: &[String]) {
    if !old.is_empty() {
        let new: Vec<String> = old.iter().map(|key| tables::dotted(key)).collect();
        let keys = if old.len() == 1 { "is an old key" } else { "are old keys" };
        eprintln!("{}: {} {keys}; write {}", path.display(), old.join(", "), new.join(", "));
    }
}

/// The settings of a file by key, and its old keys. Neither keys nor values have been checked.
pub fn parsed(text: &str, path: &Path) -> Result<(toml::Table, Vec<String>), Failure> {
    let table: toml::Table = toml::from_str(text).map_err(|e| wrong(text, path, &e))?;
    tables::flat(table, |_| false).map_err(|key| twice(text, path, &key))
}

/// A key that is set by itself and in its table.
pub fn twice(text: &str, path: &Path, key: &str) -> Failure {
    let (place, dotted) = (place(text, key, Depth::Top), tables::dotted(key));
    Failure::place(path, format_args!("{place}{key} and {dotted} are the same setting; leave one out"))
}

/// The first value of a table that its key cannot have, and why.
pub fn wrong_value<S: Settings>(table: &toml::Table) -> Option<(&String, &toml::Value, String)> {
    table.iter().find_map(|(key, value)| {
        let alone: toml::Table = [(key.clone(), value.clone())].into_iter().collect();
        let error = alone.try_into::<S>().err()?;
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
        return registry::unknown("value", words[0], &words[1..]);
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
    let text = words.iter().fold(message.to_string(), |text, (from, to)| text.replace(from, to));
    // The value stands before the message.
    let needed = text.strip_prefix("invalid type: ").and_then(|text| text.split_once(", "));
    needed.map_or(text.clone(), |(_, needed)| needed.to_string())
}

/// Refuses keys that are not among the known ones, of a command.
pub fn known<'a>(
    mut given: impl Iterator<Item = &'a String>,
    known: &[&str],
    command: &str,
    text: &str,
    path: &Path,
    depth: Depth,
) -> Result<(), Failure> {
    let Some(key) = given.find(|key| !known.contains(&key.as_str())) else { return Ok(()) };
    let place = place(text, key, depth);
    // A key of a table is named with it.
    let dotted = tables::dotted(key);
    let in_table = dotted != *key && line_of_path(text, &dotted, depth).is_some();
    let shown = |key: &str| if in_table { tables::dotted(key) } else { key.to_string() };
    let hint = match in_table {
        true => tables::nearest(key, known).map(|name| match name.contains('.') {
            true => format!("; did you mean {name}?"),
            false => format!("; did you mean {name}, a key outside the tables?"),
        }),
        false => registry::suggest(key, known).map(|name| format!("; did you mean {name}?")),
    };
    let table = dotted.split('.').next().unwrap_or_default();
    let own = if in_table { tables::keys_of(table, known) } else { Vec::new() };
    let hint = hint.unwrap_or_else(|| match known.len() {
        ..=12 => format!("; the keys here are {}", known.join(", ")),
        _ if !own.is_empty() => format!("; the keys of [{table}] are {}", own.join(", ")),
        _ => format!("; the keys are the flags of comhe {command}"),
    });
    Err(Failure::place(path, format_args!("{place}unknown key {:?}{hint}", shown(key))))
}

/// Where a key is looked for: among those of the file itself, or those of its tables.
#[derive(Clone, Copy, PartialEq)]
pub enum Depth {
    Top,
    Within,
}

/// A key as the file has it: in its table, or by itself.
pub fn shown(text: &str, key: &str) -> String {
    let dotted = tables::dotted(key);
    if line_of_path(text, &dotted, Depth::Top).is_some() { dotted } else { key.to_string() }
}

/// The line that sets a key, as a message begins with it.
fn place(text: &str, key: &str, depth: Depth) -> String {
    line_of(text, key, depth).map(|n| format!("line {n}: ")).unwrap_or_default()
}

/// The line that sets a key, from 1 on: in its table, or by itself.
pub fn line_of(text: &str, key: &str, depth: Depth) -> Option<usize> {
    line_of_path(text, &tables::dotted(key), depth).or_else(|| line_of_path(text, key, depth))
}

/// The line that sets a key of a table, written with a dot.
pub fn line_of_path(text: &str, path: &str, depth: Depth) -> Option<usize> {
    let file = DeTable::parse(text).ok()?;
    let path: Vec<&str> = path.split('.').collect();
    let place = match depth {
        Depth::Top => at(file.get_ref(), &path),
        Depth::Within => {
            file.get_ref().iter().filter_map(|(_, value)| place_of(value.get_ref(), &path)).min()
        }
    };
    Some(text[..place?].matches('\n').count() + 1)
}

/// Where a key of a table begins.
fn at(table: &DeTable, path: &[&str]) -> Option<usize> {
    let (first, rest) = path.split_first()?;
    let (name, value) = table.iter().find(|(name, _)| name.get_ref() == first)?;
    match (rest, value.get_ref()) {
        ([], _) => Some(name.span().start),
        (_, DeValue::Table(table)) => at(table, rest),
        _ => None,
    }
}

/// Where a key begins, in a table or one within it.
fn place_of(value: &DeValue, path: &[&str]) -> Option<usize> {
    match value {
        DeValue::Table(table) => {
            let within = table.iter().filter_map(|(_, value)| place_of(value.get_ref(), path));
            at(table, path).into_iter().chain(within).min()
        }
        DeValue::Array(values) => values.iter().filter_map(|value| place_of(value.get_ref(), path)).min(),
        _ => None,
    }
}
