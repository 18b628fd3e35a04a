//! The files that a run is a function of, with their SHA-256.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, Serializer};

use super::Trained;
use crate::config::Config;
use crate::data;
use crate::failure::Failure;
use crate::hash::{sha256, sha256_of_file};

/// With more files than this, those of a folder share one entry.
const EACH: usize = 1000;

/// A file, or the files of a folder together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// As the run found it, for the reader: a name that is no UTF-8 is only nearly right.
    #[serde(serialize_with = "lossy")]
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// Its hash; of a folder: that of the lines "HASH  NAME" of its files.
    pub sha256: String,
    /// How many files a folder has.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub files: Option<usize>,
}

/// What a run reads.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Inputs {
    /// The data set's files; none if it is embedded or drawn.
    pub data: Vec<Input>,
    /// The initial weights, if they come from a file.
    pub init: Option<Input>,
    /// The weights of the teachers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub teachers: Vec<Input>,
}

impl Inputs {
    /// Reads and hashes the files of the settings.
    pub fn of(config: &Config) -> Result<Inputs, Failure> {
        let data = datasets::sources(&config.dataset, &data::options(config))?;
        let data = data.iter().map(|path| file(path)).collect::<Result<Vec<_>, _>>()?;
        let init = config.init.as_deref().map(file).transpose()?;
        let teacher = |path: &PathBuf| file(&Trained::find(path)?.file);
        let teachers = config.teacher.iter().map(teacher).collect::<Result<_, _>>()?;
        Ok(Inputs { data: if data.len() > EACH { by_folder(data) } else { data }, init, teachers })
    }

    /// Reads and hashes these files.
    pub fn of_files(data: &[PathBuf]) -> Result<Inputs, Failure> {
        let data = data.iter().map(|path| file(path)).collect::<Result<_, _>>()?;
        Ok(Inputs { data, ..Inputs::default() })
    }

    /// Whether the files are those that they were `then`; the first that is not is named.
    pub fn check(&self, then: &Inputs) -> Result<(), Failure> {
        if self.data.len() != then.data.len() {
            return Err(Failure::usage(format_args!(
                "the data have changed since the run began: they are {} files, and were {}",
                self.data.len(),
                then.data.len()
            )));
        }
        let weights = self.init.iter().zip(&then.init).chain(self.teachers.iter().zip(&then.teachers));
        let pairs = self.data.iter().zip(&then.data).chain(weights);
        for (now, then) in pairs {
            if now.sha256 != then.sha256 {
                return Err(Failure::place(
                    &now.path,
                    format_args!(
                        "has changed since the run began: its SHA-256 is {}, and was {}",
                        now.sha256, then.sha256
                    ),
                ));
            }
        }
        Ok(())
    }
}

fn lossy<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

fn file(path: &Path) -> Result<Input, Failure> {
    let (sha256, bytes) =
        sha256_of_file(path).map_err(|e| Failure::place(path, format_args!("cannot be read: {e}")))?;
    Ok(Input { path: path.to_path_buf(), bytes, sha256, files: None })
}

fn by_folder(files: Vec<Input>) -> Vec<Input> {
    let mut folders: BTreeMap<PathBuf, Vec<Input>> = BTreeMap::new();
    for input in files {
        folders.entry(input.path.parent().unwrap_or(Path::new("")).to_path_buf()).or_default().push(input);
    }
    let entry = |(path, files): (PathBuf, Vec<Input>)| {
        let line = |f: &Input| {
            format!("{}  {}\n", f.sha256, f.path.file_name().unwrap_or_default().to_string_lossy())
        };
        let lines: String = files.iter().map(line).collect();
        let bytes = files.iter().map(|f| f.bytes).sum();
        Input { path, bytes, sha256: sha256(lines.as_bytes()), files: Some(files.len()) }
    };
    folders.into_iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_files_share_an_entry_a_folder() {
        let input =
            |path: &str, sum: &str| Input { path: path.into(), bytes: 2, sha256: sum.into(), files: None };
        let folders = by_folder(vec![input("a/1", "x"), input("b/1", "y"), input("a/2", "z")]);
        assert_eq!(folders.len(), 2);
        assert_eq!((folders[0].files, folders[0].bytes), (Some(2), 4));
        assert_eq!(folders[0].sha256, sha256(b"x  1\nz  2\n"));
    }
}
