//! The one entry point: from a name to a data set.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kernels::random::Key;

use crate::catalogue;
use crate::dataset::{Dataset, Rows, Targets};
use crate::error::Error;
use crate::npz::Reading;
use crate::partition::{add_label_noise, split};
use crate::reader::Request;

/// The environment variable that names the data folder where [`Options::data_dir`] does not.
pub const DATA_VARIABLE: &str = "COMHE_DATA";

/// What to load, and what to make of it. The default is the data as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The folder that holds data sets; without it, the environment variable [`DATA_VARIABLE`] names it.
    pub data_dir: Option<PathBuf>,
    /// For all that is random about the data: splits, subsets, noise, synthetic sets. Not the run's seed.
    pub seed: u64,
    /// Keep so many training examples only, each class in proportion. Drawn after validation is set aside.
    pub train_size: Option<usize>,
    /// Keep the training examples that `train_size` leaves out, as [`Dataset::rest`].
    pub keep_rest: bool,
    /// Set aside this share of the training examples for validation, each class in proportion; in 0..1.
    pub validation: f64,
    /// Give this share of the training labels another, uniformly random class; in 0..=1.
    pub label_noise: f64,
    /// `file:DATA.npz`: how its numbers are understood.
    pub reading: Reading,
    /// `images:DIR`: height and width that every picture is resized to.
    pub image_size: usize,
    /// `images:DIR`: one grey channel instead of red, green and blue.
    pub grey: bool,
    /// `modelnet10` and `clouds:DIR`: points drawn of each shape.
    pub points: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            data_dir: None,
            seed: 0,
            train_size: None,
            keep_rest: false,
            validation: 0.0,
            label_noise: 0.0,
            reading: Reading::default(),
            image_size: 32,
            grey: false,
            points: 1024,
        }
    }
}

/// Loads the data set called `name`, one of the [catalogue](catalogue::names), and applies the options in this order: validation,
/// then train size, then label noise (training labels only).
pub fn load(name: &str, options: &Options) -> Result<Dataset, Error> {
    options.check()?;
    let known = catalogue::find(name)?;
    let mut dataset = options.request(name, known.reader.load)?;
    if let Targets::Values(rows) = &dataset.train.targets {
        dataset.notes.push(described(rows));
    }
    options.apply(dataset)
}

/// A note about real targets before any subset: the statistics of each output.
fn described(rows: &Rows) -> String {
    const SHOWN: usize = 4;
    let each = rows.statistics().iter().take(SHOWN).map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let more = if rows.width > SHOWN { "; ..." } else { "" };
    match rows.width {
        1 => format!("real training targets: {each}"),
        n => format!("real training targets of {n} outputs: {each}{more}"),
    }
}

impl Dataset {
    /// Sets aside `share` of the training examples for validation, each class in proportion (real targets are drawn
    /// uniformly), as they are: with the noise of their labels, if there is any.
    ///
    /// # Errors
    /// If one of the two parts would be empty.
    pub fn hold_out(&self, share: f64, seed: u64) -> Result<Dataset, Error> {
        let n = self.train.len();
        let count = (share * n as f64).round() as usize;
        if !(0.0..1.0).contains(&share) || count == 0 || count == n {
            return Err(Error::usage(format_args!(
                "a validation share of {share} is {count} of the {n} training examples; both parts need some"
            )));
        }
        let (held, rest) = split(&self.train.targets.strata(), count, Key::new(seed).stream("validation"));
        let mut data = self.clone();
        data.validation = Some(Arc::new(self.train.select(&held)));
        data.train = Arc::new(self.train.select(&rest));
        let drawn = self.drawn();
        data.notes.push(format!("validation: {count} of the {n} training examples, {drawn}, seed {seed}"));
        Ok(data)
    }

    /// How examples are chosen, in a word.
    fn drawn(&self) -> &'static str {
        if self.is_regression() { "at random" } else { "stratified" }
    }
}

impl Options {
    /// What a reader gives for a name.
    pub(crate) fn request<T>(&self, name: &str, read: fn(&Request) -> Result<T, Error>) -> Result<T, Error> {
        let data_dir = self.folder()?;
        let path = Path::new(name.split_once(':').map_or("", |(_, path)| path));
        read(&Request { name, path, data_dir: data_dir.as_deref(), options: self })
    }

    /// The folder that holds data sets: the option, or what the environment variable [`DATA_VARIABLE`] says.
    ///
    /// # Errors
    /// If the option is no folder.
    pub fn folder(&self) -> Result<Option<PathBuf>, Error> {
        match &self.data_dir {
            Some(dir) if !dir.is_dir() => {
                Err(Error::unusable(dir, "is not a folder; --data-dir names the folder that holds data sets"))
            }
            Some(dir) => Ok(Some(dir.clone())),
            None => Ok(std::env::var_os(DATA_VARIABLE).filter(|v| !v.is_empty()).map(PathBuf::from)),
        }
    }

    fn check(&self) -> Result<(), Error> {
        let Options { validation, label_noise, image_size, train_size, points, .. } = *self;
        if points == 0 || points > 1 << 16 {
            return Err(Error::usage(format_args!("{points} points are not in 1..=65536")));
        }
        if !(0.0..1.0).contains(&validation) {
            return Err(Error::usage(format_args!(
                "validation share {validation} is not in 0..1 (1 excluded)"
            )));
        }
        if !(0.0..=1.0).contains(&label_noise) {
            return Err(Error::usage(format_args!("label noise {label_noise} is not in 0..=1")));
        }
        if image_size == 0 || image_size > 4096 {
            return Err(Error::usage(format_args!("image size {image_size} is not in 1..=4096")));
        }
        if train_size == Some(0) {
            return Err(Error::usage("train size 0 leaves nothing to learn from; give at least 1"));
        }
        Ok(())
    }

    fn apply(&self, mut data: Dataset) -> Result<Dataset, Error> {
        let key = Key::new(self.seed);
        if self.validation > 0.0 {
            data = data.hold_out(self.validation, self.seed)?;
        }
        if let Some(size) = self.train_size {
            let n = data.train.len();
            if size > n {
                return Err(Error::usage(format_args!(
                    "train size {size} is more than the {n} examples of {}",
                    data.name
                )));
            }
            let (chosen, rest) = split(&data.train.targets.strata(), size, key.stream("subset"));
            data.rest = self.keep_rest.then(|| Arc::new(data.train.select(&rest)));
            data.train = Arc::new(data.train.select(&chosen));
            let drawn = data.drawn();
            data.notes.push(format!("train subset: {size} of {n} examples, {drawn}, seed {}", self.seed));
        }
        if self.label_noise > 0.0 {
            if data.train.labels().is_none() {
                let found = if data.is_regression() { "real values" } else { "class distributions" };
                return Err(Error::usage(format_args!(
                    "label noise {} needs classes; the targets of {} are {found}: leave --label-noise out",
                    self.label_noise, data.name
                )));
            }
            let classes = data.classes.len();
            let noise = key.stream("label noise");
            let changed = add_label_noise(Arc::make_mut(&mut data.train), classes, self.label_noise, noise);
            data.notes.push(format!(
                "label noise: {changed} of {} training labels replaced by another class, seed {}",
                data.train.len(),
                self.seed
            ));
        }
        Ok(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn options_are_applied_in_order_and_noted() {
        let options = Options {
            validation: 0.1,
            train_size: Some(500),
            label_noise: 0.2,
            seed: 3,
            ..Options::default()
        };
        let data = load("fashion14", &options).unwrap();
        let validation = data.validation.clone().unwrap();
        assert_eq!((data.train.len(), validation.len(), data.test.len()), (500, 200, 2000));
        assert_eq!(validation.counts(10), [20; 10]);
        assert_eq!(data.notes.len(), 4, "{:?}", data.notes);
        // Without noise, the same images carry their true labels.
        let clean = load("fashion14", &Options { label_noise: 0.0, ..options.clone() }).unwrap();
        assert_eq!(clean.train.counts(10), [50; 10]);
        assert_eq!((&clean.train.pixels, &clean.validation), (&data.train.pixels, &data.validation));
        let differ = clean
            .train
            .labels()
            .unwrap()
            .iter()
            .zip(data.train.labels().unwrap())
            .filter(|(a, b)| a != b)
            .count();
        assert_eq!(differ, 100);
        let again = load("fashion14", &options).unwrap();
        assert_eq!((again.train, again.validation), (data.train.clone(), data.validation.clone()));
        let other = load("fashion14", &Options { seed: 4, ..options }).unwrap();
        assert_ne!(other.train, data.train);
        assert_eq!(other.test, data.test);
    }

    #[test]
    fn names_and_options_that_make_no_sense() {
        let fails = |name: &str, options: Options, expected: &str| {
            let error = load(name, &options).unwrap_err();
            let message = error.to_string();
            assert!(message.contains(expected) && message.lines().count() == 1, "{message}");
            error.kind()
        };
        let default = Options::default;
        assert_eq!(fails("fasion14", default(), "did you mean fashion14?"), Kind::Usage);
        fails("CIFAR-10", default(), "did you mean cifar10?");
        fails("imagenet", default(), "there is no data set \"imagenet\" (there are fashion14,");
        fails("images:", default(), "write images:PATH");
        fails("digits", Options { validation: 1.0, ..default() }, "validation share 1");
        fails("digits", Options { validation: 1e-6, ..default() }, "both parts need some");
        fails("digits", Options { label_noise: f64::NAN, ..default() }, "label noise NaN");
        fails("digits", Options { label_noise: -0.1, ..default() }, "label noise -0.1");
        fails(
            "digits",
            Options { train_size: Some(1001), ..default() },
            "more than the 1000 examples of digits",
        );
        fails("digits", Options { train_size: Some(0), ..default() }, "nothing to learn from");
        fails("digits", Options { image_size: 0, ..default() }, "image size 0");
        fails(
            "digits",
            Options { data_dir: Some("/nowhere".into()), ..default() },
            "/nowhere: is not a folder",
        );
    }

    #[test]
    fn real_targets_are_split_and_have_no_label_noise() {
        let options = Options { validation: 0.1, train_size: Some(500), seed: 3, ..Options::default() };
        let data = load("teacher-regression", &options).unwrap();
        let validation = data.validation.clone().unwrap();
        assert_eq!((data.train.len(), validation.len(), data.test.len()), (500, 200, 2000));
        assert_eq!((data.outputs(), data.classes.len(), data.is_regression()), (4, 0, true));
        assert!(
            data.notes.iter().any(|note| note.contains("500 of 1800 examples, at random")),
            "{:?}",
            data.notes
        );
        let error = load("teacher-regression", &Options { label_noise: 0.1, ..options }).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.to_string().contains("targets of teacher-regression are real values"), "{error}");
    }

    #[test]
    fn every_name_without_files_loads() {
        for name in ["fashion14", "digits", "blobs", "synthetic", "moons", "teacher"] {
            let data = load(name, &Options::default()).unwrap();
            assert!(data.train.counts(data.classes.len()).iter().all(|&n| n > 0), "{name}");
            assert!(data.test.counts(data.classes.len()).iter().all(|&n| n > 0), "{name}");
            assert_eq!(data.standardisation(), &data.test.standardisation, "{name}");
        }
    }
}
