//! `clouds:DIR`: meshes (.off) and clouds (.npy, P x 3) in one folder a class: DIR/train/CLASS and DIR/test/CLASS,
//! DIR/CLASS/train and DIR/CLASS/test (ModelNet's way), or DIR/CLASS.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kernels::random::Key;

use super::off::Mesh;
use super::{Point, append, choose};
use crate::dataset::{Dataset, Pixels, Split, Standardisation};
use crate::error::Error;
use crate::folder::{class_names, divide, sorted_entries};
use crate::load::Options;
use crate::npy::{self, Values};

/// Reads every shape and draws `options.points` points of it.
pub(crate) fn load(dir: &Path, options: &Options) -> Result<Dataset, Error> {
    if !dir.is_dir() {
        return Err(Error::unusable(
            dir,
            "is not a folder; clouds:DIR needs a folder with one folder of shapes a class",
        ));
    }
    let has_parts = |folder: &Path| folder.join("train").is_dir() && folder.join("test").is_dir();
    let mut notes =
        vec![format!("{} points of each shape of {}, in the unit ball", options.points, dir.display())];
    let in_parts = |classes: &[String], of: &dyn Fn(&str, &str) -> PathBuf| {
        let part = |part| read(classes, &|class: &str| of(part, class), part, options);
        Ok::<_, Error>((part("train")?, part("test")?))
    };
    let (classes, (train, test)) = if has_parts(dir) {
        let classes = class_names(&dir.join("train"))?;
        let parts = in_parts(&classes, &|part, class| dir.join(part).join(class))?;
        (classes, parts)
    } else {
        let classes = class_names(dir)?;
        if classes.iter().all(|class| has_parts(&dir.join(class))) {
            let parts = in_parts(&classes, &|part, class| dir.join(class).join(part))?;
            (classes, parts)
        } else {
            let all = read(&classes, &|class| dir.join(class), "all", options)?;
            if let Some(class) = all.counts(classes.len()).iter().position(|&n| n < 2) {
                let message = "needs at least 2 shapes, one to train on and one to test by";
                return Err(Error::unusable(&dir.join(&classes[class]), message));
            }
            let (train, test) = divide(&all, classes.len(), options.seed);
            notes.push(format!(
                "no train and test folders: {} of {} shapes, a fifth of each class, are the test set, seed {}",
                test.len(),
                all.len(),
                options.seed
            ));
            (classes, (all.select(&train), all.select(&test)))
        }
    };
    Ok(Dataset {
        name: format!("clouds:{}", dir.display()),
        train: Arc::new(train),
        validation: None,
        rest: None,
        test: Arc::new(test),
        classes,
        notes,
    })
}

/// The shapes that [`load`] reads, in a fixed order, and others beside them.
pub(crate) fn sources(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    for path in sorted_entries(dir)? {
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else if path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("off") || e.eq_ignore_ascii_case("npy"))
        {
            found.push(path);
        }
    }
    Ok(found)
}

fn read(
    classes: &[String],
    folder: &dyn Fn(&str) -> PathBuf,
    part: &str,
    options: &Options,
) -> Result<Split, Error> {
    let key = Key::new(options.seed).stream("clouds").stream(part);
    let (mut values, mut labels) = (Vec::new(), Vec::new());
    for (label, class) in classes.iter().enumerate() {
        let folder = folder(class);
        if !folder.is_dir() {
            return Err(Error::unusable(&folder, format_args!("is not a folder; class {class} needs one")));
        }
        let before = labels.len();
        for path in sorted_entries(&folder)? {
            let key = key.step(labels.len() as u64);
            let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase());
            let points = match ending.as_deref() {
                Some("off") => Mesh::read(&path)?.sample(options.points, key).ok_or_else(|| {
                    Error::unusable(
                        &path,
                        "has no face with an area, so that there is nothing to draw points from",
                    )
                })?,
                Some("npy") => choose(&cloud(&path)?, options.points, key),
                _ => continue,
            };
            append(points, &mut values);
            labels.push(label as u32);
        }
        if labels.len() == before {
            return Err(Error::unusable(&folder, "holds no shapes (.off, .npy)"));
        }
    }
    Ok(Split::new([3, options.points, 1], Pixels::F32(values), labels, Standardisation::identity(3)))
}

/// The points of a .npy file.
fn cloud(path: &Path) -> Result<Vec<Point>, Error> {
    let array = npy::read(path)?;
    if array.shape.len() != 2 || array.shape[0] == 0 || array.shape[1] != 3 {
        return Err(Error::unusable(
            path,
            format_args!(
                "has shape {:?}; a cloud is P x 3: a row x, y, z for each of at least one point",
                array.shape
            ),
        ));
    }
    let values: Vec<f64> = match array.values {
        Values::F32(v) => v.into_iter().map(f64::from).collect(),
        Values::F64(v) => v,
        Values::U8(v) => v.into_iter().map(f64::from).collect(),
        Values::I64(v) => v.into_iter().map(|v| v as f64).collect(),
    };
    if let Some(at) = values.iter().position(|v| !v.is_finite()) {
        let place = [at / 3, at % 3];
        return Err(Error::unusable(
            path,
            format_args!("the value at {place:?} is {}; all must be finite", values[at]),
        ));
    }
    Ok(values.as_chunks::<3>().0.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIANGLE: &str = "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n";

    fn put(path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn options() -> Options {
        Options { points: 10, ..Options::default() }
    }

    #[test]
    fn the_three_ways_folders_lie() {
        let way = |of: &dyn Fn(&str, &str) -> String| {
            let dir = tempfile::tempdir().unwrap();
            for class in ["bed", "chair"] {
                for (part, count) in [("train", 4), ("test", 1)] {
                    for i in 0..count {
                        put(&dir.path().join(of(part, class)).join(format!("{part}{i}.off")), TRIANGLE);
                    }
                }
            }
            let data = load(dir.path(), &options()).unwrap();
            assert_eq!(data.shape(), [3, 10, 1]);
            assert_eq!(data.classes, ["bed", "chair"]);
            assert_eq!((data.train.counts(2), data.test.counts(2)), (vec![4, 4], vec![1, 1]));
            assert_ne!(data.train.image(0), data.train.image(1), "each shape has draws of its own");
            assert_eq!(load(dir.path(), &options()).unwrap().train, data.train);
        };
        way(&|part, class| format!("{part}/{class}"));
        way(&|part, class| format!("{class}/{part}"));
        way(&|_, class| class.to_string());
    }

    #[test]
    fn unusable_shapes_say_why() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let fails = |part: &str| {
            let message = load(root, &options()).unwrap_err().to_string();
            assert!(message.contains(part) && message.lines().count() == 1, "{message}");
        };
        fails("has 0 folders");
        put(&root.join("a/1.off"), TRIANGLE);
        put(&root.join("a/2.off"), TRIANGLE);
        put(&root.join("b/readme.txt"), "");
        fails("b: holds no shapes");
        put(&root.join("b/1.off"), "OFF\n1 1 0\n0 0 0\n3 0 0 0\n");
        fails("1.off: has no face with an area");
        std::fs::remove_file(root.join("b/1.off")).unwrap();
        put(&root.join("b/1.npy"), "<html>");
        fails("1.npy: not a .npy array");
    }
}
