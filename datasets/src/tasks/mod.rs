//! Tasks for meta-learning: small data sets of one kind, each with examples to learn from and others to be judged by.
//!
//! Task `index` is a pure function of the options and `index`, so that any part of a run can be made again.

mod classes;
mod file;
mod omniglot;
mod sinusoid;

pub use classes::FewShot;
pub use sinusoid::Sinusoids;

use std::path::PathBuf;
use std::sync::Arc;

use kernels::random::Key;
use registry::{Row, Setting};

use crate::dataset::Split;
use crate::error::Error;
use crate::load::{Options, load};

/// A task.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// The examples to adapt to.
    pub support: Split,
    /// The examples to be judged by.
    pub query: Split,
}

/// Which tasks to make.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskOptions {
    /// Classes in a task.
    pub way: usize,
    /// Support examples of each class; of real targets, support examples.
    pub shot: usize,
    /// Query examples of each class; of real targets, query examples.
    pub query: usize,
    /// The size of the pool that training tasks come from: of images, the number of classes; otherwise, the number of
    /// tasks. None: all classes, all tasks of a file, a new sinusoid each time.
    pub pool: Option<usize>,
    /// For all that is drawn.
    pub seed: u64,
    /// The folder that holds data sets; without it, the environment variable [`DATA_VARIABLE`](crate::DATA_VARIABLE)
    /// names it.
    pub data_dir: Option<PathBuf>,
    /// `omniglot`: height and width, 28 or 14.
    pub image_size: usize,
}

/// The published episodes of DropGrad, without a pool: 5-way 5-shot, 16 query examples.
impl Default for TaskOptions {
    fn default() -> TaskOptions {
        TaskOptions { way: 5, shot: 5, query: 16, pool: None, seed: 0, data_dir: None, image_size: 28 }
    }
}

/// Tasks to train on, and others to test on.
#[derive(Clone, Debug)]
pub struct Tasks {
    /// The name they were asked for by.
    pub name: String,
    /// Channels, height and width of an example.
    pub shape: [usize; 3],
    /// The outputs that a network needs: classes in a task, or the width of real targets.
    pub outputs: usize,
    /// Whether the targets are real values.
    pub regression: bool,
    /// The files that they were read from.
    pub files: Vec<PathBuf>,
    /// What a reader of results should know.
    pub notes: Vec<String>,
    train: Source,
    test: Source,
}

/// Where tasks come from.
#[derive(Clone, Debug)]
enum Source {
    Sinusoids(Sinusoids),
    Classes(FewShot),
    Fixed(Pool<Task>),
}

/// A fixed set, of which each pass has every element once, in a new order.
#[derive(Clone, Debug)]
struct Pool<T> {
    elements: Arc<Vec<T>>,
    key: Key,
}

/// The place in a pool of `size` of element `index`.
fn shuffled(key: Key, size: usize, index: u64) -> usize {
    let (pass, at) = (index / size as u64, index % size as u64);
    key.stream("pool").step(pass).permutation(size)[at as usize]
}

/// The sizes of a task of images.
const SIZES: [Setting; 3] = [Setting::new("way"), Setting::new("shot"), Setting::new("query")];

/// Every name that [`Tasks::load`] knows, with the options that it reads beside those of all tasks, the default first.
pub static TASKS: &[Row<()>] = &[
    Row {
        name: "sinusoid",
        help: "regression of sine waves of random amplitude and phase",
        settings: &[SIZES[1], SIZES[2]],
        make: (),
    },
    Row {
        name: "omniglot",
        help: "handwritten characters; test tasks are of other alphabets",
        settings: &[SIZES[0], SIZES[1], SIZES[2], Setting::new("image-size")],
        make: (),
    },
    Row { name: "fashion14", help: "clothes; test tasks are of other classes", settings: &SIZES, make: () },
    Row { name: "digits", help: "digits; test tasks are of other classes", settings: &SIZES, make: () },
    Row { name: "file:TASKS.npz", help: "the tasks of a file, as they are", settings: &[], make: () },
];

impl Tasks {
    /// The tasks of a name:
    ///
    /// - `sinusoid`: see [`Sinusoids`];
    /// - `omniglot`: characters, training on the background set of alphabets, testing on the evaluation set;
    /// - `fashion14`, `digits`: training on classes 0 to 4 of the training images, testing on classes 5 to 9 of the test
    ///   images;
    /// - `file:TASKS.npz`: T tasks in the arrays `x_train_support`, `y_train_support`, `x_train_query`, `y_train_query`, and
    ///   the same with `test`. An x is T x N x C x H x W or T x N x D (floats, or bytes as 0..=255); an integer y holds
    ///   T x N classes from 0, a floating-point y T x N or T x N x D real targets. N may differ between the arrays. Way,
    ///   shot and query are those of the file.
    ///
    /// # Errors
    /// If there is no such name, a file is missing or cannot be used, or there are fewer classes or examples than asked
    /// for.
    pub fn load(name: &str, options: &TaskOptions) -> Result<Tasks, Error> {
        options.check()?;
        match name.split_once(':') {
            Some(("file", "")) => Err(Error::usage("tasks \"file:\" lack their path: write file:TASKS.npz")),
            Some(("file", path)) => file::load(path.as_ref(), name, options),
            _ => match name {
                "sinusoid" => Ok(sinusoid::tasks(options)),
                "omniglot" => omniglot::tasks(options),
                "fashion14" | "digits" => embedded(name, options),
                _ => Err(Error::usage(registry::find(TASKS, "task", name).expect_err("loaded above"))),
            },
        }
    }

    /// Training task `index`.
    pub fn train(&self, index: u64) -> Task {
        self.train.task(index)
    }

    /// Test task `index`.
    pub fn test(&self, index: u64) -> Task {
        match &self.test {
            // In their order.
            Source::Fixed(pool) => pool.elements[(index % pool.elements.len() as u64) as usize].clone(),
            source => source.task(index),
        }
    }

    /// The number of test tasks, if it is limited.
    pub fn tests(&self) -> Option<usize> {
        match &self.test {
            Source::Fixed(pool) => Some(pool.elements.len()),
            _ => None,
        }
    }
}

impl Source {
    fn task(&self, index: u64) -> Task {
        match self {
            Source::Sinusoids(s) => s.task(index),
            Source::Classes(s) => s.task(index),
            Source::Fixed(Pool { elements, key }) => elements[shuffled(*key, elements.len(), index)].clone(),
        }
    }
}

impl TaskOptions {
    fn check(&self) -> Result<(), Error> {
        let least = [("way", self.way, 2), ("shot", self.shot, 1), ("query", self.query, 1)];
        let least = least.into_iter().chain(self.pool.map(|pool| ("pool", pool, 1)));
        for (what, value, least) in least {
            if value < least {
                return Err(Error::usage(format_args!("{what} is {value}; at least {least} is needed")));
            }
        }
        Ok(())
    }

    fn key(&self, part: &str) -> Key {
        Key::new(self.seed).stream("tasks").stream(part)
    }
}

/// Few-class tasks of an embedded data set.
fn embedded(name: &str, options: &TaskOptions) -> Result<Tasks, Error> {
    let data = load(name, &Options::default())?;
    let half = data.classes.len() / 2;
    let part = |split: &Split, first: usize| {
        let labels = split.labels().expect("its targets are classes");
        let chosen = |&i: &usize| (first..first + half).contains(&(labels[i] as usize));
        Arc::new(split.select(&(0..split.len()).filter(chosen).collect::<Vec<_>>()))
    };
    let note = format!(
        "{name}: training tasks have classes 0 to {} of the training images, test tasks {half} to {} of the test images",
        half - 1,
        2 * half - 1
    );
    of_classes(name, [part(&data.train, 0), part(&data.test, half)], options, vec![note])
}

/// Few-class tasks of training and test images.
fn of_classes(
    name: &str,
    [train, test]: [Arc<Split>; 2],
    options: &TaskOptions,
    notes: Vec<String>,
) -> Result<Tasks, Error> {
    let shape = train.shape;
    let train = FewShot::new(train, options, options.pool, options.key("train"))
        .map_err(|what| Error::usage(format_args!("{name}: {what} for training")))?;
    let test = FewShot::new(test, options, None, options.key("test"))
        .map_err(|what| Error::usage(format_args!("{name}: {what} for testing")))?;
    Ok(Tasks {
        name: name.into(),
        shape,
        outputs: options.way,
        regression: false,
        files: Vec::new(),
        notes,
        train: Source::Classes(train),
        test: Source::Classes(test),
    })
}

#[cfg(test)]
mod tests;
