//! `file:TASKS.npz`: tasks as they are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Pool, Source, Task, TaskOptions, Tasks};
use crate::dataset::{Split, Targets};
use crate::error::Error;
use crate::npy::{self, Array};
use crate::npz;

/// Reads the eight arrays that [`Tasks::load`] describes.
pub(super) fn load(path: &Path, name: &str, options: &TaskOptions) -> Result<Tasks, Error> {
    let arrays = npy::read_archive(path)?;
    let mut train = part(&arrays, "train", path)?;
    let test = part(&arrays, "test", path)?;
    let all = || train.iter().chain(&test).flat_map(|task| [&task.support, &task.query]);
    let Some(first) = all().next().cloned() else {
        return Err(Error::unusable(path, "holds no task"));
    };
    let width = |split: &Split| match &split.targets {
        Targets::Values(rows) => Some(rows.width),
        _ => None,
    };
    let alike = |split: &Split| split.shape == first.shape && width(split) == width(&first);
    if !all().all(alike) {
        return Err(Error::unusable(
            path,
            "the examples of its arrays have different shapes, or targets of different kinds; all must be alike",
        ));
    }
    let classes = all().filter_map(|split| split.labels()?.iter().max().copied()).max();
    let outputs = width(&first).unwrap_or(classes.map_or(0, |most| most as usize + 1));
    if let Some(pool) = options.pool {
        if pool > train.len() {
            return Err(Error::usage(format_args!("a pool of {pool} tasks, but {name} has {}", train.len())));
        }
        train.truncate(pool);
    }
    let notes = vec![format!("{name}: {} training and {} test tasks, as they are", train.len(), test.len())];
    if width(&first).is_none() && outputs < 2 {
        return Err(Error::unusable(path, "all labels are 0; at least two classes are needed"));
    }
    let source =
        |tasks, part: &str| Source::Fixed(Pool { elements: Arc::new(tasks), key: options.key(part) });
    Ok(Tasks {
        name: name.into(),
        shape: first.shape,
        outputs,
        regression: width(&first).is_some(),
        files: vec![path.to_path_buf()],
        notes,
        train: source(train, "train"),
        test: source(test, "test"),
    })
}

/// The tasks for training or testing.
fn part(arrays: &[(String, Array)], part: &str, path: &Path) -> Result<Vec<Task>, Error> {
    let [support, query] = ["support", "query"].map(|role| examples(arrays, part, role, path));
    let (support, query) = (support?, query?);
    if support.len() != query.len() || support.is_empty() {
        return Err(Error::unusable(
            path,
            format_args!(
                "x_{part}_support has {} tasks, x_{part}_query {}; as many are needed, 1 at least",
                support.len(),
                query.len()
            ),
        ));
    }
    Ok(support.into_iter().zip(query).map(|(support, query)| Task { support, query }).collect())
}

/// The support or the query examples of each task.
fn examples(arrays: &[(String, Array)], part: &str, role: &str, path: &Path) -> Result<Vec<Split>, Error> {
    let array = |letter: char| {
        let name = format!("{letter}_{part}_{role}");
        let place = PathBuf::from(format!("{}[{name}]", path.display()));
        match arrays.iter().find(|(known, _)| *known == name) {
            Some((_, array)) => Ok((array.clone(), place)),
            None => {
                let held: Vec<&str> = arrays.iter().map(|(name, _)| name.as_str()).collect();
                let held = held.join(", ");
                Err(Error::unusable(path, format_args!("has no array {name}; it holds: {held}")))
            }
        }
    };
    let ((mut x, x_place), (mut y, y_place)) = (array('x')?, array('y')?);
    let (tasks, each) = match x.shape[..] {
        [tasks, each, _] | [tasks, each, _, _, _] if tasks > 0 && each > 0 => (tasks, each),
        _ => {
            return Err(Error::unusable(
                &x_place,
                format_args!("has shape {:?}; T x N x C x H x W or T x N x D is needed", x.shape),
            ));
        }
    };
    if y.shape.len() < 2 || y.shape[..2] != x.shape[..2] {
        return Err(Error::unusable(
            &y_place,
            format_args!("has shape {:?}; {tasks} tasks of {each} targets are needed", y.shape),
        ));
    }
    x.shape.splice(..2, [tasks * each]);
    y.shape.splice(..2, [tasks * each]);
    if x.shape.len() == 2 {
        x.shape.extend([1, 1]);
    }
    let all = npz::split((x, x_place), (y, y_place), npz::Reading::default())?;
    Ok((0..tasks).map(|t| all.select(&(t * each..(t + 1) * each).collect::<Vec<_>>())).collect())
}
