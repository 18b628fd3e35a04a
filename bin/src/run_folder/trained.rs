//! Trained weights on disk: the one way from a run folder, or a file, to settings, tensors and a network.

use std::path::{Path, PathBuf};

use nn::binary::Packed;
use nn::{Archive, Model};

use super::checkpoints::{self, CHECKPOINT, PREVIOUS, load};
use super::inputs::Inputs;
use super::{CONFIG, FINAL, manifest, origin};
use crate::config::Config;
use crate::config::kinds::{self, Part};
use crate::failure::Failure;
use crate::hash::sha256_of_file;
use crate::setup;

/// A file of weights, and the folder that it lies in, whose settings count if it is that of a run.
pub struct Trained {
    /// The file.
    pub file: PathBuf,
    /// Its folder.
    pub folder: PathBuf,
}

impl Trained {
    /// The last weights of a run folder, or a file as it is.
    pub fn find(path: &Path) -> Result<Trained, Failure> {
        if !path.exists() {
            return Err(Failure::place(path, "does not exist; a run folder or a file of weights is needed"));
        }
        if !path.is_dir() {
            let folder = path.parent().unwrap_or(Path::new(""));
            return Ok(Trained { file: path.into(), folder: folder.into() });
        }
        manifest::is_run(path)?;
        let files = [FINAL, CHECKPOINT, PREVIOUS].map(|name| path.join(name));
        match files.into_iter().find(|file| file.is_file()) {
            Some(file) => Ok(Trained { file, folder: path.into() }),
            None => Err(Failure::place(
                path,
                format_args!(
                    "has no weights yet, neither {FINAL} nor {CHECKPOINT}; resume it with: comhe train --resume {}",
                    path.display()
                ),
            )),
        }
    }

    /// Whether they are those of a run that came to its end.
    pub fn is_final(&self) -> bool {
        self.file.file_name().is_some_and(|name| name == FINAL)
    }

    /// The settings of the run that they belong to, with paths as seen from here; the defaults if they are in no run
    /// folder.
    pub fn settings(&self) -> Result<Config, Failure> {
        if !self.folder.join(CONFIG).is_file() {
            return Ok(Config::default());
        }
        let config = settings(&self.folder)?;
        Ok(match manifest::any(&self.folder) {
            Some(manifest) => origin::right_here(&config, &manifest),
            None => config,
        })
    }

    /// Checks that the data of the run have not changed since, unless the user names the data (`given`).
    pub fn check_data(&self, config: &Config, given: &[String]) -> Result<(), Failure> {
        let named = given.iter().any(|key| key == "dataset" || key == "data-dir");
        let then = manifest::any(&self.folder).filter(|_| !named);
        let Some(then) = then.and_then(|manifest| manifest::inputs(&manifest, &self.folder).ok()) else {
            return Ok(());
        };
        let then = Inputs { data: then.data, ..Inputs::default() };
        let now = Inputs::of(&Config { init: None, teacher: Vec::new(), ..config.clone() })?;
        now.check(&then).map_err(|failure| {
            let message = failure.message().unwrap_or_default();
            Failure::usage(format_args!("{message}; name the data with --dataset to use them as they are"))
        })
    }

    /// The tensors, after every checksum that is known of the file: one that it carries, and that of the manifest.
    pub fn archive(&self) -> Result<Archive, Failure> {
        let archive = load(&self.file)?;
        if let (true, Some(wrote)) = (self.is_final(), manifest::final_hash(&self.folder)) {
            let (found, _) = sha256_of_file(&self.file).map_err(|e| super::unread(&self.file, &e))?;
            if found != wrote {
                return Err(Failure::place(&self.file, not_as_written(&found, &wrote)));
            }
        }
        Ok(archive)
    }

    /// The network of the settings, for images of a shape, with these weights; of an export the packed network itself.
    pub fn network(&self, shape: [usize; 3], classes: usize, config: &Config) -> Result<Model, Failure> {
        if let Some(packed) = self.packed()? {
            let (input, known) = (packed.input, packed.classes);
            if (input, known) == (shape, classes) {
                return Ok(packed);
            }
            return Err(Failure::place(
                &self.file,
                format_args!(
                    "is a network for images {input:?} in {known} classes; the data have {shape:?} and {classes}"
                ),
            ));
        }
        let archive = self.archive()?;
        let mut model = setup::model_of(shape, classes, config)?;
        setup::load_weights(&mut model, archive, &self.file)?;
        Ok(model)
    }
}

impl Trained {
    /// Refuses an export where real weights are needed.
    pub fn refuse_packed(&self) -> Result<(), Failure> {
        match self.packed()? {
            None => Ok(()),
            Some(_) => Err(Failure::place(&self.file, checkpoints::PACKED)),
        }
    }

    /// Refuses settings of the network (`given`) beside an export, which holds its own.
    pub fn check_network(&self, given: &[String]) -> Result<(), Failure> {
        let of_network = given.iter().find(|key| kinds::part(key) == Some(Part::Network));
        match of_network.filter(|_| self.packed().is_ok_and(|packed| packed.is_some())) {
            None => Ok(()),
            Some(key) => Err(Failure::usage(format_args!(
                "--{key} has no effect beside {}: an export holds its network",
                self.file.display()
            ))),
        }
    }

    /// The network of a file that `comhe export` wrote.
    fn packed(&self) -> Result<Option<Model>, Failure> {
        let bytes = std::fs::read(&self.file).map_err(|e| super::unread(&self.file, &e))?;
        match Packed::is_packed(&bytes) {
            true => Ok(Some(Packed::load(&self.file)?.into_model()?)),
            false => Ok(None),
        }
    }
}

/// What is said of final weights with another hash than that of the manifest.
pub fn not_as_written(found: &str, wrote: &str) -> String {
    format!(
        "is damaged, or not what the run wrote: its SHA-256 is {found}, and was {wrote}; {CHECKPOINT} beside it has the \
         same weights with a checksum of its own"
    )
}

/// The settings of the run in a folder.
pub fn settings(folder: &Path) -> Result<Config, Failure> {
    manifest::is_run(folder)?;
    let told = |failure: Failure| match (manifest::other_version(folder), failure.message()) {
        (Some(other), Some(message)) => Failure::usage(format_args!("{message}; the run is of {other}")),
        _ => failure,
    };
    Config::load(&folder.join(CONFIG)).map_err(told)
}
