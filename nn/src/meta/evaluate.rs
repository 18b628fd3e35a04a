//! Evaluation on tasks, without noise.

use super::{Adaptation, MetaTrainer, Task};
use crate::error::Error;
use crate::module::Module;
use crate::train::BatchLoss;

/// The results on some tasks after adaptation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetaEvaluation {
    /// The query loss of each task.
    pub losses: Vec<f64>,
    /// The query accuracy of each task; NaN for real targets.
    pub accuracies: Vec<f64>,
}

/// A mean over tasks with its 95 % confidence interval mean +- `ci95`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeanInterval {
    /// The mean.
    pub mean: f64,
    /// 1.96 sd / sqrt(n), sd with n - 1 in its denominator; NaN of fewer than two values.
    pub ci95: f64,
    /// The number of tasks n.
    pub tasks: usize,
}

impl MeanInterval {
    /// Of these values.
    ///
    /// ```
    /// use nn::meta::MeanInterval;
    /// let of = MeanInterval::of(&[1.0, 2.0, 3.0]);
    /// assert_eq!((of.mean, of.tasks), (2.0, 3));
    /// assert!((of.ci95 - 1.96 / 3.0f64.sqrt()).abs() < 1e-15);
    /// ```
    pub fn of(values: &[f64]) -> MeanInterval {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        let sd = if values.len() < 2 { f64::NAN } else { (squares / (n - 1.0)).sqrt() };
        MeanInterval { mean, ci95: 1.96 * sd / n.sqrt(), tasks: values.len() }
    }
}

impl MetaEvaluation {
    /// The mean query loss.
    pub fn loss(&self) -> MeanInterval {
        MeanInterval::of(&self.losses)
    }

    /// The mean query accuracy.
    pub fn accuracy(&self) -> MeanInterval {
        MeanInterval::of(&self.accuracies)
    }
}

impl MetaTrainer {
    /// Adapts to each task by `steps` inner steps without noise, and evaluates on its query examples, with the
    /// [evaluation](crate::Loss::evaluation) form of the loss. With 0 steps: the model before adaptation.
    ///
    /// # Errors
    /// If the loss does not accept outputs or targets.
    ///
    /// # Panics
    /// As [`Adaptation::adapt`].
    pub fn evaluate(
        &self,
        tasks: impl IntoIterator<Item = Task>,
        steps: usize,
    ) -> Result<MetaEvaluation, Error> {
        let (start, adaptation) =
            (self.optimizer.freeze(&self.model), Adaptation { steps, ..self.adaptation });
        let mut evaluation = MetaEvaluation::default();
        for task in tasks {
            let support = self.batch_loss(&start.model, &task.support, 0);
            // No second derivatives are needed.
            let adapted = adaptation.descend(&start, &support, &|_, _, _| None, false)?.detached();
            let loss = self.loss.evaluation();
            let query = BatchLoss { model: adapted, batch: task.query, loss, ..support };
            let numbers = query.pass()?.numbers(&query.batch.targets);
            evaluation.losses.push(numbers.loss);
            evaluation.accuracies.push(numbers.accuracy);
        }
        Ok(evaluation)
    }
}
