//! What each setting belongs to. A setting's class is that of its heading in `--help`; the name that decides whether it
//! has an effect is found in the tables of names.

use std::sync::LazyLock;

use clap::Args;
use comhe::REGULARISERS;
use datasets::catalogue::{CATALOGUE, Known};
use registry::{Row, Setting};

use super::choice::rows;
use super::{Config, meta};

/// What changes when a setting does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The weights of a step.
    Weights,
    /// The number of steps.
    Length,
    /// Only where and how fast a run is made.
    Machine,
    /// Only what is written about a run, and how often.
    Log,
}

/// A heading of `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Data,
    TrainingData,
    Network,
    Regulariser,
    Loss,
    Penalties,
    Method,
    Attack,
    Optimiser,
    Run,
    Length,
    Machine,
    Log,
}

impl Part {
    fn of_heading(heading: &str) -> Option<Part> {
        Some(match heading {
            "Data" => Part::Data,
            "Training data" => Part::TrainingData,
            "Network" => Part::Network,
            "Regulariser" => Part::Regulariser,
            "Loss" => Part::Loss,
            "Penalties" => Part::Penalties,
            "Method" => Part::Method,
            "Attack" => Part::Attack,
            "Optimiser" => Part::Optimiser,
            "Run" => Part::Run,
            "Length" => Part::Length,
            "Machine" => Part::Machine,
            "Log" => Part::Log,
            _ => return None,
        })
    }

    /// What its settings change.
    pub fn class(self) -> Class {
        match self {
            Part::Length => Class::Length,
            Part::Machine => Class::Machine,
            Part::Log => Class::Log,
            _ => Class::Weights,
        }
    }
}

/// Every setting with its part, in the order of `--help`.
static SETTINGS: LazyLock<Vec<(String, Part)>> = LazyLock::new(|| {
    let command = Config::augment_args(clap::Command::new("settings"));
    let part = |arg: &clap::Arg| {
        arg.get_help_heading().and_then(Part::of_heading).expect("every setting has the heading of a part")
    };
    command.get_arguments().map(|arg| (arg.get_id().as_str().replace('_', "-"), part(arg))).collect()
});

/// Every key that a file may have.
pub fn keys() -> Vec<&'static str> {
    SETTINGS.iter().map(|(key, _)| key.as_str()).collect()
}

/// The part of a setting; `None` for a flag of one command.
pub fn part(key: &str) -> Option<Part> {
    SETTINGS.iter().find(|(known, _)| known == key).map(|(_, part)| *part)
}

/// Whether there is a setting of this key, of whatever command.
pub fn is_setting(key: &str) -> bool {
    part(key).is_some() || meta::KEYS.iter().any(|known| known == key)
}

/// The settings of some classes.
pub fn of_classes(classes: &[Class]) -> Vec<&'static str> {
    let of = |(key, part): &'static (String, Part)| classes.contains(&part.class()).then_some(key.as_str());
    SETTINGS.iter().filter_map(of).collect()
}

/// The settings that a command reads: those of some parts, with exceptions.
pub struct Reads {
    pub parts: &'static [Part],
    pub and: &'static [&'static str],
    pub without: &'static [&'static str],
}

impl Reads {
    /// Whether the command reads a setting. Its own flags are no settings, and count as read.
    pub fn has(&self, key: &str) -> bool {
        let Some(part) = part(key) else { return true };
        self.and.contains(&key) || self.parts.contains(&part) && !self.without.contains(&key)
    }

    /// The first flag that has no effect.
    pub fn first_unread<'a>(&self, given: &'a [String]) -> Option<&'a String> {
        given.iter().find(|key| !self.has(key))
    }

    /// The settings that it reads, as flags.
    pub fn flags(&self) -> String {
        let flags = keys().into_iter().filter(|key| self.has(key)).map(|key| format!("--{key}"));
        flags.collect::<Vec<_>>().join(", ")
    }
}

/// Names that are chosen from a table, with the setting that chooses.
pub struct Kind {
    pub key: &'static str,
    /// What the flags of its settings begin with.
    pub prefix: &'static str,
    pub rows: Vec<Row<()>>,
    /// Whether its settings are a table in a file.
    pub table: bool,
}

const CONV: [Setting; 1] = [Setting::new("conv")];
const MILESTONES: [Setting; 1] = [Setting::new("milestones")];

/// Every kind of name on which other settings depend.
pub static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(|| {
    let of = |key, prefix, rows| Kind { key, prefix, rows, table: true };
    let choice = |key, name, settings| {
        let rows = vec![Row { name, help: "", settings, make: () }];
        Kind { key, prefix: key, rows, table: false }
    };
    vec![
        of("reg", "reg", rows(REGULARISERS)),
        of("loss", "loss", rows(nn::LOSSES)),
        of("method", "method", rows(nn::METHODS)),
        of("attack", "attack", rows(nn::ATTACKS)),
        of("input-penalty", "input", rows(nn::PENALTIES)),
        of("spectral", "spectral", rows(nn::SPECTRAL)),
        of("optimizer", "optimizer", rows(nn::OPTIMIZERS)),
        of("noise", "noise", rows(nn::meta::NOISES)),
        Kind { key: "task", prefix: "task", rows: rows(datasets::TASKS), table: false },
        Kind { key: "dataset", prefix: "dataset", rows: datasets(), table: false },
        Kind { key: "model", prefix: "model", rows: rows(nn::models::MODELS), table: false },
        choice("dtype", "f32", &CONV),
        choice("schedule", "step", &MILESTONES),
    ]
});

/// Whether a setting is read only beside some names.
pub fn is_conditional(key: &str) -> bool {
    KINDS.iter().any(|kind| !kind.readers(key).is_empty())
}

/// The data sets as rows.
pub fn datasets() -> Vec<Row<()>> {
    let rows = |known: &'static Known| {
        let names = [known.name].into_iter().chain(known.also.iter().copied());
        names.map(|name| Row { name, help: known.about, settings: known.settings, make: () })
    };
    CATALOGUE.iter().flat_map(rows).collect()
}

impl Kind {
    /// The key of a row's setting among all settings: with the prefix where there is such a key.
    pub fn flat(&self, key: &str) -> String {
        let long = format!("{}-{key}", self.prefix);
        if !is_setting(&long) && self.rows.iter().any(|row| row.reads(key)) { key.into() } else { long }
    }

    /// The rows that read a setting, with the condition under which they do.
    pub fn readers(&self, key: &str) -> Vec<(&'static str, Setting)> {
        let reads = |row: &Row<()>| {
            let setting = row.settings.iter().find(|setting| self.flat(setting.key) == key)?;
            Some((row.name, *setting))
        };
        self.rows.iter().filter_map(reads).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_follow_from_headings() {
        assert_eq!(of_classes(&[Class::Length]), ["steps", "epochs"]);
        assert_eq!(of_classes(&[Class::Machine]), ["data-dir", "threads"]);
        let log = ["eval-every", "energy-every", "watch", "watch-every", "checkpoint-every", "tensorboard"];
        assert_eq!(of_classes(&[Class::Log]), log);
        assert_eq!(part("reg-k"), Some(Part::Regulariser));
        assert_eq!(part("resume"), None);
    }

    #[test]
    fn a_command_reads_its_parts_with_exceptions() {
        let reads = Reads { parts: &[Part::Network], and: &["seed"], without: &["init"] };
        assert_eq!(reads.flags(), "--model, --width, --low-rank, --dtype, --conv, --seed");
        let given = ["json", "model", "init"].map(String::from);
        assert_eq!(reads.first_unread(&given), Some(&given[2]));
    }
}
