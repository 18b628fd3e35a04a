//! CIFAR-10 and CIFAR-100 in their binary format, from a folder or the .tar.gz as it is downloaded.
//!
//! A record is one label byte (two for CIFAR-100: coarse, then fine), then 1,024 red, 1,024 green and 1,024
//! blue bytes, each plane row-major 32 x 32. Files are records without a header.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::classes;
use crate::dataset::{Dataset, Pixels, Split, Standardisation};
use crate::error::Error;
use crate::files;

const PIXELS: usize = 3 * 32 * 32;

/// Where a variant's files are, and how its records are read.
struct Variant {
    /// Label bytes before the pixels, with the number of classes of each.
    labels: &'static [usize],
    /// Which of them is the label.
    which: usize,
    classes: &'static [&'static str],
    folders: [&'static str; 3],
    archive: &'static str,
    train: &'static [&'static str],
    test: &'static [&'static str],
    /// Files with the first records only of `train` and `test`, if there is such a thing.
    heads: &'static [&'static str],
}

const CIFAR10: Variant = Variant {
    labels: &[10],
    which: 0,
    classes: &classes::CIFAR10,
    folders: ["cifar10", "cifar-10-batches-bin", "cifar10/cifar-10-batches-bin"],
    archive: "cifar-10-binary.tar.gz",
    train: &[
        "data_batch_1.bin",
        "data_batch_2.bin",
        "data_batch_3.bin",
        "data_batch_4.bin",
        "data_batch_5.bin",
    ],
    test: &["test_batch.bin"],
    heads: &[],
};
const CIFAR100: Variant = Variant {
    labels: &[20, 100],
    which: 1,
    classes: &classes::CIFAR100,
    folders: ["cifar100", "cifar-100-binary", "cifar100/cifar-100-binary"],
    archive: "cifar-100-binary.tar.gz",
    train: &["train.bin"],
    test: &["test.bin"],
    heads: &["train_head.bin", "test_head.bin"],
};
const CIFAR100_COARSE: Variant = Variant { which: 0, classes: &classes::CIFAR100_COARSE, ..CIFAR100 };

/// The sizes of the whole sets, train and test.
const WHOLE: [usize; 2] = [50_000, 10_000];

fn variant(name: &str) -> Variant {
    match name {
        "cifar10" => CIFAR10,
        "cifar100" => CIFAR100,
        "cifar100-coarse" => CIFAR100_COARSE,
        _ => unreachable!("a name of the family"),
    }
}

/// The files that [`load`] reads.
pub(crate) fn sources(name: &str, data_dir: Option<&Path>) -> Result<Vec<PathBuf>, Error> {
    Ok(variant(name).places(data_dir)?.1)
}

/// `cifar10`, `cifar100` or `cifar100-coarse`, standardised to (x - 127.5) / 128.
pub(crate) fn load(name: &str, data_dir: Option<&Path>) -> Result<Dataset, Error> {
    let variant = variant(name);
    let (place, mut files) = variant.find(data_dir)?;
    let mut notes = vec![format!("read from {}", place.display())];
    let mut splits = Vec::new();
    for (part, names) in [variant.train, variant.test].into_iter().enumerate() {
        let present = |n: &&'static str| files.contains_key(*n);
        let mut used: Vec<&str> = names.iter().copied().filter(present).collect();
        if used.is_empty() {
            used.extend(variant.heads.get(part).copied().filter(present));
        }
        if used.is_empty() {
            return Err(Error::unusable(
                &place,
                format_args!("has none of {} for this part of {name}", names.join(", ")),
            ));
        }
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for file in &used {
            // One at a time is in memory beside the pixels.
            let (reader, path) = (files.remove(*file).expect("it is present"), place.join(file));
            let bytes = files::read_up_to(reader, u64::MAX, &path)?;
            variant.decode(&bytes, &path, &mut pixels, &mut labels)?;
        }
        if labels.len() != WHOLE[part] {
            notes.push(format!(
                "a subset: {} of the {} {} images ({})",
                labels.len(),
                WHOLE[part],
                ["training", "test"][part],
                used.join(", ")
            ));
        }
        splits.push(Split::new(
            [3, 32, 32],
            Pixels::U8(pixels),
            labels,
            Standardisation::uniform(3, 127.5, 128.0),
        ));
    }
    let test = Arc::new(splits.remove(1));
    Ok(Dataset {
        name: name.into(),
        train: Arc::new(splits.remove(0)),
        validation: None,
        rest: None,
        test,
        classes: classes::owned(variant.classes),
        notes,
    })
}

/// Files by name, to be read.
type Files = BTreeMap<String, Box<dyn Read>>;

impl Variant {
    /// Every file name that is read.
    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.train.iter().chain(self.test).chain(self.heads).copied()
    }

    /// The folder or archive, and its files by name, to be read.
    fn find(&self, data_dir: Option<&Path>) -> Result<(PathBuf, Files), Error> {
        let (place, paths) = self.places(data_dir)?;
        if place == paths[0] {
            let found = self.unpack(&place)?;
            return Ok((place, found));
        }
        let mut found = Files::new();
        for path in paths {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            found.insert(name, files::open(&path)?);
        }
        Ok((place, found))
    }

    /// The folder and the files in it, or the archive, twice.
    fn places(&self, data_dir: Option<&Path>) -> Result<(PathBuf, Vec<PathBuf>), Error> {
        let folders: Vec<PathBuf> = data_dir
            .iter()
            .flat_map(|d| self.folders.iter().map(|f| d.join(f)).chain([d.to_path_buf()]))
            .collect();
        for folder in &folders {
            let paths: Vec<PathBuf> =
                self.names().map(|name| folder.join(name)).filter(|path| path.is_file()).collect();
            if !paths.is_empty() {
                return Ok((folder.clone(), paths));
            }
        }
        if let Some(archive) = folders.iter().map(|f| f.join(self.archive)).find(|p| p.is_file()) {
            return Ok((archive.clone(), vec![archive]));
        }
        let looked = if folders.is_empty() { "no folder was named".into() } else { files::list(&folders) };
        Err(Error::missing(format_args!(
            "data set {} is not there: expected {} (or {}) in one of: {looked}; get the binary version from \
             www.cs.toronto.edu/~kriz/cifar.html, and name the folder with --data-dir or {}",
            self.folders[0],
            self.train.iter().chain(self.test).copied().collect::<Vec<_>>().join(", "),
            self.archive,
            crate::DATA_VARIABLE,
        )))
    }

    /// The files of a .tar.gz, by name without folder.
    fn unpack(&self, archive: &Path) -> Result<Files, Error> {
        let broken = |e: std::io::Error| Error::unusable(archive, format_args!("not a whole .tar.gz: {e}"));
        let file = File::open(archive).map_err(|e| Error::io(archive, "open", &e))?;
        let mut tar = tar::Archive::new(files::unpack(BufReader::new(file)).map_err(broken)?);
        let mut found = Files::new();
        for entry in tar.entries().map_err(broken)? {
            let mut entry = entry.map_err(broken)?;
            let path = entry.path().map_err(broken)?.into_owned();
            let Some(name) = path.file_name().and_then(|n| n.to_str()).map(str::to_owned) else { continue };
            if self.names().any(|n| n == name) {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).map_err(broken)?;
                found.insert(name, Box::new(Cursor::new(bytes)));
            }
        }
        Ok(found)
    }

    /// Appends the records of a file.
    fn decode(
        &self,
        bytes: &[u8],
        place: &Path,
        pixels: &mut Vec<u8>,
        labels: &mut Vec<u32>,
    ) -> Result<(), Error> {
        let size = self.labels.len() + PIXELS;
        if bytes.is_empty() || !bytes.len().is_multiple_of(size) {
            return Err(Error::unusable(
                place,
                format_args!(
                    "{} bytes are not a whole number of records of {size} bytes: {} records and {} bytes left over",
                    bytes.len(),
                    bytes.len() / size,
                    bytes.len() % size
                ),
            ));
        }
        for (record, bytes) in bytes.chunks_exact(size).enumerate() {
            let (head, image) = bytes.split_at(self.labels.len());
            for (at, (&label, &classes)) in head.iter().zip(self.labels).enumerate() {
                if label as usize >= classes {
                    return Err(Error::unusable(
                        place,
                        format_args!(
                            "label {label} of record {record} (byte {}) is out of range 0..={}",
                            record * size + at,
                            classes - 1
                        ),
                    ));
                }
            }
            labels.push(u32::from(head[self.which]));
            pixels.extend_from_slice(image);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
