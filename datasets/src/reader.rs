//! From a name to the entry of the catalogue, and to what reads it.

use std::path::{Path, PathBuf};

use crate::catalogue::{CATALOGUE, Known, Origin};
use crate::dataset::Dataset;
use crate::error::Error;
use crate::load::Options;

/// What a data set is read from.
pub(crate) struct Request<'a> {
    /// The name as it was given.
    pub name: &'a str,
    /// What is behind the colon of a name.
    pub path: &'a Path,
    /// The folder that holds data sets.
    pub data_dir: Option<&'a Path>,
    /// The other options.
    pub options: &'a Options,
}

/// How a data set is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader {
    pub load: fn(&Request) -> Result<Dataset, Error>,
    /// The files that `load` reads, in a fixed order.
    pub sources: fn(&Request) -> Result<Vec<PathBuf>, Error>,
}

/// Data that come from no file.
pub(crate) const fn without_files(load: fn(&Request) -> Result<Dataset, Error>) -> Reader {
    Reader { load, sources: |_| Ok(Vec::new()) }
}

impl Known {
    /// The name in front of a colon, if what is behind it is up to the user.
    fn prefix(&self) -> Option<&'static str> {
        self.name.split_once(':').map(|(prefix, _)| prefix)
    }

    /// Whether the data are drawn, so that they depend on [`Options::seed`].
    pub fn drawn(&self) -> bool {
        self.origin == Origin::Generated
    }
}

/// Every name that [`load`](fn@crate::load) knows, as a user would write it.
pub fn names() -> Vec<&'static str> {
    CATALOGUE.iter().flat_map(|known| [known.name].into_iter().chain(known.also.iter().copied())).collect()
}

/// The entry of a name.
///
/// # Errors
/// If there is none, or the name lacks its path.
pub fn find(name: &str) -> Result<&'static Known, Error> {
    let (prefix, path) = name.split_once(':').map_or((name, None), |(prefix, path)| (prefix, Some(path)));
    let named = |known: &&Known| match known.prefix() {
        Some(own) => path.is_some_and(|path| !path.is_empty()) && own == prefix,
        None => known.name == name || known.also.contains(&name),
    };
    if let Some(known) = CATALOGUE.iter().find(named) {
        return Ok(known);
    }
    if path.is_some() && CATALOGUE.iter().any(|known| known.prefix() == Some(prefix)) {
        return Err(Error::usage(format_args!("data set {name:?} lacks its path: write {prefix}:PATH")));
    }
    Err(Error::usage(registry::unknown("data set", name, &names())))
}
