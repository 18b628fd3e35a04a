//! What the settings of all commands have in common: each is a flag, a key of a file and an assignment.

use std::path::Path;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command};
use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::tables;
use crate::failure::Failure;

/// The settings of a command.
pub trait Settings: Args + Clone + Default + Serialize + DeserializeOwned {
    /// The command whose flags they are.
    const COMMAND: &'static str;

    /// The settings that are paths, as far as they are given.
    fn paths(&self) -> Vec<(&'static str, &Path)>;

    /// Checks what does not depend on files.
    fn check(&self) -> Result<(), Failure>;

    /// Checks that every setting among `given` has an effect beside the others.
    fn check_effects(&self, given: &[String]) -> Result<(), Failure>;

    /// The settings that may change when a run resumes.
    fn changeable() -> Vec<&'static str>;

    /// What a name among these settings stands for, as a preset does; they are above it.
    fn below(_: &Table) -> Result<Table, String> {
        Ok(Table::new())
    }
}

/// The flags of some settings.
fn flags<S: Settings>() -> Command {
    S::augment_args(Command::new("settings").no_binary_name(true))
}

/// The key of a flag.
fn key(arg: &Arg) -> String {
    arg.get_id().as_str().replace('_', "-")
}

/// Every key that a file may have.
pub fn keys<S: Settings>() -> Vec<String> {
    flags::<S>().get_arguments().map(key).collect()
}

/// What an empty command line gives.
pub fn defaults<S: Settings>() -> S {
    let matches = flags::<S>().get_matches_from(std::iter::empty::<&str>());
    S::from_arg_matches(&matches).expect("the defaults parse")
}

/// What the settings are by default, as TOML values; one that is not there has none.
pub fn table_of_defaults<S: Settings>() -> Table {
    let text = |arg: &Arg| Some(Value::from(arg.get_default_values().first()?.to_str()?));
    flags::<S>().get_arguments().filter_map(|arg| Some((key(arg), text(arg)?))).collect()
}

/// The settings given as flags, by their keys.
pub fn given(matches: &ArgMatches) -> Vec<String> {
    let on_line = |id: &&clap::Id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
    matches.ids().filter(on_line).map(|id| id.as_str().replace('_', "-")).collect()
}

/// The settings as TOML values, whose whole numbers are signed.
pub fn table<S: Settings>(settings: &S) -> Result<Table, Failure> {
    for (key, path) in settings.paths() {
        if path.to_str().is_none() {
            return Err(Failure::place(
                path,
                format_args!("--{key} takes a path in UTF-8, and this is none; rename it"),
            ));
        }
    }
    Table::try_from(settings)
        .map_err(|_| Failure::usage(format_args!("a number is too large; it can be at most {}", i64::MAX)))
}

/// The settings as a file.
pub fn to_toml<S: Settings>(settings: &S) -> Result<String, Failure> {
    Ok(toml::to_string(&tables::nested(table(settings)?)).expect("a table of plain values"))
}
