//! `file:DATA.npz`: arrays x_train, y_train, x_test, y_test, used as they are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::dataset::{Dataset, Pixels, Split, Standardisation};
use crate::error::Error;
use crate::npy::{self, Array, Values};
use crate::zip::Archive;

/// More classes than this are taken for an error.
const MOST_CLASSES: i64 = 65_536;

const NAMES: [&str; 4] = ["x_train", "y_train", "x_test", "y_test"];

/// Reads the four arrays: x is N x C x H x W (floats, or bytes as 0..=255), y holds N integers from 0.
pub(crate) fn load(path: &Path) -> Result<Dataset, Error> {
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
    let train = split(array("x_train")?, array("y_train")?)?;
    let (x_test, place) = array("x_test")?;
    if x_test.shape.len() == 4 && x_test.shape[1..] != train.shape {
        return Err(Error::unusable(
            &place,
            format_args!("images of shape {:?}, but x_train has {:?}", &x_test.shape[1..], train.shape),
        ));
    }
    let test = split((x_test, place), array("y_test")?)?;

    let classes = train.labels.iter().chain(&test.labels).max().map_or(0, |&m| m as usize + 1);
    let mut notes = vec![format!("read from {}; values used as they are", path.display())];
    let absent: Vec<String> = train
        .counts(classes)
        .iter()
        .enumerate()
        .filter(|(_, n)| **n == 0)
        .map(|(c, _)| c.to_string())
        .collect();
    if classes < 2 {
        return Err(Error::unusable(path, "all labels are 0; at least two classes are needed"));
    }
    if !absent.is_empty() {
        notes.push(format!("no training example has label {}", absent.join(", ")));
    }
    Ok(Dataset {
        name: format!("file:{}", path.display()),
        train: Arc::new(train),
        validation: None,
        test: Arc::new(test),
        classes: (0..classes).map(|c| c.to_string()).collect(),
        notes,
    })
}

/// Images and labels, each with its place for messages.
fn split((x, x_place): (Array, PathBuf), (y, y_place): (Array, PathBuf)) -> Result<Split, Error> {
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
        Error::unusable(&x_place, format_args!("the value at {:?} is {value}; all must be finite", index(at)))
    };
    let pixels = match x.values {
        Values::U8(v) => Pixels::U8(v),
        Values::F32(v) => match v.iter().position(|v| !v.is_finite()) {
            Some(at) => return Err(odd(at, v[at].into())),
            None => Pixels::F32(v),
        },
        Values::F64(v) => match v.iter().position(|v| !v.is_finite()) {
            Some(at) => return Err(odd(at, v[at])),
            None => Pixels::F64(v),
        },
        Values::I64(_) => {
            return Err(Error::unusable(
                &x_place,
                "images must be float32, float64 or uint8, not another integer type",
            ));
        }
    };
    if y.shape != [count] {
        return Err(Error::unusable(
            &y_place,
            format_args!(
                "has shape {:?}; {count} labels are needed, one for each image of {}",
                y.shape,
                x_place.display()
            ),
        ));
    }
    let labels = match y.values {
        Values::U8(v) => v.into_iter().map(i64::from).collect(),
        Values::I64(v) => v,
        Values::F32(_) | Values::F64(_) => {
            return Err(Error::unusable(&y_place, "labels must be integers (int64), not floats"));
        }
    };
    if let Some(at) = labels.iter().position(|l| !(0..MOST_CLASSES).contains(l)) {
        return Err(Error::unusable(
            &y_place,
            format_args!("label {} at [{at}] is out of range 0..={}", labels[at], MOST_CLASSES - 1),
        ));
    }
    let labels = labels.into_iter().map(|l| l as u32).collect();
    Ok(Split::new([channels, height, width], pixels, labels, Standardisation::identity(channels)))
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
        load(&path)
    }

    #[test]
    fn round_trip() {
        for style in [Style::Stored, Style::Deflated, Style::Large] {
            let data = loaded(&good(), style).unwrap();
            assert_eq!(
                (data.shape(), &data.train.labels[..], data.classes.len()),
                ([1, 1, 2], &[0, 2, 0][..], 4)
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
            "float32, float64 or uint8",
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
        fails("y_train.npy", Some(encode("<f8", false, "(3,)", &[0; 24])), "must be integers");
        fails("x_test.npy", Some(b"junk".to_vec()), "[x_test]: not a .npy array");
        let mut one = good();
        one[1].1 = encode("<i8", false, "(3,)", &[0; 24]);
        one[3].1 = encode("<i8", false, "(1,)", &[0; 8]);
        assert!(loaded(&one, Style::Stored).unwrap_err().to_string().contains("at least two classes"));
    }
}
