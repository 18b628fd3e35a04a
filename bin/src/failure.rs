//! What ends a command early: one line for the user, and an exit code.

use std::fmt::Display;
use std::path::Path;

/// Why a command did not succeed.
#[derive(Debug, PartialEq)]
pub enum Failure {
    /// Wrong usage or unusable input: exit code 2.
    Usage(String),
    /// A check failed, or a run could not finish: exit code 1.
    Unfinished(String),
    /// Nobody reads the output any more (`comhe ... | head`): exit code 1, without a word.
    Closed,
}

impl Failure {
    /// Wrong usage or unusable input.
    pub fn usage(text: impl Display) -> Failure {
        Failure::Usage(one_line(text))
    }

    /// A check that failed, or a run that could not finish.
    pub fn unfinished(text: impl Display) -> Failure {
        Failure::Unfinished(one_line(text))
    }

    /// A file or folder that cannot be used: where, and why.
    pub fn place(path: &Path, problem: impl Display) -> Failure {
        Failure::usage(format_args!("{}: {problem}", path.display()))
    }

    /// The same failure, met when the work had begun: no longer a matter of usage.
    pub fn mid_run(self) -> Failure {
        match self {
            Failure::Usage(text) => Failure::Unfinished(text),
            other => other,
        }
    }

    /// The process's exit code.
    pub fn code(&self) -> u8 {
        if matches!(self, Failure::Usage(_)) { 2 } else { 1 }
    }

    /// The line for the user, if there is one.
    pub fn message(&self) -> Option<&str> {
        match self {
            Failure::Usage(text) | Failure::Unfinished(text) => Some(text),
            Failure::Closed => None,
        }
    }
}

/// Names as a choice: "a, b or c".
pub fn one_of<S: AsRef<str>>(names: &[S]) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    match names.split_last() {
        Some((last, [])) => last.to_string(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// Lines joined into one.
fn one_line(text: impl Display) -> String {
    let text = text.to_string();
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

impl From<datasets::Error> for Failure {
    fn from(error: datasets::Error) -> Failure {
        Failure::usage(error)
    }
}

impl From<comhe::Error> for Failure {
    fn from(error: comhe::Error) -> Failure {
        Failure::usage(error)
    }
}

impl From<nn::Error> for Failure {
    fn from(error: nn::Error) -> Failure {
        match error {
            nn::Error::NotFinite { .. } | nn::Error::Overflow { .. } | nn::Error::NoGradient { .. } => {
                Failure::unfinished(error)
            }
            _ => Failure::usage(error),
        }
    }
}

/// A clap error as one line: what is wrong, what was probably meant, where to read more.
///
/// `Ok` holds the text that was asked for (help, version).
pub fn from_clap(error: &clap::Error) -> Result<String, Failure> {
    use clap::error::ErrorKind::*;
    let text = error.render().to_string();
    if matches!(error.kind(), DisplayHelp | DisplayVersion) {
        return Ok(text);
    }
    if error.kind() == DisplayHelpOnMissingArgumentOrSubcommand {
        return Err(Failure::usage("no command given; see comhe --help"));
    }
    let mut parts: Vec<String> = Vec::new();
    for line in text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:")) {
        if let Some(what) = line.strip_prefix("error: ") {
            parts.push(what.to_string());
        } else if let Some(tip) = line.strip_prefix("tip: ") {
            parts.push(format!("; {tip}"));
        } else if !line.is_empty() && !line.starts_with("For more information") {
            parts.push(format!(" {line}"));
        }
    }
    let text = parts.concat().replace("invalid digit found in string", "a natural number is needed");
    Err(Failure::usage(format_args!("{text}; see --help")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_single_lines() {
        assert_eq!(Failure::usage("a\n  b\n").message(), Some("a b"));
        assert_eq!(
            (Failure::usage("").code(), Failure::unfinished("").code(), Failure::Closed.code()),
            (2, 1, 1)
        );
        assert_eq!(Failure::usage("x").mid_run(), Failure::unfinished("x"));
        assert_eq!(Failure::place(Path::new("f"), "is a folder").message(), Some("f: is a folder"));
    }

    #[test]
    fn clap_errors_are_one_line_with_the_suggestion() {
        let command = || {
            clap::Command::new("t")
                .arg(clap::arg!(--rate <R>))
                .arg(clap::arg!(--kind <K>).value_parser(["sum", "mean"]))
        };
        let line =
            |arguments: &[&str]| match from_clap(&command().try_get_matches_from(arguments).unwrap_err()) {
                Err(Failure::Usage(line)) => line,
                other => panic!("{other:?}"),
            };
        let unknown = line(&["t", "--rat", "1"]);
        assert!(unknown.contains("unexpected argument '--rat'") && unknown.contains("'--rate'"), "{unknown}");
        let value = line(&["t", "--kind", "maen"]);
        assert!(value.contains("invalid value 'maen'") && value.contains("'mean'"), "{value}");
        assert!(line(&["t", "--rate"]).contains("value is required"));
        assert!(from_clap(&command().try_get_matches_from(["t", "--help"]).unwrap_err()).is_ok());
    }
}
