//! Regression of sine waves.

use std::f64::consts::PI;

use kernels::random::Key;

use super::{Source, Task, TaskOptions, Tasks, shuffled};
use crate::dataset::{Pixels, Rows, Split, Standardisation, Targets};

/// Sine waves y = A sin(x - phase), A uniform in [0.1, 5], the phase in [0, pi], x in [-5, 5] (Finn, Abbeel, Levine 2017,
/// arXiv 1703.03400, section 5.1): examples are 1 x 1 x 1 images of x, targets y.
///
/// ```
/// use datasets::{Task, TaskOptions, Tasks};
/// let tasks = Tasks::load("sinusoid", &TaskOptions { shot: 10, pool: Some(20), ..TaskOptions::default() })?;
/// let Task { support, query } = tasks.train(7);
/// assert_eq!((support.len(), query.len(), support.shape), (10, 16, [1, 1, 1]));
/// # Ok::<(), datasets::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Sinusoids {
    /// Support points.
    pub shot: usize,
    /// Query points.
    pub query: usize,
    /// The number of different tasks, each with fixed points; None: task `index` is a new one.
    pub pool: Option<usize>,
    /// For all that is drawn.
    pub key: Key,
}

impl Sinusoids {
    /// Task `index`. Of a pool, each pass has every task once, in a new order.
    pub fn task(&self, index: u64) -> Task {
        let index = self.pool.map_or(index, |size| shuffled(self.key, size, index) as u64);
        let draw = |name: &str, n: usize| {
            let mut draws = vec![0.0; n];
            self.key.stream(name).step(index).fill_uniform(&mut draws);
            draws
        };
        let amplitude = 0.1 + 4.9 * draw("amplitude", 1)[0];
        let phase = PI * draw("phase", 1)[0];
        let points = |name: &str, n: usize| {
            let x: Vec<f64> = draw(name, n).into_iter().map(|u| 10.0 * u - 5.0).collect();
            let y = x.iter().map(|x| amplitude * (x - phase).sin()).collect();
            let targets = Targets::Values(Rows { width: 1, values: y });
            Split::new([1, 1, 1], Pixels::F64(x), targets, Standardisation::identity(1))
        };
        Task { support: points("support", self.shot), query: points("query", self.query) }
    }
}

/// Training tasks from the pool, test tasks that are all new.
pub(super) fn tasks(options: &TaskOptions) -> Tasks {
    let TaskOptions { shot, query, pool, .. } = *options;
    let source =
        |part: &str, pool| Source::Sinusoids(Sinusoids { shot, query, pool, key: options.key(part) });
    let fixed = pool.map_or("a new one each time".to_string(), |n| format!("a pool of {n}"));
    Tasks {
        name: "sinusoid".into(),
        shape: [1, 1, 1],
        outputs: 1,
        regression: true,
        files: Vec::new(),
        notes: vec![format!(
            "sine waves of {shot} support and {query} query points; training tasks: {fixed}"
        )],
        train: source("train", pool),
        test: source("test", None),
    }
}
