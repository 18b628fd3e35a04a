//! The MNIST family: four IDX files under their usual names. `fashion14` is embedded.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::classes;
use crate::dataset::{Dataset, Pixels, Split, Standardisation};
use crate::error::Error;
use crate::files;
use crate::idx::{self, Idx};

/// What tells one set of the family from another.
struct Member {
    name: &'static str,
    /// The folder that other tools unpack it to.
    folder: &'static str,
    classes: &'static [&'static str],
    /// Mean and standard deviation of the pixels of all 60,000 training images; measured if not listed.
    moments: Option<(f64, f64)>,
    origin: &'static str,
}

const MEMBERS: [Member; 3] = [
    Member {
        name: "mnist",
        folder: "MNIST/raw",
        classes: &classes::DIGITS,
        // The customary 0.1307 and 0.3081 on a scale of 0..1.
        moments: Some((0.1307 * 255.0, 0.3081 * 255.0)),
        origin: "yann.lecun.com/exdb/mnist or any of its mirrors",
    },
    Member {
        name: "fashion-mnist",
        folder: "FashionMNIST/raw",
        classes: &classes::FASHION,
        moments: Some((72.94035223214286, 90.02118235130526)),
        origin: "github.com/zalandoresearch/fashion-mnist or Debian's package dataset-fashion-mnist",
    },
    Member {
        name: "kmnist",
        folder: "KMNIST/raw",
        classes: &classes::KUZUSHIJI,
        moments: None,
        origin: "codh.rois.ac.jp/kmnist",
    },
];

/// Training images, training labels, test images, test labels.
const FILES: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

/// Where packages of the operating system put data sets.
const SYSTEM: &str = "/usr/share/datasets";

/// Mean and standard deviation of the pixels of fashion14's training images.
const FASHION14_MOMENTS: (f64, f64) = (73.03030867346939, 84.7803059850277);

/// Fashion-MNIST at 14 x 14 pixels, 2,000 training and 2,000 test images.
pub(crate) fn fashion14() -> Result<Dataset, Error> {
    let files: [&[u8]; 4] = [
        include_bytes!("../data/fashion14/train-images-idx3-ubyte.gz"),
        include_bytes!("../data/fashion14/train-labels-idx1-ubyte.gz"),
        include_bytes!("../data/fashion14/t10k-images-idx3-ubyte.gz"),
        include_bytes!("../data/fashion14/t10k-labels-idx1-ubyte.gz"),
    ];
    let places = FILES.map(|f| PathBuf::from(format!("embedded fashion14/{f}.gz")));
    let mut arrays = Vec::new();
    for (bytes, place) in files.iter().zip(&places) {
        let stream = files::unpack(*bytes).map_err(|e| Error::io(place, "read", &e))?;
        arrays.push(idx::decode(stream, place)?);
    }
    let note = "embedded: of each class of Fashion-MNIST (Zalando SE, MIT licence) the first 200 training and \
                200 test images, averaged to 14 x 14 pixels and 16 grey levels";
    assemble("fashion14", arrays, &places, &classes::FASHION, Some(FASHION14_MOMENTS), note.into())
}

fn member(name: &str) -> &'static Member {
    MEMBERS.iter().find(|m| m.name == name).expect("a name of the family")
}

/// The files that [`load`] reads.
pub(crate) fn sources(name: &str, data_dir: Option<&Path>) -> Result<Vec<PathBuf>, Error> {
    find(member(name), data_dir)
}

/// `mnist`, `fashion-mnist` or `kmnist` from files.
pub(crate) fn load(name: &str, data_dir: Option<&Path>) -> Result<Dataset, Error> {
    let member = member(name);
    let places = find(member, data_dir)?;
    let arrays = places.iter().map(|p| idx::read(p)).collect::<Result<Vec<_>, _>>()?;
    let folder = places[0].parent().unwrap_or(Path::new("."));
    let note = format!("read from {}", folder.display());
    assemble(name, arrays, &places, member.classes, member.moments, note)
}

/// The four files, in the first folder that has any of them.
fn find(member: &Member, data_dir: Option<&Path>) -> Result<Vec<PathBuf>, Error> {
    let mut folders = Vec::new();
    if let Some(dir) = data_dir {
        folders.extend([dir.join(member.name), dir.join(member.folder)]);
        // All sets of the family have the same file names: DIR itself will do unless named after another.
        let named = |m: &Member| dir.file_name().is_some_and(|f| f.eq_ignore_ascii_case(m.name));
        if !MEMBERS.iter().any(|m| m.name != member.name && named(m)) {
            folders.push(dir.to_owned());
        }
    }
    folders.push(Path::new(SYSTEM).join(member.name));
    for folder in &folders {
        // Some tools unpack "train-images-idx3-ubyte" as "train-images.idx3-ubyte".
        let spellings = |f: &str| {
            let dotted = f.replace("-idx", ".idx");
            [f.to_string(), format!("{f}.gz"), dotted.clone(), format!("{dotted}.gz")]
        };
        let found = FILES.map(|f| files::first_file(folder, &spellings(f)));
        if found.iter().any(Option::is_some) {
            if let Some(i) = found.iter().position(Option::is_none) {
                return Err(Error::unusable(
                    folder,
                    format_args!(
                        "has no {}[.gz], though others of the four files of {} are there",
                        FILES[i], member.name
                    ),
                ));
            }
            return Ok(found.into_iter().flatten().collect());
        }
    }
    Err(Error::missing(format_args!(
        "data set {} is not there: expected {} (each may end in .gz) in one of {}; get them from {}, and name the \
         folder with --data-dir or {}",
        member.name,
        FILES.join(", "),
        files::list(&folders),
        member.origin,
        crate::DATA_VARIABLE,
    )))
}

fn assemble(
    name: &str,
    arrays: Vec<Idx>,
    places: &[PathBuf],
    classes: &[&str],
    moments: Option<(f64, f64)>,
    note: String,
) -> Result<Dataset, Error> {
    let [train_images, train_labels, test_images, test_labels] =
        <[Idx; 4]>::try_from(arrays).expect("four arrays, one a file");
    let mut train = pair(train_images, train_labels, &places[..2], classes.len())?;
    let mut test = pair(test_images, test_labels, &places[2..], classes.len())?;
    if train.shape != test.shape {
        let [_, h, w] = train.shape;
        return Err(Error::unusable(
            &places[2],
            format_args!(
                "images of {} x {}, but the training images are {h} x {w}",
                test.shape[1], test.shape[2]
            ),
        ));
    }
    let standardisation = match moments {
        Some((mean, std)) => Standardisation::uniform(1, mean, std),
        None => Standardisation::measure(&train),
    };
    train.standardisation = standardisation.clone();
    test.standardisation = standardisation;
    Ok(Dataset {
        name: name.into(),
        train: Arc::new(train),
        validation: None,
        rest: None,
        test: Arc::new(test),
        classes: classes::owned(classes),
        notes: vec![note],
    })
}

/// Images and their labels as a split, not yet standardised. `places` are the two files.
fn pair(images: Idx, labels: Idx, places: &[PathBuf], classes: usize) -> Result<Split, Error> {
    let &[count, height, width] = &images.dims[..] else {
        return Err(Error::unusable(
            &places[0],
            format_args!("has dimensions {:?}; images have three: count, height, width", images.dims),
        ));
    };
    if count == 0 || height == 0 || width == 0 {
        return Err(Error::unusable(
            &places[0],
            format_args!("holds no pixels: dimensions {:?}", images.dims),
        ));
    }
    if labels.dims.len() != 1 {
        return Err(Error::unusable(
            &places[1],
            format_args!("has dimensions {:?}; labels have one: count", labels.dims),
        ));
    }
    if labels.dims[0] != count {
        return Err(Error::unusable(
            &places[1],
            format_args!("{} labels for the {count} images of {}", labels.dims[0], places[0].display()),
        ));
    }
    if let Some(i) = labels.data.iter().position(|&l| l as usize >= classes) {
        return Err(Error::unusable(
            &places[1],
            format_args!("label {} of image {i} is out of range 0..={}", labels.data[i], classes - 1),
        ));
    }
    let labels: Vec<u32> = labels.data.into_iter().map(u32::from).collect();
    Ok(Split::new([1, height, width], Pixels::U8(images.data), labels, Standardisation::identity(1)))
}

#[cfg(test)]
mod tests;
