//! `file:DATA.npz`: arrays x_train, y_train, x_test, y_test, used as they are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::dataset::{Dataset, Pixels, Rows, Split, Standardisation, Targets};
use crate::error::Error;
use crate::npy::{self, Array, Values};
use crate::zip::Archive;

/// More classes than this are taken for an error.
const MOST_CLASSES: i64 = 65_536;

const NAMES: [&str; 4] = ["x_train", "y_train", "x_test", "y_test"];

/// How far the sum of a class distribution may be from 1: float32 rows of a few hundred classes are well within.
const SUM_TOLERANCE: f64 = 1e-3;

/// Reads the four arrays: x is N x C x H x W (floats, or bytes as 0..=255); of y see [`targets`].
pub(crate) fn load(path: &Path, reading: Reading) -> Result<Dataset, Error> {
    let mut archive = Archive::open(path)?;
    if let Some(missing) = NAMES.iter().find(|n| !archive.names().any(|e| e == format!("{n}.npy"))) {
        let held: Vec<String> = archive.names().map(|n| n.trim_end_matches(".npy").to_owned()).collect();
        return Err(Error::unusable(
            path,
            format_args!(
                "has no array {missing}; needed are {}, it holds: {}",
                NAMES.join(", "),
                held.join(", ")
            ),
        ));
    }
    let mut array = |name: &str| {
        let place = PathBuf::from(format!("{}[{name}]", path.display()));
        let array = npy::decode(&archive.read(&format!("{name}.npy"))?, &place)?;
        Ok((array, place))
    };
    let train = split(array("x_train")?, array("y_train")?, reading)?;
    let (x_test, place) = array("x_test")?;
    if x_test.shape.len() == 4 && x_test.shape[1..] != train.shape {
        return Err(Error::unusable(
            &place,
            format_args!("images of shape {:?}, but x_train has {:?}", &x_test.shape[1..], train.shape),
        ));
    }
    let test = split((x_test, place), array("y_test")?, reading)?;

    let classes = match (&train.targets, &test.targets) {
        (Targets::Classes(a), Targets::Classes(b)) => a.iter().chain(b).max().map_or(0, |&m| m as usize + 1),
        (Targets::Distributions(a), Targets::Distributions(b)) if a.width == b.width => a.width,
        (Targets::Values(a), Targets::Values(b)) if a.width == b.width => 0,
        (train, test) => {
            let (train, test) = (describe(train), describe(test));
            return Err(Error::unusable(
                path,
                format_args!("y_train holds {train}, y_test {test}; both must be alike"),
            ));
        }
    };
    let mut notes = vec![format!("read from {}; values used as they are", path.display())];
    if let Targets::Values(rows) = &train.targets {
        notes.extend(constant(rows));
        return Ok(dataset(path, train, test, 0, notes));
    }
    if classes < 2 {
        return Err(Error::unusable(path, "all labels are 0; at least two classes are needed"));
    }
    let counts = train.labels().map_or(Vec::new(), |_| train.counts(classes));
    let absent = counts.iter().enumerate().filter(|(_, n)| **n == 0).map(|(c, _)| c.to_string());
    let absent: Vec<String> = absent.collect();
    if !absent.is_empty() {
        notes.push(format!("no training example has label {}", absent.join(", ")));
    }
    Ok(dataset(path, train, test, classes, notes))
}

fn dataset(path: &Path, train: Split, test: Split, classes: usize, notes: Vec<String>) -> Dataset {
    Dataset {
        name: format!("file:{}", path.display()),
        train: Arc::new(train),
        validation: None,
        rest: None,
        test: Arc::new(test),
        classes: (0..classes).map(|c| c.to_string()).collect(),
        notes,
    }
}

/// What the targets are, for messages.
fn describe(targets: &Targets) -> String {
    match targets {
        Targets::Classes(_) => "classes (N integers)".into(),
        Targets::Distributions(rows) => format!("class distributions (N x {} floats)", rows.width),
        Targets::Values(rows) => format!("real values (N x {} floats)", rows.width),
    }
}

/// A note about outputs whose real target is the same for every image: there is nothing to learn about them.
fn constant(rows: &Rows) -> Option<String> {
    let same = |k: usize| (0..rows.len()).all(|i| rows.row(i)[k] == rows.values[k]);
    let outputs: Vec<String> = (0..rows.width).filter(|&k| same(k)).map(|k| k.to_string()).collect();
    let listed = outputs.join(", ");
    (!outputs.is_empty()).then(|| format!("the training targets of output {listed} are constant"))
}

/// Images and targets, each with its place for messages.
pub(crate) fn split(
    (x, x_place): (Array, PathBuf),
    (y, y_place): (Array, PathBuf),
    reading: Reading,
) -> Result<Split, Error> {
    let &[count, channels, height, width] = &x.shape[..] else {
        return Err(Error::unusable(
            &x_place,
            format_args!("has shape {:?}; images are N x C x H x W", x.shape),
        ));
    };
    if x.shape.contains(&0) {
        return Err(Error::unusable(&x_place, format_args!("holds no values: shape {:?}", x.shape)));
    }
    let index = |at: usize| {
        let (n, rest) = (at / (channels * height * width), at % (channels * height * width));
        [n, rest / (height * width), rest / width % height, rest % width]
    };
    let odd = |at: usize, value: f64| {
        let what = reading.unusable(value);
        Error::unusable(&x_place, format_args!("the value at {:?} is {what}", index(at)))
    };
    let pixels = match x.values {
        Values::U8(v) => Pixels::U8(v),
        Values::F32(v) => match v.iter().position(|v| !v.is_finite()) {
            Some(at) => return Err(odd(at, v[at].into())),
            None => Pixels::F32(v),
        },
        Values::F64(v) => match v.iter().position(|v| !reading.holds(*v)) {
            Some(at) => return Err(odd(at, v[at])),
            None => Pixels::F64(v),
        },
        Values::I64(_) => {
            return Err(Error::unusable(
                &x_place,
                "images must be float16, float32, float64 or uint8, not another integer type",
            ));
        }
    };
    let targets = targets(y, count, reading, &y_place)?;
    Ok(Split::new([channels, height, width], pixels, targets, Standardisation::identity(channels)))
}

/// How numbers in files are understood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Take the rows of a floating-point y as class distributions (soft labels), not as real values.
    pub distributions: bool,
    /// Refuse float64 values that float32 cannot hold.
    pub single: bool,
}

impl Reading {
    /// Whether a value can be used.
    fn holds(self, value: f64) -> bool {
        if self.single { (value as f32).is_finite() } else { value.is_finite() }
    }

    /// What is wrong with a value that cannot be used.
    fn unusable(self, value: f64) -> String {
        match value.is_finite() {
            true => format!("{value:e}, which float32 cannot hold; scale the data, or use --dtype f64"),
            false => format!("{value}; all must be finite"),
        }
    }
}

/// The targets of `count` inputs. An integer array holds N classes from 0; a floating-point one holds N or N x D real
/// targets, or, with [`Reading::distributions`], N x classes rows of probabilities. `place` is for messages.
///
/// # Errors
/// If shape or values do not suit.
pub fn targets(y: Array, count: usize, reading: Reading, place: &Path) -> Result<Targets, Error> {
    match y.values {
        Values::F32(v) => real(&y.shape, v.into_iter().map(f64::from).collect(), count, reading, place),
        Values::F64(v) => real(&y.shape, v, count, reading, place),
        Values::U8(v) => labels(&y.shape, v.into_iter().map(i64::from).collect(), count, place),
        Values::I64(v) => labels(&y.shape, v, count, place),
    }
}

/// The classes that an integer array holds.
fn labels(shape: &[usize], labels: Vec<i64>, count: usize, y_place: &Path) -> Result<Targets, Error> {
    if shape != [count] {
        return Err(Error::unusable(
            y_place,
            format_args!(
                "holds integers of shape {shape:?}; {count} labels are needed, one for each x (real targets are floats)"
            ),
        ));
    }
    if let Some(at) = labels.iter().position(|l| !(0..MOST_CLASSES).contains(l)) {
        return Err(Error::unusable(
            y_place,
            format_args!("label {} at [{at}] is out of range 0..={}", labels[at], MOST_CLASSES - 1),
        ));
    }
    Ok(Targets::Classes(labels.into_iter().map(|l| l as u32).collect()))
}

/// The real targets or the distributions that a floating-point array holds.
fn real(
    shape: &[usize],
    values: Vec<f64>,
    count: usize,
    reading: Reading,
    y_place: &Path,
) -> Result<Targets, Error> {
    let (rows, width) = match *shape {
        [rows] => (rows, 1),
        [rows, width] if width > 0 => (rows, width),
        _ => {
            return Err(Error::unusable(
                y_place,
                format_args!("has shape {shape:?}; real targets are N or N x D, classes N integers"),
            ));
        }
    };
    if rows != count {
        return Err(Error::unusable(
            y_place,
            format_args!("has shape {shape:?}; {count} targets are needed, one for each x"),
        ));
    }
    if let Some(at) = values.iter().position(|v| !reading.holds(*v)) {
        let (row, column, what) = (at / width, at % width, reading.unusable(values[at]));
        return Err(Error::unusable(
            y_place,
            format_args!("the target in row {row}, column {column} is {what}"),
        ));
    }
    let rows = Rows { width, values };
    if !reading.distributions {
        return Ok(Targets::Values(rows));
    }
    if width < 2 {
        return Err(Error::unusable(
            y_place,
            format_args!(
                "holds real values of shape {shape:?}; --loss cross-entropy needs classes (N integers) or class \
                 distributions (N x classes floats), real values need --loss mse"
            ),
        ));
    }
    let bad = (0..count).find_map(|i| {
        let row = rows.row(i);
        if let Some(k) = row.iter().position(|&p| p < 0.0) {
            return Some(format!("row {i} has the probability {} for class {k}", row[k]));
        }
        let sum: f64 = row.iter().sum();
        ((sum - 1.0).abs() > SUM_TOLERANCE).then(|| format!("row {i} sums to {sum:.6}"))
    });
    match bad {
        Some(what) => Err(Error::unusable(
            y_place,
            format_args!(
                "{what}; --loss cross-entropy takes floats as class distributions, rows that are not negative and sum to \
                 1; real values need --loss mse"
            ),
        )),
        None => Ok(Targets::Distributions(rows)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Raw;
    use crate::npy::tests::encode;
    use crate::zip::tests::{Style, encode as zip};

    fn floats(v: &[f64]) -> Vec<u8> {
        v.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    fn ints(v: &[i64]) -> Vec<u8> {
        v.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    /// Three training and one test image of 1 x 1 x 2.
    fn good() -> Vec<(&'static str, Vec<u8>)> {
        vec![
            ("x_train.npy", encode("<f8", false, "(3, 1, 1, 2)", &floats(&[0.1, 1.0, 2.0, 3.0, 4.0, 5.0]))),
            ("y_train.npy", encode("<i8", false, "(3,)", &ints(&[0, 2, 0]))),
            ("x_test.npy", encode("<f8", false, "(1, 1, 1, 2)", &floats(&[-1.0, 1e-300]))),
            ("y_test.npy", encode("<i8", false, "(1,)", &ints(&[3]))),
        ]
    }

    fn loaded(files: &[(&str, Vec<u8>)], style: Style) -> Result<Dataset, Error> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d.npz");
        let files: Vec<(&str, &[u8])> = files.iter().map(|(n, b)| (*n, &b[..])).collect();
        std::fs::write(&path, zip(&files, style)).unwrap();
        load(&path, Reading::default())
    }

    #[test]
    fn round_trip() {
        for style in [Style::Stored, Style::Deflated, Style::Large] {
            let data = loaded(&good(), style).unwrap();
            assert_eq!(
                (data.shape(), data.train.labels(), data.classes.len()),
                ([1, 1, 2], Some(&[0, 2, 0][..]), 4)
            );
            assert_eq!(data.train.image(0), Raw::F64(&[0.1, 1.0]));
            assert_eq!(data.test.image(0), Raw::F64(&[-1.0, 1e-300]));
            assert_eq!(data.standardisation(), &Standardisation::identity(1));
            assert_eq!(data.notes[1], "no training example has label 1, 3");
        }
    }

    #[test]
    fn broken_contents_say_where() {
        let fails = |name: &'static str, bytes: Option<Vec<u8>>, expected: &str| {
            let mut files = good();
            files.retain(|f| f.0 != name);
            files.extend(bytes.map(|b| (name, b)));
            let message = loaded(&files, Style::Deflated).unwrap_err().to_string();
            assert!(message.contains(expected) && message.contains("d.npz"), "{message}");
        };
        fails(
            "y_test.npy",
            None,
            "has no array y_test; needed are x_train, y_train, x_test, y_test, it holds: x_train, ",
        );
        let x = |values: &[f64]| Some(encode("<f8", false, "(3, 1, 1, 2)", &floats(values)));
        fails(
            "x_train.npy",
            x(&[0.0, 0.0, 0.0, f64::NAN, 0.0, 0.0]),
            "[x_train]: the value at [1, 0, 0, 1] is NaN",
        );
        fails(
            "x_train.npy",
            x(&[0.0, 0.0, 0.0, 0.0, f64::INFINITY, 0.0]),
            "the value at [2, 0, 0, 0] is inf",
        );
        fails("x_train.npy", Some(encode("<f8", false, "(3, 2)", &[0; 48])), "images are N x C x H x W");
        fails("x_train.npy", Some(encode("<f8", false, "(0, 1, 1, 2)", &[])), "holds no values");
        fails(
            "x_train.npy",
            Some(encode("<i8", false, "(3, 1, 1, 2)", &[0; 48])),
            "float16, float32, float64 or uint8",
        );
        fails(
            "x_test.npy",
            Some(encode("<f8", false, "(1, 2, 1, 1)", &[0; 16])),
            "but x_train has [1, 1, 2]",
        );
        fails("y_train.npy", Some(encode("<i8", false, "(2,)", &[0; 16])), "3 labels are needed");
        fails(
            "y_train.npy",
            Some(encode("<i8", false, "(3,)", &ints(&[0, -1, 0]))),
            "label -1 at [1] is out of range",
        );
        fails(
            "y_train.npy",
            Some(encode("<f8", false, "(3,)", &[0; 24])),
            "y_train holds real values (N x 1 floats), y_test classes (N integers)",
        );
        fails("x_test.npy", Some(b"junk".to_vec()), "[x_test]: not a .npy array");
        let mut one = good();
        one[1].1 = encode("<i8", false, "(3,)", &[0; 24]);
        one[3].1 = encode("<i8", false, "(1,)", &[0; 8]);
        assert!(loaded(&one, Style::Stored).unwrap_err().to_string().contains("at least two classes"));
    }

    /// [`good`] with these floating-point targets.
    fn with_targets(train: (&str, &[f64]), test: (&str, &[f64])) -> Vec<(&'static str, Vec<u8>)> {
        let mut files = good();
        files[1].1 = encode("<f8", false, train.0, &floats(train.1));
        files[3].1 = encode("<f8", false, test.0, &floats(test.1));
        files
    }

    #[test]
    fn floats_are_real_targets() {
        let data =
            loaded(&with_targets(("(3,)", &[0.5, -1e300, 2.0]), ("(1,)", &[7.0])), Style::Deflated).unwrap();
        assert_eq!((data.outputs(), data.classes.len(), data.is_regression()), (1, 0, true));
        assert_eq!(data.train.targets, Targets::Values(Rows { width: 1, values: vec![0.5, -1e300, 2.0] }));
        let two = with_targets(("(3, 2)", &[0.0, 1.0, 0.5, 1.0, 1.0, 1.0]), ("(1, 2)", &[3.0, 4.0]));
        let data = loaded(&two, Style::Deflated).unwrap();
        // Rows that happen to be distributions are real values all the same.
        let Targets::Values(rows) = &data.train.targets else { panic!("real targets") };
        assert_eq!((data.outputs(), rows.row(1)), (2, &[0.5, 1.0][..]));
        assert_eq!(data.notes[1], "the training targets of output 1 are constant");
        let mut single = good();
        let bytes: Vec<u8> = [0.25f32, 1.5, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        single[1].1 = encode("<f4", false, "(3, 1)", &bytes);
        single[3].1 = encode("<f4", false, "(1,)", &bytes[..4]);
        let data = loaded(&single, Style::Deflated).unwrap();
        assert_eq!(data.train.targets, Targets::Values(Rows { width: 1, values: vec![0.25, 1.5, -2.0] }));
    }

    #[test]
    fn wrong_real_targets_say_where() {
        let fails = |files: Vec<(&'static str, Vec<u8>)>, expected: &str| {
            let message = loaded(&files, Style::Deflated).unwrap_err().to_string();
            assert!(message.contains(expected) && message.contains("d.npz"), "{message}");
        };
        let one: (&str, &[f64]) = ("(1,)", &[7.0]);
        fails(
            with_targets(("(3,)", &[0.0, f64::NAN, 0.0]), one),
            "[y_train]: the target in row 1, column 0 is NaN",
        );
        fails(
            with_targets(("(3, 2)", &[0.0, 0.0, 0.0, 0.0, 0.0, f64::INFINITY]), ("(1, 2)", &[0.0, 0.0])),
            "[y_train]: the target in row 2, column 1 is inf",
        );
        fails(with_targets(("(3,)", &[0.0; 3]), ("(1,)", &[f64::NAN])), "[y_test]: the target in row 0");
        fails(with_targets(("(2,)", &[0.0; 2]), one), "has shape [2]; 3 targets are needed");
        fails(with_targets(("(3, 1, 1)", &[0.0; 3]), one), "real targets are N or N x D");
        fails(with_targets(("(3, 0)", &[]), one), "real targets are N or N x D");
        fails(
            with_targets(("(3, 2)", &[0.0; 6]), one),
            "y_train holds real values (N x 2 floats), y_test real values (N x 1 floats)",
        );
    }

    #[test]
    fn float32_refuses_what_it_cannot_hold() {
        let read = |files: Vec<(&'static str, Vec<u8>)>| {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("d.npz");
            let files: Vec<(&str, &[u8])> = files.iter().map(|(n, b)| (*n, &b[..])).collect();
            std::fs::write(&path, zip(&files, Style::Stored)).unwrap();
            load(&path, Reading { single: true, ..Reading::default() })
        };
        let mut images = good();
        images[0].1 = encode("<f8", false, "(3, 1, 1, 2)", &floats(&[0.0, 0.0, 0.0, -1e39, 0.0, 0.0]));
        for (files, expected) in [
            (images, "[x_train]: the value at [1, 0, 0, 1] is -1e39, which float32 cannot hold"),
            (
                with_targets(("(3,)", &[0.0, 0.0, 1e300]), ("(1,)", &[7.0])),
                "[y_train]: the target in row 2, column 0 is 1e300, which float32 cannot hold",
            ),
        ] {
            let message = read(files).unwrap_err().to_string();
            assert!(message.contains(expected) && message.contains("--dtype f64"), "{message}");
        }
        // The largest number of float32, and one that rounds to it.
        let most = f64::from(f32::MAX);
        assert!(read(with_targets(("(3,)", &[0.0, most, most * (1.0 + 1e-9)]), ("(1,)", &[7.0]))).is_ok());
    }

    #[test]
    fn rows_of_probabilities_are_distributions_when_asked_for() {
        let loaded = |train: (&str, &[f64])| {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("d.npz");
            let files = with_targets(train, ("(1, 2)", &[0.5, 0.5]));
            let files: Vec<(&str, &[u8])> = files.iter().map(|(n, b)| (*n, &b[..])).collect();
            std::fs::write(&path, zip(&files, Style::Stored)).unwrap();
            load(&path, Reading { distributions: true, single: false })
        };
        let data = loaded(("(3, 2)", &[0.9, 0.1, 0.0, 1.0005, 0.5, 0.5])).unwrap();
        assert!(matches!(&data.train.targets, Targets::Distributions(rows) if rows.width == 2));
        assert_eq!((data.outputs(), data.classes.len(), data.train.counts(2)), (2, 2, vec![2, 1]));
        for (train, expected) in [
            (("(3, 2)", &[0.9, 0.1, 0.0, 1.002, 0.5, 0.5][..]), "[y_train]: row 1 sums to 1.002000"),
            (("(3, 2)", &[0.9, 0.1, 0.0, 1.0, 1.5, -0.5]), "row 2 has the probability -0.5 for class 1"),
            (("(3,)", &[0.9, 0.1, 0.0]), "cross-entropy needs classes"),
        ] {
            let message = loaded(train).unwrap_err().to_string();
            assert!(message.contains(expected) && message.contains("--loss mse"), "{message}");
        }
    }
}
