//! The layers of a configuration, and which of them each value comes from.

use std::path::PathBuf;

use clap::{ArgMatches, Args};
use toml::{Table, Value};

use super::file::{self, Depth};
use super::kinds::{KINDS, Kind};
use super::{Config, Settings, given, preset, settings, table, tables};
use crate::failure::Failure;

/// What lies between the defaults and the flags: a file, and assignments.
#[derive(Args, Clone, Debug, Default)]
#[group(skip)]
pub struct Layers {
    /// Take settings from this file; flags win
    #[arg(long = "config", value_name = "FILE.toml")]
    file: Option<PathBuf>,
    /// A setting by its key, as --KEY VALUE, and false for a switch, or by its key in a file (optimizer.name=adam); can be repeated
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Run")]
    set: Vec<String>,
}

impl Config {
    /// This configuration with every setting replaced that was given as a flag, each of which must have an effect.
    pub fn with_flags(self, flags: &Config, matches: &ArgMatches) -> Result<Config, Failure> {
        let given = given(matches);
        let own = table(flags)?.into_iter().filter(|(key, _)| given.contains(key)).collect();
        self.with(own, &given)
    }

    /// This configuration with these settings above it, each of which must have an effect.
    pub fn with(self, own: Table, given: &[String]) -> Result<Config, Failure> {
        with(self, own, given)
    }
}

/// Settings with others above them, each of which must have an effect.
pub fn with<S: Settings>(base: S, own: Table, given: &[String]) -> Result<S, Failure> {
    let mut settings = table(&base)?;
    if given.iter().any(|key| key == "steps" || key == "epochs") {
        settings.remove("steps");
        settings.remove("epochs");
    }
    let below = S::below(&own).map_err(Failure::usage)?;
    let chosen = |kind: &&Kind| {
        let other = below.get(kind.key);
        other.is_some() && own.get(kind.key).is_some_and(|own| Some(own) != other)
    };
    if let Some(Kind { key, .. }) = KINDS.iter().find(chosen) {
        return Err(Failure::usage(format_args!(
            "--preset {} is of --{key} {}, and --{key} is {}; leave one out",
            own["preset"].as_str().unwrap_or_default(),
            below[*key].as_str().unwrap_or_default(),
            own[*key].as_str().unwrap_or_default()
        )));
    }
    settings.extend(below);
    settings.extend(own);
    let settings: S = settings.try_into().map_err(Failure::usage)?;
    settings.check_effects(given)?;
    Ok(settings)
}

impl Layers {
    /// The assignments as a table.
    fn assigned<S: Settings>(&self) -> Result<Table, Failure> {
        let mut table = Table::new();
        let known = settings::keys::<S>();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        for text in &self.set {
            let Some((key, value)) = text.split_once('=') else {
                return Err(Failure::usage(format_args!(
                    "--set {text} has no =; it takes KEY=VALUE, as lr=0.1"
                )));
            };
            let key = tables::flat_key(key.trim());
            if !known.contains(&key.as_str()) {
                let near = tables::nearest(&key, &known).map(|name| format!("; did you mean {name}?"));
                let hint =
                    near.unwrap_or_else(|| format!("; the settings are the flags of comhe {}", S::COMMAND));
                return Err(Failure::usage(format_args!("--set {text}: there is no setting {key:?}{hint}")));
            }
            let read = reading::<S>(&key, value);
            if table.insert(key.clone(), read).is_some() {
                return Err(Failure::usage(format_args!("--set gives {key} twice")));
            }
        }
        // A single wrong value should name its assignment.
        match file::wrong_value::<S>(&table) {
            Some((key, value, what)) => Err(Failure::usage(format_args!("--set {key}={value}: {what}"))),
            None => Ok(table),
        }
    }

    /// The settings of the file, if there is one, with assignments and flags above it: checked.
    pub fn resolve<S: Settings>(&self, flags: &S, matches: &ArgMatches) -> Result<S, Failure> {
        let read = self.file.as_deref().map(|path| file::read::<S>(path).map(|read| (path, read)));
        let read = read.transpose()?;
        let base = read.as_ref().map_or_else(S::default, |(_, (settings, _))| settings.clone());
        let (own, given) = self.own(flags, matches)?;
        let settings = with(base, own, &given)?;
        settings.check().map_err(|failure| self.placed(failure, &given))?;
        if let Some((path, (_, old))) = read {
            file::note_old(path, &old);
        }
        Ok(settings)
    }

    /// The message about a setting, with file and line if the value is from the file.
    fn placed(&self, failure: Failure, given: &[String]) -> Failure {
        let place = || {
            let said = failure.message()?.strip_prefix("--")?;
            let (path, key) = (self.file.as_deref()?, said.split(' ').next()?);
            let text = std::fs::read_to_string(path).ok()?;
            let line = file::line_of(&text, key, Depth::Top)?;
            let dotted = tables::dotted(key);
            let in_table = file::line_of_path(&text, &dotted, Depth::Top).is_some();
            let shown = if in_table { said.replacen(key, &dotted, 1) } else { said.to_string() };
            let own = !given.iter().any(|name| name == key);
            own.then(|| Failure::place(path, format_args!("line {line}: {shown}")))
        };
        place().unwrap_or(failure)
    }

    /// The assignments and flags, and the names of all that were given.
    pub fn own<S: Settings>(&self, flags: &S, matches: &ArgMatches) -> Result<(Table, Vec<String>), Failure> {
        let mut own = self.assigned::<S>()?;
        let mut keys = given(matches);
        if let Some(key) = own.keys().find(|key| keys.contains(key)) {
            return Err(Failure::usage(format_args!(
                "--{key} and --set {key}=... both say {key}; leave one out"
            )));
        }
        let of_flags = table(flags)?.into_iter().filter(|(key, _)| keys.contains(key)).collect::<Table>();
        keys.extend(own.keys().cloned());
        own.extend(of_flags);
        Ok((own, keys))
    }

    /// Every setting of [`resolve`](Self::resolve), with those that follow from others, and where it comes from.
    pub fn origins(
        &self,
        flags: &Config,
        matches: &ArgMatches,
    ) -> Result<Vec<(String, Value, String)>, Failure> {
        let config = self.resolve(flags, matches)?;
        let (assigned, flags_given) = (self.assigned::<Config>()?, given(matches));
        let text = self
            .file
            .as_ref()
            .map(std::fs::read_to_string)
            .transpose()
            .unwrap_or_default()
            .unwrap_or_default();
        let in_file = tables::flat(toml::from_str(&text).unwrap_or_default(), |_| false);
        let in_file = in_file.unwrap_or_default().0;
        let named = |table: &Table| table.get("preset").and_then(Value::as_str).map(String::from);
        let above = match flags_given.iter().any(|key| key == "preset") {
            true => flags.preset.clone(),
            false => named(&assigned),
        };
        let sets = |name: &Option<String>, key: &str| {
            name.as_ref()
                .and_then(|name| preset(name).ok())
                .is_some_and(|settings| settings.contains_key(key))
        };
        let below = named(&in_file);
        let origin = |key: &str| match () {
            () if flags_given.iter().any(|k| k == key) => "flag".to_string(),
            () if assigned.contains_key(key) => "--set".into(),
            () if sets(&above, key) => format!("preset {}", above.as_deref().unwrap_or_default()),
            () if in_file.contains_key(key) => {
                let place = self.file.as_ref().map(|p| p.display().to_string()).unwrap_or_default();
                let line = file::line_of(&text, key, Depth::Top).map(|n| format!(":{n}")).unwrap_or_default();
                format!("{place}{line}")
            }
            () if sets(&below, key) => format!("preset {}", below.as_deref().unwrap_or_default()),
            () => "default".into(),
        };
        let settled = table(&config.settled())?;
        Ok(settled.into_iter().map(|(key, value)| (key.clone(), value, origin(&key))).collect())
    }
}

/// What an assignment says of a key: a value as TOML has it, a list without its brackets, a text or a list of texts
/// without quotation marks, whichever the key can have.
fn reading<S: Settings>(key: &str, value: &str) -> Value {
    let toml = |value: &str| {
        let mut table: Table = toml::from_str(&format!("v = {value}")).ok()?;
        table.remove("v").filter(|_| table.is_empty())
    };
    let text = |text: &str| Value::String(text.to_string());
    let texts = Value::Array(value.split(',').map(|word| text(word.trim())).collect());
    let readings = [toml(value), toml(&format!("[{value}]")), Some(text(value)), Some(texts)];
    let wrong = |value: &Value| {
        let alone: Table = [(key.to_string(), value.clone())].into_iter().collect();
        file::wrong_value::<S>(&alone).map(|(.., what)| what)
    };
    let readings = || readings.iter().flatten();
    readings()
        .find(|value| wrong(value).is_none())
        // No reading can be used: the error is about one that is a list where it must be.
        .or_else(|| readings().find(|value| wrong(value).is_some_and(|what| !what.contains("list"))))
        .map_or_else(|| text(value), Value::clone)
}
