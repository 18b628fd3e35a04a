//! What is said about a TOML file that cannot be used: the line, and the key that was probably meant.

use std::path::Path;

use crate::failure::Failure;

/// A mistake that the reader of a file found, with its line.
pub fn wrong(text: &str, path: &Path, error: &toml::de::Error) -> Failure {
    let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
    let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
    Failure::place(path, format_args!("{place}{}", error.message()))
}

/// Refuses keys that are not among the known ones.
pub fn known<'a>(
    mut keys: impl Iterator<Item = &'a String>,
    known: &[String],
    text: &str,
    path: &Path,
) -> Result<(), Failure> {
    let Some(key) = keys.find(|key| !known.contains(key)) else { return Ok(()) };
    let names: Vec<&str> = known.iter().map(String::as_str).collect();
    let hint = datasets::suggest(key, &names).map(|name| format!("; did you mean {name}?"));
    let place = line_of(text, key).map(|n| format!("line {n}: ")).unwrap_or_default();
    let hint = hint.unwrap_or_else(|| match known.len() {
        ..=12 => format!("; the keys here are {}", names.join(", ")),
        _ => "; the keys are the flags of comhe train".into(),
    });
    Err(Failure::place(path, format_args!("{place}unknown key {key:?}{hint}")))
}

/// The line that sets a key, from 1 on.
pub fn line_of(text: &str, key: &str) -> Option<usize> {
    let sets = |line: &str| {
        let line = line.trim_start().trim_start_matches('[');
        line.strip_prefix(key)
            .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '-'))
    };
    text.lines().position(sets).map(|n| n + 1)
}
