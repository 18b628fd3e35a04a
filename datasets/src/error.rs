//! The one error type: a single line that says what is wrong, where, and what would be right.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What went wrong, roughly: for programs that treat an absent data set in another way than a broken one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The files of a known data set are not there.
    Missing,
    /// A file is there but cannot be used: foreign, truncated, out of range.
    Unusable,
    /// An option or a name makes no sense.
    Usage,
}

/// Why a data set could not be had. `Display` is one line.
#[derive(Clone, Debug)]
pub struct Error {
    kind: Kind,
    place: Option<PathBuf>,
    message: String,
}

impl Error {
    /// A file that cannot be used; `place` is its path, the message says where in it.
    pub(crate) fn unusable(place: &Path, message: impl fmt::Display) -> Error {
        Error { kind: Kind::Unusable, place: Some(place.to_owned()), message: one_line(message) }
    }

    /// An operating-system error while doing `what` ("open", "read") with the file.
    pub(crate) fn io(place: &Path, what: &str, error: &io::Error) -> Error {
        Error::unusable(place, format_args!("cannot {what} it: {error}"))
    }

    /// A name or an option that makes no sense.
    pub(crate) fn usage(message: impl fmt::Display) -> Error {
        Error { kind: Kind::Usage, place: None, message: one_line(message) }
    }

    /// A data set whose files are not there.
    pub(crate) fn missing(message: impl fmt::Display) -> Error {
        Error { kind: Kind::Missing, place: None, message: one_line(message) }
    }

    /// What went wrong, roughly.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The file, where there is one.
    pub fn path(&self) -> Option<&Path> {
        self.place.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{}: {}", one_line(place.display()), self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Error {}

/// Messages of other crates, and file names, may hold line breaks.
fn one_line(message: impl fmt::Display) -> String {
    message
        .to_string()
        .split(['\n', '\r'])
        .map(str::trim)
        .filter(|s| !s.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_with_the_place_first() {
        let e = Error::unusable(Path::new("a\nb"), "broken\n  here");
        assert_eq!(e.to_string(), "a b: broken here");
        assert_eq!((e.kind(), e.path()), (Kind::Unusable, Some(Path::new("a\nb"))));
        assert_eq!(Error::usage("bad").to_string(), "bad");
    }
}
