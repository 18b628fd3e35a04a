//! `images:DIR`: pictures in one folder a class, as DIR/train/CLASS and DIR/test/CLASS, or as DIR/CLASS.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::imageops::FilterType;
use image::{ImageFormat, ImageReader};
use kernels::par;
use kernels::random::Key;

use crate::dataset::{Dataset, Pixels, Split, Standardisation};
use crate::error::Error;
use crate::jpeg;
use crate::load::Options;
use crate::partition;

/// Of DIR/CLASS, this share becomes the test set.
const TEST_SHARE: f64 = 0.2;

/// Pictures that are decoded in parallel before the next ones.
const BATCH: usize = 256;

/// File name endings of the formats that are decoded.
const ENDINGS: [&str; 9] = ["png", "jpg", "jpeg", "bmp", "pbm", "pgm", "ppm", "pnm", "pam"];

/// Reads every picture, resized to `options.image_size` squared (the aspect ratio is not kept), transparency
/// dropped. Classes and pictures are in the order of their names; mean and std are the training images' own.
pub(crate) fn load(dir: &Path, options: &Options) -> Result<Dataset, Error> {
    if !dir.is_dir() {
        return Err(Error::unusable(
            dir,
            "is not a folder; images:DIR needs a folder with one folder of pictures a class",
        ));
    }
    let mut notes = vec![format!(
        "pictures of {}, resized to {size} x {size}{}",
        dir.display(),
        if options.grey { ", grey" } else { "" },
        size = options.image_size
    )];
    let mut ignored = 0;
    let (train_dir, test_dir) = (dir.join("train"), dir.join("test"));
    let (classes, mut train, mut test) = match (train_dir.is_dir(), test_dir.is_dir()) {
        (true, true) => {
            let classes = class_names(&train_dir)?;
            if let Some(new) = class_names(&test_dir)?.into_iter().find(|c| !classes.contains(c)) {
                return Err(Error::unusable(
                    &test_dir.join(new),
                    "is a class that the train folder does not have",
                ));
            }
            let train = read(&train_dir, &classes, options, &mut ignored)?;
            let test = read(&test_dir, &classes, options, &mut ignored)?;
            (classes, train, test)
        }
        (false, false) => {
            let classes = class_names(dir)?;
            let all = read(dir, &classes, options, &mut ignored)?;
            if let Some(class) = all.counts(classes.len()).iter().position(|&n| n < 2) {
                let message = "needs at least 2 pictures, one to train on and one to test by";
                return Err(Error::unusable(&dir.join(&classes[class]), message));
            }
            let (train, test) = divide(&all, classes.len(), options.seed);
            notes.push(format!(
                "no train and test folders: {} of {} pictures, a fifth of each class, are the test set, seed {}",
                test.len(),
                all.len(),
                options.seed
            ));
            (classes, all.select(&train), all.select(&test))
        }
        (true, false) => return Err(Error::unusable(dir, "has a folder train, but no folder test")),
        (false, true) => return Err(Error::unusable(dir, "has a folder test, but no folder train")),
    };
    if ignored > 0 {
        notes.push(format!("{ignored} files ignored: their names do not end in {}", ENDINGS.join(", ")));
    }
    train.standardisation = Standardisation::measure(&train);
    test.standardisation = train.standardisation.clone();
    Ok(Dataset {
        name: format!("images:{}", dir.display()),
        train: Arc::new(train),
        validation: None,
        rest: None,
        test: Arc::new(test),
        classes,
        notes,
    })
}

/// Indices of the training and the test examples; each class gives at least one to both.
pub(crate) fn divide(all: &Split, classes: usize, seed: u64) -> (Vec<usize>, Vec<usize>) {
    let key = Key::new(seed).stream("images");
    let mut is_test = vec![false; all.len()];
    let labels = all.targets.strata();
    for class in 0..classes {
        let members: Vec<usize> = (0..all.len()).filter(|&i| labels[i] as usize == class).collect();
        let count = ((members.len() as f64 * TEST_SHARE).round() as usize).max(1);
        let (test, _) =
            partition::split(&vec![0; members.len()], count, key.stream("class").step(class as u64));
        test.into_iter().for_each(|k| is_test[members[k]] = true);
    }
    (0..all.len()).partition(|&i| !is_test[i])
}

/// The folders in `dir`, sorted; at least two.
pub(crate) fn class_names(dir: &Path) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for path in sorted_entries(dir)? {
        if path.is_dir() {
            match path.file_name().and_then(|n| n.to_str()) {
                Some(name) => names.push(name.to_owned()),
                None => return Err(Error::unusable(&path, "its name is not UTF-8")),
            }
        }
    }
    if names.len() < 2 {
        let message = format!("has {} folders; one folder a class, at least two, are needed", names.len());
        return Err(Error::unusable(dir, message));
    }
    Ok(names)
}

/// What a folder holds, sorted by name, hidden entries apart.
pub(crate) fn sorted_entries(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = std::fs::read_dir(dir).and_then(|entries| entries.map(|e| Ok(e?.path())).collect());
    let mut paths: Vec<PathBuf> = entries.map_err(|e| Error::io(dir, "list", &e))?;
    paths.retain(|p| !p.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.')));
    paths.sort();
    Ok(paths)
}

/// The files in a class's folder that are pictures, and those that are not; none if there is no such folder.
fn pictures(folder: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), Error> {
    let paths = if folder.is_dir() { sorted_entries(folder)? } else { Vec::new() };
    Ok(paths.into_iter().filter(|p| p.is_file()).partition(|path| {
        let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase());
        ending.is_some_and(|e| ENDINGS.contains(&&*e))
    }))
}

/// The pictures that [`load`] reads.
pub(crate) fn sources(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut parts: Vec<PathBuf> = ["train", "test"].map(|part| dir.join(part)).into();
    parts.retain(|part| part.is_dir());
    if parts.is_empty() {
        parts.push(dir.to_path_buf());
    }
    let mut found = Vec::new();
    for part in parts {
        for class in class_names(&part)? {
            found.extend(pictures(&part.join(class))?.0);
        }
    }
    Ok(found)
}

/// All pictures of the classes. Counts the files that are not pictures.
fn read(dir: &Path, classes: &[String], options: &Options, ignored: &mut usize) -> Result<Split, Error> {
    let channels = if options.grey { 1 } else { 3 };
    let (mut paths, mut labels) = (Vec::new(), Vec::new());
    for (label, class) in classes.iter().enumerate() {
        let folder = dir.join(class);
        let (pictures, others) = pictures(&folder)?;
        *ignored += others.len();
        if pictures.is_empty() {
            return Err(Error::unusable(&folder, format_args!("holds no pictures ({})", ENDINGS.join(", "))));
        }
        labels.extend(pictures.iter().map(|_| label as u32));
        paths.extend(pictures);
    }
    let shape = [channels, options.image_size, options.image_size];
    let size = shape.iter().product::<usize>();
    let mut pixels = Vec::new();
    // Some at a time: after an error, the rest is not decoded.
    for paths in paths.chunks(BATCH) {
        for picture in par::map(paths.len(), |i| decode(&paths[i], options)) {
            let planes = picture?;
            debug_assert_eq!(planes.len(), size);
            pixels.extend(planes);
        }
    }
    Ok(Split::new(shape, Pixels::U8(pixels), labels, Standardisation::identity(channels)))
}

/// A picture's planes.
fn decode(path: &Path, options: &Options) -> Result<Vec<u8>, Error> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, "open", &e))?;
    let mut reader = ImageReader::new(Cursor::new(&bytes));
    // What the file starts with decides, and its name if that says nothing.
    if let Ok(format) = ImageFormat::from_path(path) {
        reader.set_format(format);
    }
    let reader = reader.with_guessed_format().map_err(|e| Error::io(path, "open", &e))?;
    let is_jpeg = reader.format() == Some(ImageFormat::Jpeg) && bytes.starts_with(&[0xff, 0xd8]);
    if is_jpeg && !jpeg::is_complete(&bytes) {
        return Err(Error::unusable(
            path,
            "not a readable picture: truncated JPEG, without an end-of-image marker",
        ));
    }
    let picture =
        reader.decode().map_err(|e| Error::unusable(path, format_args!("not a readable picture: {e}")))?;
    let side = options.image_size as u32;
    if options.grey {
        let grey = picture.into_luma8();
        Ok(image::imageops::resize(&grey, side, side, FilterType::Triangle).into_raw())
    } else {
        let colour = picture.into_rgb8();
        let colour = image::imageops::resize(&colour, side, side, FilterType::Triangle);
        Ok((0..3).flat_map(|c| colour.as_raw().iter().skip(c).step_by(3).copied()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Raw;
    use image::{DynamicImage, Rgb, RgbImage};

    /// A picture of one colour.
    fn write(path: &Path, colour: [u8; 3]) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        RgbImage::from_pixel(6, 4, Rgb(colour)).save(path).unwrap();
    }

    fn options() -> Options {
        Options { image_size: 2, ..Options::default() }
    }

    fn fails(dir: &Path, expected: &str) {
        let message = load(dir, &options()).unwrap_err().to_string();
        assert!(message.contains(expected) && message.lines().count() == 1, "{message}");
    }

    #[test]
    fn train_and_test_folders() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        write(&root.join("train/cat/2.png"), [10, 20, 30]);
        write(&root.join("train/cat/1.bmp"), [40, 50, 60]);
        write(&root.join("train/ant/x.PPM"), [70, 80, 90]);
        write(&root.join("test/cat/a.png"), [1, 2, 3]);
        write(&root.join("test/ant/a.png"), [4, 5, 6]);
        std::fs::write(root.join("train/ant/readme.txt"), "not a picture").unwrap();
        let data = load(root, &options()).unwrap();
        assert_eq!((data.shape(), &data.classes[..]), ([3, 2, 2], &["ant".to_string(), "cat".into()][..]));
        assert_eq!(data.train.labels().unwrap(), [0, 1, 1]);
        assert_eq!(data.train.image(1), Raw::U8(&[40, 40, 40, 40, 50, 50, 50, 50, 60, 60, 60, 60]));
        assert_eq!(data.test.image(1), Raw::U8(&[1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]));
        assert_eq!(data.standardisation().mean, [40.0, 50.0, 60.0]);
        assert!(data.notes[1].contains("1 files ignored"), "{:?}", data.notes);
        let grey = load(root, &Options { grey: true, ..options() }).unwrap();
        assert_eq!(grey.shape(), [1, 2, 2]);

        std::fs::create_dir(root.join("test/dog")).unwrap();
        fails(root, "dog: is a class that the train folder does not have");
        std::fs::remove_dir(root.join("test/dog")).unwrap();
        std::fs::remove_dir_all(root.join("test/ant")).unwrap();
        fails(root, "at least two");
        std::fs::remove_dir_all(root.join("test")).unwrap();
        fails(root, "has a folder train, but no folder test");
    }

    #[test]
    fn a_seeded_split_of_class_folders() {
        let dir = tempfile::tempdir().unwrap();
        for i in 0..10 {
            write(&dir.path().join(format!("a/{i}.png")), [i, 0, 0]);
            write(&dir.path().join(format!("b/{i}.png")), [100 + i, 0, 0]);
        }
        let data = load(dir.path(), &options()).unwrap();
        assert_eq!((data.train.counts(2), data.test.counts(2)), (vec![8, 8], vec![2, 2]));
        assert_eq!(load(dir.path(), &options()).unwrap().test, data.test);
        let splits = (1..5).map(|seed| load(dir.path(), &Options { seed, ..options() }).unwrap().test);
        assert!(splits.into_iter().any(|test| test.pixels != data.test.pixels));
    }

    #[test]
    fn unusable_folders_say_why() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fails(&root.join("nothing"), "is not a folder");
        fails(root, "has 0 folders");
        write(&root.join("a/1.png"), [0; 3]);
        write(&root.join("a/2.png"), [0; 3]);
        fails(root, "has 1 folders");
        std::fs::create_dir(root.join("b")).unwrap();
        fails(root, "b: holds no pictures");
        write(&root.join("b/1.png"), [0; 3]);
        fails(root, "b: needs at least 2 pictures");
        let bytes = std::fs::read(root.join("a/1.png")).unwrap();
        std::fs::write(root.join("b/2.png"), &bytes[..bytes.len() / 2]).unwrap();
        fails(root, "2.png: not a readable picture");
        std::fs::write(root.join("b/2.png"), "<html>").unwrap();
        fails(root, "2.png: not a readable picture");
    }

    #[test]
    fn pictures_that_are_cut_off_are_refused_whatever_their_format() {
        for ending in ["png", "jpg", "bmp", "pbm", "pgm", "ppm", "pam"] {
            let dir = tempfile::tempdir().unwrap();
            for name in ["a/1", "a/2", "b/1"] {
                write(&dir.path().join(format!("{name}.png")), [9; 3]);
            }
            let picture = DynamicImage::from(RgbImage::from_fn(40, 40, |x, y| Rgb([x as u8, y as u8, 5])));
            let picture = match ending {
                "pbm" | "pgm" => DynamicImage::from(picture.into_luma8()),
                _ => picture,
            };
            let cut = dir.path().join(format!("b/2.{ending}"));
            picture.save(&cut).unwrap();
            let bytes = std::fs::read(&cut).unwrap();
            load(dir.path(), &options()).unwrap();
            for share in [30, 60, 95] {
                std::fs::write(&cut, &bytes[..bytes.len() * share / 100]).unwrap();
                fails(dir.path(), &format!("2.{ending}: not a readable picture"));
            }
        }
    }
}
