//! Tasks with few classes and few examples of each.

use std::sync::Arc;

use kernels::random::Key;

use super::{Task, TaskOptions};
use crate::dataset::{Split, Targets};

/// Draws N-way K-shot tasks: `way` classes of a split, relabelled from 0 in a random order, with `shot` support and
/// `query` other examples of each.
#[derive(Clone, Debug)]
pub struct FewShot {
    split: Arc<Split>,
    /// The examples of each class.
    classes: Vec<Vec<usize>>,
    way: usize,
    shot: usize,
    query: usize,
    key: Key,
}

impl FewShot {
    /// A sampler of the classes of a split, or of `pool` of them, drawn by the key.
    ///
    /// # Errors
    /// If the targets are not classes, or there are too few of them or of their examples: what there is, and what is
    /// needed.
    pub fn new(
        split: Arc<Split>,
        options: &TaskOptions,
        pool: Option<usize>,
        key: Key,
    ) -> Result<FewShot, String> {
        let TaskOptions { way, shot, query, .. } = *options;
        let Some(labels) = split.labels() else { return Err("the targets are not classes".into()) };
        let mut classes = vec![Vec::new(); labels.iter().max().map_or(0, |&m| m as usize + 1)];
        labels.iter().enumerate().for_each(|(i, &label)| classes[label as usize].push(i));
        classes.retain(|examples| !examples.is_empty());
        if let Some(pool) = pool {
            if pool > classes.len() {
                return Err(format!("a pool of {pool} classes, but there are {}", classes.len()));
            }
            let mut chosen = key.stream("pool").permutation(classes.len());
            chosen.truncate(pool);
            chosen.sort_unstable();
            classes = chosen.into_iter().map(|c| std::mem::take(&mut classes[c])).collect();
        }
        if way > classes.len() {
            return Err(format!("{way} classes in a task, but there are {}", classes.len()));
        }
        let fewest = classes.iter().map(Vec::len).min().unwrap_or(0);
        // Sizes of users may be huge.
        if shot.saturating_add(query) > fewest {
            return Err(format!(
                "{shot} support and {query} query examples of each class, but one class has {fewest}"
            ));
        }
        Ok(FewShot { split, classes, way, shot, query, key })
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.classes.len()
    }

    /// Task `index`: the examples are in the order of their classes.
    pub fn task(&self, index: u64) -> Task {
        let chosen = self.key.stream("classes").step(index).permutation(self.classes.len());
        let (mut support, mut query) = (Vec::new(), Vec::new());
        for (label, &class) in chosen[..self.way].iter().enumerate() {
            let examples = &self.classes[class];
            let key = self.key.stream("examples").stream(&label.to_string()).step(index);
            let order = key.permutation(examples.len());
            let mut order = order.into_iter().map(|i| examples[i]);
            support.extend(order.by_ref().take(self.shot));
            query.extend(order.take(self.query));
        }
        Task { support: self.part(&support, self.shot), query: self.part(&query, self.query) }
    }

    /// These examples, so many of each class, with the labels of the task.
    fn part(&self, examples: &[usize], each: usize) -> Split {
        let mut split = self.split.select(examples);
        split.targets = Targets::Classes((0..examples.len()).map(|i| (i / each) as u32).collect());
        split
    }
}
